"""The labelled documents of a fit: read by `tanzaku.data.intake`, or all those of a data set together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.findings import raise_errors, warn_of
from tanzaku.data.grouping import same_text, together
from tanzaku.data.intake import read_labelled
from tanzaku.data.labels import few_texts
from tanzaku.data.loading import load_dataset
from tanzaku.data.options import ReadOptions
from tanzaku.data.prepared import MANIFEST
from tanzaku.data.readers import source_of


@dataclass(frozen=True)
class Labelled:
    """Documents, and for each the number of its group: rows with the same text, or of one value of a column."""

    documents: Documents
    groups: tuple[int, ...]
    name: str


def labelled(source: Any, options: ReadOptions) -> Labelled:
    """Read and check labelled documents.

    Args:
        source: As for `read_labelled`; also two lists, of texts and labels, a `Dataset` of ours, or the folder of one.
        options: How to read it.

    Raises:
        ProblemsError: Rows, columns or labels can't be used: everything at once.
        DataError: The source can't be read at all.
    """
    if isinstance(source, str | Path) and (Path(source) / MANIFEST).is_file():
        source = load_dataset(source)  # what `data import` wrote
    if isinstance(source, Dataset):
        splits = (source.train, source.val, source.test)
        texts, labels = (
            tuple(value for split in splits for value in getattr(split, name)) for name in ("texts", "labels")
        )
        return Labelled(Documents(texts, labels), tuple(together([same_text(one) for one in texts])), source.name)
    given = source_of(list(zip(*source, strict=True)) if _is_two_lists(source) else source)
    rows, findings = read_labelled(given, options)
    warn_of([*findings, *few_texts(rows.keys, rows.labels)])
    raise_errors(findings)
    name = given.path.stem if given.path is not None else "documents"
    return Labelled(rows.documents, tuple(rows.together() or range(len(rows))), name)


def _is_two_lists(source: Any) -> bool:
    """Whether it is a tuple of texts and labels, and not a list of pairs."""
    return (
        isinstance(source, tuple)
        and len(source) == 2
        and all(isinstance(one, Sequence) and not isinstance(one, str) for one in source)
    )
