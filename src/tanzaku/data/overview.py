"""What a data set looks like: rows, lengths, and texts that come more than once."""

import statistics
from collections import defaultdict
from typing import Any

from tanzaku.data.dataset import Dataset
from tanzaku.data.grouping import same_text
from tanzaku.data.labels import similar_labels
from tanzaku.data.prepared import SPLITS, counts_of, documents_by_split
from tanzaku.data.validate import split_problems


def describe(dataset: Dataset) -> dict[str, Any]:
    """The figures of a data set, ready for JSON.

    Returns:
        `counts` (rows by class and split), `rows` (by split), `characters` (by split: min, median, max), `duplicates`
        (`texts`: how many texts stand more than once, `rows`: in how many rows, `across_splits`: texts that stand in
        several splits, `with_several_labels`: texts that stand under several labels), `warnings` and `fingerprint`.
    """
    labels = (label for split in SPLITS for label in getattr(dataset, split).labels)
    warnings = [
        *similar_labels(labels),
        *(one for one in split_problems(documents_by_split(dataset)) if one.kind == "shared-texts"),
    ]
    return {
        "name": dataset.name,
        "label_names": list(dataset.label_names),
        "counts": counts_of(dataset),
        "rows": {split: len(getattr(dataset, split)) for split in SPLITS},
        "characters": {split: _lengths(getattr(dataset, split).texts) for split in SPLITS},
        "duplicates": _duplicates(dataset),
        "warnings": [str(one) for one in warnings],
        "fingerprint": dataset.fingerprint,
    }


def _lengths(texts: tuple[str, ...]) -> dict[str, float]:
    lengths = [len(text) for text in texts]
    return {"min": min(lengths), "median": statistics.median(lengths), "max": max(lengths)}


def _duplicates(dataset: Dataset) -> dict[str, int]:
    places: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for split in SPLITS:
        documents = getattr(dataset, split)
        for text, label in zip(documents.texts, documents.labels, strict=True):
            places[same_text(text)].append((split, label))
    repeated = [found for found in places.values() if len(found) > 1]
    return {
        "texts": len(repeated),
        "rows": sum(map(len, repeated)),
        "across_splits": sum(len({split for split, _ in found}) > 1 for found in repeated),
        "with_several_labels": sum(len({label for _, label in found}) > 1 for found in repeated),
    }
