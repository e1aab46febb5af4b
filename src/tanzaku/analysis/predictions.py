"""The predictions of runs, read and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tanzaku.errors import RecordError
from tanzaku.study.archive import Split
from tanzaku.study.record import FinishedRun, RunRecord
from tanzaku.study.runs import StoredRun

if TYPE_CHECKING:
    import numpy as np

RunKey = tuple[str, str, str]


@dataclass(frozen=True)
class RunPredictions:
    """What one run made of the documents of a set: class indices, each (documents,) int64."""

    classes: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None = field(default=None, kw_only=True)
    """Calibrated, of the predicted classes, (documents,) float64; None where they are not known."""
    groups: np.ndarray | None = field(default=None, kw_only=True)
    """The number of each document's group, (documents,) int64; None where all documents are independent."""
    at_ranks: Mapping[int, np.ndarray] = field(default_factory=dict, kw_only=True)
    """Of its trained adapter at other ranks."""
    validation: RunPredictions | None = field(default=None, kw_only=True)
    """Of the validation documents, next to those of the test documents."""


Predictions = Mapping[RunKey, RunPredictions]


def predictions_of(runs: Iterable[StoredRun]) -> dict[RunKey, RunPredictions]:
    """The predictions of finished runs; a run without those of the test set is left out.

    So is a rank that lacks its own, and a validation set.

    Raises:
        RecordError: Predictions are damaged, or are not about the record's documents.
    """
    known = {}
    for run in runs:
        record = run.record
        if not isinstance(record, FinishedRun):
            continue
        test = _read(run, record.test.documents, right=record.test.correct)
        if test is None:
            continue
        validation = _read(run, record.val.documents, right=record.val.correct, split="validation")
        at_ranks = {}
        for one in record.ranks:
            documents = one.test.documents
            at_rank = _read(run, documents, right=round(one.test.accuracy * documents), rank=one.rank)
            if at_rank is not None:
                at_ranks[one.rank] = at_rank.predicted
        known[run_key(record)] = replace(test, at_ranks=at_ranks, validation=validation)
    return known


def run_key(record: RunRecord) -> RunKey:
    """What tells a run from every other, those with equal settings too."""
    return record.run_id, record.ended, record.data.fingerprint


def _read(
    run: StoredRun, documents: int, *, right: int, split: Split = "test", rank: int | None = None
) -> RunPredictions | None:
    import numpy as np

    stored = run.predictions(split, rank=rank)
    if stored is None:
        return None
    classes, predicted = (np.array(column, dtype=np.int64) for column in (stored.classes, stored.predicted))
    correct = int((classes == predicted).sum())
    if (len(classes), correct) != (documents, right):
        raise RecordError(
            f"{run.predictions_path(split, rank=rank)} has {len(classes)} documents of {run.record.run_id}, {correct} "
            f"of them right, but the record says {documents} and {right}; take both from the same run"
        )
    probabilities = None if stored.probabilities is None else np.array(stored.probabilities)
    groups = None if stored.groups is None else np.array(stored.groups, dtype=np.int64)
    return RunPredictions(classes, predicted, probabilities=probabilities, groups=groups)
