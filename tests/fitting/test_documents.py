"""What a fit reads: tables, columns of any library, and what `tanzaku data import` wrote."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tanzaku.data.options import ReadOptions
from tanzaku.errors import DataError
from tanzaku.fitting.documents import labelled
from tests.fitting.inquiries import inquiries

TEXTS, LABELS = inquiries(60)


@pytest.mark.parametrize(
    "columns",
    [
        (TEXTS, LABELS),
        (tuple(TEXTS), np.array(LABELS)),
        (np.array(TEXTS), np.array(LABELS)),
        (pd.Series(TEXTS), pd.Series(LABELS, index=range(5, 65))),
        (pa.chunked_array([TEXTS]), pa.array(LABELS)),
    ],
)
def test_texts_and_labels_are_columns_of_any_library(columns: Any) -> None:
    read = labelled(columns, ReadOptions())
    assert (list(read.documents.texts), list(read.documents.labels)) == (TEXTS, LABELS)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ((TEXTS, LABELS[:-1]), "there are 60 texts and 59 labels; give each text its label"),
        ((np.array(TEXTS), pd.Series(LABELS[:-2])), "there are 60 texts and 58 labels"),
        ((np.array(TEXTS).reshape(-1, 1), LABELS), r"an array has the shape \(60, 1\); texts and labels are columns"),
        ((TEXTS, pd.Series([None, *LABELS[1:]])), "1 of 60 rows has no label: item 1"),
    ],
)
def test_columns_that_do_not_fit_are_named(columns: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        labelled(columns, ReadOptions())
