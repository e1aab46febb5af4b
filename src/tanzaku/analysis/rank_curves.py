"""One trained adapter at several ranks: what each rank gives, compared with an arm trained at only that rank."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import ValidationError

from tanzaku.analysis.arms import Arm, Estimate, Section, estimate, identity_of
from tanzaku.analysis.intervals import accuracy_interval_of
from tanzaku.analysis.predictions import Predictions, RunPredictions, run_key
from tanzaku.analysis.statistics import Difference, Interval, Outcome, outcome_of
from tanzaku.methods import METHODS, Method
from tanzaku.methods.ranked import RankedMethod
from tanzaku.study.record import FinishedRun, RankRecord

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class RankRow:
    """The adapters of one arm at one rank."""

    rank: int
    measured: tuple[RankRecord, ...]
    """One a seed."""
    interval: Interval | None
    """95 % interval of the test accuracy: over documents of one run, over seeds and documents of several."""
    separate: Arm | None
    """The arm that was trained at this rank alone, all else equal; at an adapter's own rank, the arm itself."""
    difference: Difference | None
    """Of the test accuracy, less the separate arm's; None with itself and where predictions are missing."""
    p_value: float | None = None
    """Of the difference, Holm's over all rows of the section's curves."""

    @property
    def accuracy(self) -> Estimate | None:
        """Of the test set, a share."""
        return estimate(one.test.accuracy for one in self.measured)

    @property
    def macro_f1(self) -> Estimate | None:
        """Of the test set, a share."""
        return estimate(one.test.macro_f1 for one in self.measured)

    @property
    def val_accuracy(self) -> Estimate | None:
        """Of the validation set, a share."""
        return estimate(one.val.accuracy for one in self.measured)

    @property
    def saved_bytes(self) -> Estimate | None:
        """Of the adapter at this rank."""
        return estimate(one.saved_bytes for one in self.measured)

    @property
    def outcome(self) -> Outcome | None:
        """Compared with the separately trained arm, where the two were compared."""
        if self.difference is None or self.p_value is None:
            return None
        return outcome_of(self.difference, p_value=self.p_value)


@dataclass(frozen=True)
class RankCurve:
    """An arm whose trained adapters were measured at several ranks, and what that cost."""

    arm: Arm
    rows: tuple[RankRow, ...]
    """By rank."""
    train_seconds: float
    """Of one run, without evaluation: mean over the runs."""
    measuring_seconds: float
    """Of one run: to cut its adapter and to classify the validation and the test set, at all ranks together."""

    @property
    def separate(self) -> tuple[Arm, ...]:
        """The separately trained arms by rank, the arm itself among them where it is one; none if it is all of them."""
        arms = tuple(row.separate for row in self.rows if row.separate)
        return arms if any(arm is not self.arm for arm in arms) else ()

    @property
    def separate_seconds(self) -> float | None:
        """What the separately trained arms took to train together, one run each; None where there is none."""
        return sum(map(_train_seconds, self.separate)) if self.separate else None

    @property
    def largest_seconds(self) -> float | None:
        """What a run trained at the largest of the ranks alone took to train, where there is one besides the arm's."""
        largest = self.rows[-1].separate
        return _train_seconds(largest) if largest and largest is not self.arm else None


@dataclass(frozen=True)
class CurveLine:
    """One line of accuracy against the rank: of one adapter, or of arms that were each trained at their rank."""

    arm: Arm
    """The adapter's, or the first of the separately trained."""
    separate: bool
    points: tuple[tuple[int, float, Interval | None], ...]
    """Rank, test accuracy (a share) and its interval."""


def curves_of(section: Section, predictions: Predictions) -> tuple[RankCurve, ...]:
    """The arms of a section that were measured at several ranks, in its order.

    Args:
        section: The arms that may be compared.
        predictions: Those of `predictions_of`.
    """
    from tanzaku.analysis.statistics import holm

    found = [(arm, runs) for arm in section.arms if (runs := _measured_runs(arm))]
    curves = [_curve(arm, runs, section, predictions) for arm, runs in found]
    compared = [row.difference.p_value for curve in curves for row in curve.rows if row.difference]
    corrected = iter(holm(compared))
    return tuple(
        replace(
            curve,
            rows=tuple(replace(row, p_value=next(corrected)) if row.difference else row for row in curve.rows),
        )
        for curve in curves
    )


def lines_of(curves: Sequence[RankCurve], intervals: Sequence[tuple[Arm, Interval]]) -> list[CurveLine]:
    """One line an adapter, then one for each kind of separately trained arms.

    Args:
        curves: Those of a section.
        intervals: Of its arms.
    """
    lines = [
        CurveLine(
            curve.arm,
            False,
            tuple((row.rank, row.accuracy.mean, row.interval) for row in curve.rows if row.accuracy),
        )
        for curve in curves
    ]
    groups: dict[str, dict[int, Arm]] = {}
    for curve in curves:
        for arm in curve.separate:
            groups.setdefault(arm.series, {})[arm.rank or 1] = arm
    for group in groups.values():
        points = tuple(
            (rank, arm.accuracy.mean, next((found for one, found in intervals if one is arm), None))
            for rank, arm in sorted(group.items())
            if arm.accuracy
        )
        lines.append(CurveLine(next(iter(group.values())), True, points))
    return lines


def _measured_runs(arm: Arm) -> list[FinishedRun]:
    """One run a seed, the latest that was measured at several ranks."""
    by_seed = {record.spec["seed"]: record for record in (*arm.repeated, *arm.finished) if record.ranks}
    return [by_seed[seed] for seed in sorted(by_seed)]


def _curve(arm: Arm, runs: Sequence[FinishedRun], section: Section, predictions: Predictions) -> RankCurve:
    trained = estimate(run.costs.train_seconds for run in runs)
    measured = estimate(sum(one.seconds for one in run.ranks) for run in runs)
    ranks = sorted({one.rank for run in runs for one in run.ranks})
    return RankCurve(
        arm=arm,
        rows=tuple(_row(arm, runs, rank, section, predictions) for rank in ranks),
        train_seconds=trained.mean if trained else 0.0,
        measuring_seconds=measured.mean if measured else 0.0,
    )


def _row(arm: Arm, runs: Sequence[FinishedRun], rank: int, section: Section, predictions: Predictions) -> RankRow:
    import numpy as np

    from tanzaku.analysis.statistics import compare_accuracies

    here = [(run, one) for run in runs for one in run.ranks if one.rank == rank]
    separate = _trained_alone(arm, rank, section.arms)
    correct = _correct([run for run, _ in here], predictions, predicted=lambda one: one.at_ranks.get(rank))
    groups = predictions[run_key(here[0][0])].groups if correct is not None else None
    interval = accuracy_interval_of([one.test for _, one in here], correct, groups)
    difference = None
    if correct is not None and separate is not None and separate is not arm:
        other = _correct(separate.finished, predictions, predicted=lambda one: one.predicted)
        if other is not None:
            first, second = range(len(correct)), range(len(correct), len(correct) + len(other))
            difference = compare_accuracies(np.concatenate([correct, other]), first, second, groups)
    return RankRow(rank, tuple(one for _, one in here), interval, separate, difference)


def _correct(
    runs: Sequence[FinishedRun], predictions: Predictions, *, predicted: Callable[[RunPredictions], np.ndarray | None]
) -> np.ndarray | None:
    """Whether each run took each document right, (runs, documents) bool; None where a run's predictions are missing."""
    import numpy as np

    rows = []
    for found in (predictions.get(run_key(run)) for run in runs):
        guess = predicted(found) if found else None
        if found is None or guess is None:
            return None
        rows.append(guess == found.classes)
    return np.stack(rows)


def _trained_alone(arm: Arm, rank: int, arms: Sequence[Arm]) -> Arm | None:
    """The arm with a test accuracy that was trained as this one, but for this rank alone."""
    method = _method_of(arm)
    if not isinstance(method, RankedMethod):
        return None
    wanted = method.trained_alone(rank)
    return next(
        (
            other
            for other in arms
            if other.accuracy and _surroundings(other) == _surroundings(arm) and _as_trained(other) == wanted
        ),
        None,
    )


def _method_of(arm: Arm) -> Method | None:
    """The method with all its options; None where it is of another version."""
    options = dict((*arm.finished, *arm.failed)[0].spec["method"])
    kind = METHODS.get(options.pop("name"))
    try:
        return kind.model_validate(options) if kind else None
    except ValidationError:
        return None


def _as_trained(arm: Arm) -> Method | None:
    method = _method_of(arm)
    return method.as_trained() if method else None


def _surroundings(arm: Arm) -> str:
    """What an arm is trained with, besides its method's own options."""
    return identity_of({key: value for key, value in arm.settings.items() if not key.startswith("method.")})


def _train_seconds(arm: Arm) -> float:
    seconds = arm.cost("train_seconds")
    return seconds.mean if seconds else 0.0
