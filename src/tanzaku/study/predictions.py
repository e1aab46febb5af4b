"""The predictions of a run, next to its record.

`predictions.csv` has for every test document, in the order of the test split, the index of its class and of the
predicted one in the record's `data.label_names`, and the calibrated probability of the latter, rounded down to four
decimals; `val-predictions.csv` has the same of the validation documents. Paired tests between runs need these. Where
documents belong to groups, a fourth column has the number of the group.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tanzaku.errors import RecordError, describe_os_error
from tanzaku.files import write_atomically

PREDICTIONS_FILE = "predictions.csv"
VALIDATION_PREDICTIONS_FILE = "val-predictions.csv"


class StoredPredictions(NamedTuple):
    """What a model made of a split's documents, in their order; `probabilities` are the predicted classes'.

    Documents with the same number in `groups` are not independent of each other; None where all are.
    """

    classes: list[int]
    predicted: list[int]
    probabilities: list[float] | None = None
    groups: list[int] | None = None


def write_predictions(
    folder: Path,
    *,
    classes: Sequence[int],
    predicted: Sequence[int],
    probabilities: Sequence[float] | None = None,
    groups: Sequence[int] | None = None,
    name: str = PREDICTIONS_FILE,
) -> None:
    """Write a file of predictions: a header, then one line a document."""
    write_atomically(folder / name, predictions_text(classes, predicted, probabilities, groups))


def predictions_text(
    classes: Sequence[int],
    predicted: Sequence[int],
    probabilities: Sequence[float] | None = None,
    groups: Sequence[int] | None = None,
) -> str:
    """The content of a file of predictions."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    shown = [""] * len(classes) if probabilities is None else [f"{one:.4f}" for one in probabilities]
    columns: list[Sequence[Any]] = [classes, predicted, shown]
    if groups is not None:
        columns.append(groups)
    writer.writerow(_HEADER[: len(columns)])
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue()


def read_predictions(folder: Path, *, labels: int | None = None, name: str = PREDICTIONS_FILE) -> StoredPredictions:
    """The predictions of a finished run's test documents, or those in another file of predictions.

    Args:
        folder: The run's, or that of one of its ranks.
        labels: How many classes there are, where that is known.
        name: The file's.

    Raises:
        RecordError: The file is missing or damaged, or a class is none of `labels`; the message names the line.
    """
    path = folder / name
    classes: list[int] = []
    predicted: list[int] = []
    probabilities: list[float] = []
    groups: list[int] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            rows = csv.reader(handle, strict=True)
            header = next(rows, None)
            if header not in (_HEADER, _HEADER[:-1]):
                raise RecordError(f"{path}: the first line is not {','.join(_HEADER[:-1])}; {_TAKE_AGAIN}")
            for row in rows:
                of_class, of_predicted = map(int, row[:2])
                probability, *of_group = row[2:]
                if len(row) != len(header):
                    raise ValueError(f"{len(row)} fields")
                groups += map(int, of_group)
                if min(of_class, of_predicted) < 0 or (labels and max(of_class, of_predicted) >= labels):
                    raise ValueError(f"{row} with {labels} classes, which are counted from 0")
                if probability:
                    probabilities.append(_probability(probability))
                classes.append(of_class)
                predicted.append(of_predicted)
    except OSError as error:
        raise RecordError(f"the predictions {describe_os_error(error)}") from error
    except (ValueError, csv.Error) as error:
        line = len(classes) + 2
        raise RecordError(
            f"{path}, line {line}: does not hold two classes and a probability ({error}); {_TAKE_AGAIN}"
        ) from error
    if probabilities and len(probabilities) < len(classes):
        raise RecordError(f"{path} has probabilities of only some documents; {_TAKE_AGAIN}")
    return StoredPredictions(classes, predicted, probabilities or None, groups or None)


def _probability(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(f"{text} is not a probability")
    return value


_HEADER = ["class", "predicted", "probability", "group"]  # the last only where there are groups
_TAKE_AGAIN = "take the file from the run again, or remove the run's folder to make it again"
