"""The predictions that lie beside the records of runs, read and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tanzaku.errors import RecordError
from tanzaku.study.record import (
    PREDICTIONS_FILE,
    RANKS_FOLDER,
    VALIDATION_PREDICTIONS_FILE,
    RunRecord,
    read_predictions,
)

if TYPE_CHECKING:
    import numpy as np

RunKey = tuple[str, str, str]


@dataclass(frozen=True)
class RunPredictions:
    """What one run made of the documents of a set: class indices, each (documents,) int64."""

    classes: np.ndarray
    predicted: np.ndarray
    at_ranks: Mapping[int, np.ndarray] = field(default_factory=dict, kw_only=True)
    """Of its trained adapter at other ranks."""
    validation: RunPredictions | None = field(default=None, kw_only=True)
    """Of the validation documents, beside those of the test documents."""


Predictions = Mapping[RunKey, RunPredictions]


def predictions_of(folders: Mapping[RunKey, Path], records: Iterable[RunRecord]) -> dict[RunKey, RunPredictions]:
    """The predictions that lie beside the records of finished runs; a run without those of the test set is left out.

    So is a rank that lacks its own, and a validation set.

    Args:
        folders: Where each record lies.
        records: The records.

    Raises:
        RecordError: A file is damaged, or is not about the record's documents.
    """
    found = {}
    for record in records:
        folder = folders[run_key(record)]
        if record.test is None or not (folder / PREDICTIONS_FILE).is_file():
            continue
        labels = len(record.data.label_names)
        classes, predicted = _read(folder, record.test.documents, right=record.test.correct, labels=labels)
        validation, name = None, VALIDATION_PREDICTIONS_FILE
        if record.val is not None and (folder / name).is_file():
            right = record.val.correct
            read = _read(folder, record.val.documents, right=right, labels=labels, name=name)
            validation = RunPredictions(*read)
        at_ranks = {}
        for one in record.ranks:
            below = folder / RANKS_FOLDER / f"r{one.rank}"
            if (below / PREDICTIONS_FILE).is_file():
                documents = one.test.documents
                right = round(one.test.accuracy * documents)
                _, at_ranks[one.rank] = _read(below, documents, right=right, labels=labels)
        found[run_key(record)] = RunPredictions(classes, predicted, at_ranks=at_ranks, validation=validation)
    return found


def run_key(record: RunRecord) -> RunKey:
    """What tells a run from every other, those with equal settings too."""
    return record.run_id, record.ended, record.data.fingerprint


def _read(
    folder: Path, documents: int, *, right: int, labels: int, name: str = PREDICTIONS_FILE
) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    pairs = read_predictions(folder, labels=labels, name=name)
    classes, predicted = (np.array(column, dtype=np.int64) for column in pairs)
    found = int((classes == predicted).sum())
    if (len(classes), found) != (documents, right):
        raise RecordError(
            f"{folder / name} has {len(classes)} documents, {found} of them right, but the record "
            f"says {documents} and {right}; take both from the same run"
        )
    return classes, predicted
