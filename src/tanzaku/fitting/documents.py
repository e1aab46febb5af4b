"""The labelled documents of a fit: read by `tanzaku.data.intake`, or all those of a data set together."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tanzaku.data.characters import clean_dataset
from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.findings import raise_errors, warn_of
from tanzaku.data.grouping import same_text, together
from tanzaku.data.importing import files_of_splits
from tanzaku.data.intake import read_labelled, tidied
from tanzaku.data.labels import few_texts, repeated_texts
from tanzaku.data.loading import load_dataset
from tanzaku.data.memory import column_values, is_column
from tanzaku.data.options import ReadOptions
from tanzaku.data.prepared import MANIFEST
from tanzaku.data.readers import Source, source_of
from tanzaku.errors import DataError

_OPTIONS = {"quotes": "--no-quotes"}


@dataclass(frozen=True)
class Labelled:
    """Documents, and for each the number of its group: rows with the same text, or of one value of a column."""

    documents: Documents
    groups: tuple[int, ...]
    name: str
    tidied: tuple[str, ...] = ()
    """What was left out and done about rows and labels, in sentences."""


def labelled(source: Any, options: ReadOptions) -> Labelled:
    """Read and check labelled documents.

    Args:
        source: As for `read_labelled`; also a tuple of two columns, texts and labels (lists, arrays or columns of
            tables), a `Dataset` of ours, or the folder of one.
        options: How to read it.

    Raises:
        ProblemsError: Rows, columns or labels can't be used: everything at once.
        DataError: The source can't be read at all, or an option has no effect on it.
    """
    if isinstance(source, str | Path) and (Path(source) / MANIFEST).is_file():
        source = load_dataset(source)  # what `data import` wrote
    if isinstance(source, Dataset):
        return _whole(source, options)
    given = source_of(_pairs(source))
    if _is_split(given, options):
        prepare = shlex.join(["tanzaku", "data", "import", str(source), "--out", "FOLDER"])
        raise DataError(
            f"{source}: holds documents that are split already. Prepare them with `{prepare}`, and then give FOLDER "
            "to `tanzaku fit`, which uses all of its documents."
        )
    rows, findings = read_labelled(given, options)
    copies = [] if rows.groups else repeated_texts(rows.keys)
    warn_of([*findings, *few_texts(rows.keys, rows.labels), *copies])
    raise_errors(findings)
    name = given.path.stem if given.path is not None else "documents"
    done = tidied(rows.dropped, (finding.message for finding in findings if finding.severity == "note"))
    return Labelled(rows.documents, tuple(rows.together() or range(len(rows))), name, tuple(done))


def _is_split(source: Source, options: ReadOptions) -> bool:
    """Whether a source is a folder of splits, or was meant to be one."""
    try:
        return bool(files_of_splits(source, options))
    except DataError:
        return True


def _whole(dataset: Dataset, options: ReadOptions) -> Labelled:
    """All documents of a data set, which were read and tidied before."""
    usual = ReadOptions().as_json()
    if given := [name for name, value in options.as_json().items() if value != usual[name]]:
        named = ", ".join(_OPTIONS.get(name, f"--{name.replace('_', '-')}") for name in given)
        raise DataError(
            f"{dataset.name} is prepared data, whose documents were read and tidied before: {named} can't have an "
            "effect on it. Leave that out, or give the original documents"
        )
    dataset = clean_dataset(replace(dataset, published=False))  # as the classifier is going to read others
    splits = (dataset.train, dataset.val, dataset.test)
    if any(split.weights is not None for split in splits):
        raise DataError(
            f"{dataset.name} has weights of documents, which fit does not use; leave them out, or train a "
            "`tanzaku.TextClassifier`"
        )
    texts = tuple(text for split in splits for text in split.texts)
    labels = tuple(label for split in splits for label in split.labels)
    grouped = any(split.groups for split in splits)
    groups = tuple(group for split in splits for group in split.groups or [None] * len(split)) if grouped else None
    keys = [same_text(text) for text in texts]
    warn_of([*few_texts(keys, labels), *([] if grouped else repeated_texts(keys))])
    return Labelled(
        Documents(texts, labels, groups=groups), tuple(together(keys, *([groups] if groups else []))), dataset.name
    )


def _pairs(source: Any) -> Any:
    """A tuple of two columns, texts and labels, as pairs; anything else, such as a list of pairs, as it is."""
    if not (isinstance(source, tuple) and len(source) == 2 and all(map(is_column, source))):
        return source
    texts, labels = map(column_values, source)
    if len(texts) != len(labels):
        raise DataError(f"there are {len(texts)} texts and {len(labels)} labels; give each text its label")
    return list(zip(texts, labels, strict=True))
