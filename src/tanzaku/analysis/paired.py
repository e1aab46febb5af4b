"""The predictions of a section's runs on the same documents, and tests of its arms on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.predictions import Predictions, RunKey, RunPredictions, run_key
from tanzaku.analysis.run_scores import RunScores
from tanzaku.analysis.statistics import Difference
from tanzaku.errors import RecordError
from tanzaku.measure.metrics import ChooseBy
from tanzaku.study.archive import Split
from tanzaku.study.record import FinishedEncoderRun, RunRecord

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Paired:
    """One row a run, one column a document."""

    classes: np.ndarray
    """(documents,)"""
    predicted: np.ndarray
    """(runs, documents)"""
    rows: Mapping[RunKey, int]
    labels: int
    groups: np.ndarray | None = None
    """The number of each document's group, (documents,); None where all documents are independent."""

    @classmethod
    def test(cls, section: Section, predictions: Predictions) -> Paired:
        """On the test set.

        Raises:
            RecordError: Runs on equal data have predictions of other documents.
        """
        return cls._of(section, predictions.get, split="test")

    @classmethod
    def validation(cls, section: Section, predictions: Predictions) -> Paired:
        """On the validation set.

        Raises:
            RecordError: Runs on equal data have predictions of other documents.
        """

        def of_run(key: RunKey) -> RunPredictions | None:
            found = predictions.get(key)
            return found.validation if found else None

        return cls._of(section, of_run, split="validation")

    @classmethod
    def _of(cls, section: Section, of_run: Callable[[RunKey], RunPredictions | None], *, split: Split) -> Paired:
        import numpy as np

        known = [
            (record, found)
            for arm in section.arms
            for record in arm.finished
            if (found := of_run(run_key(record))) is not None
        ]
        for record, found in known:
            _check_alike(known[0], (record, found), split=split)
        return cls(
            classes=known[0][1].classes if known else np.empty(0, dtype=np.int64),
            predicted=np.stack([one.predicted for _, one in known]) if known else np.empty((0, 0), dtype=np.int64),
            rows={run_key(record): row for row, (record, _) in enumerate(known)},
            labels=len(section.data.label_names),
            groups=next((one.groups for _, one in known if one.groups is not None), None),
        )

    def has(self, arm: Arm) -> bool:
        """Whether every counted run of the arm has its predictions."""
        return bool(arm.finished) and all(run_key(record) in self.rows for record in arm.finished)

    def rows_of(self, arm: Arm) -> list[int]:
        """Of the arm's counted runs."""
        return [self.rows[run_key(record)] for record in arm.finished]

    @property
    def correct(self) -> np.ndarray:
        """(runs, documents) bool"""
        correct: np.ndarray = self.predicted == self.classes
        return correct

    def correct_of(self, arm: Arm) -> np.ndarray | None:
        """(runs, documents) bool of the arm's counted runs; None where some have no predictions."""
        return self.correct[self.rows_of(arm)] if self.has(arm) else None

    @cached_property
    def macro_f1_scores(self) -> RunScores:
        """Of all runs."""
        from tanzaku.analysis.run_scores import macro_f1_scores

        return macro_f1_scores(self.classes, self.predicted, labels=self.labels, groups=self.groups)

    def compare(self, arm: Arm, other: Arm) -> Difference:
        """The arm's accuracy less the other's."""
        from tanzaku.analysis.statistics import compare_accuracies

        in_pairs = share_trainings(arm, other)
        return compare_accuracies(self.correct, self.rows_of(arm), self.rows_of(other), self.groups, in_pairs=in_pairs)

    def differences(self, arms: Sequence[Arm], other: Arm, *, measure: ChooseBy) -> list[Difference]:
        """Each arm's accuracy or macro-F1 less the other's."""
        from tanzaku.analysis.statistics import compare

        if measure == "accuracy" or not arms:
            return [self.compare(arm, other) for arm in arms]
        return [
            compare(self.macro_f1_scores, self.rows_of(arm), self.rows_of(other), in_pairs=share_trainings(arm, other))
            for arm in arms
        ]


def share_trainings(arm: Arm, other: Arm) -> bool:
    """Whether each finished run of one took over the training of the other's with the same seed, or they are one."""
    return arm is other or _took_over(arm, other) or _took_over(other, arm)


def _took_over(arm: Arm, other: Arm) -> bool:
    trained_by = [run.trained_by for run in arm.finished if isinstance(run, FinishedEncoderRun)]
    return bool(trained_by) and trained_by == [run.run_id for run in other.finished]


def _check_alike(
    first: tuple[RunRecord, RunPredictions], other: tuple[RunRecord, RunPredictions], *, split: Split
) -> None:
    import numpy as np

    if not np.array_equal(first[1].classes, other[1].classes):
        raise RecordError(
            f"the runs {first[0].run_id} and {other[0].run_id} are of equal data, but their {split} "
            "predictions have other documents; remove the run that was changed"
        )
