"""What a section's test predictions say of its arms: intervals over seeds and documents, comparisons, the
recommendation, the Pareto fronts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tanzaku.errors import RecordError
from tanzaku.report.arms import Arm, Section
from tanzaku.report.predictions import Predictions, RunKey, run_key
from tanzaku.report.rank_curves import RankCurve, curves_of
from tanzaku.study.recommendation import Choice, Verdict, choose, non_inferiority, pareto_front
from tanzaku.study.record import PREDICTIONS_FILE
from tanzaku.study.statistics import Difference, Interval, Outcome, outcome_of

if TYPE_CHECKING:
    import numpy as np

Seeds = Literal["both", "one", "none"]


@dataclass(frozen=True)
class Comparison:
    """One arm against another on the same test documents; p-values are Holm's over all comparisons of the section."""

    arm: Arm
    reference: Arm
    accuracy: Difference
    accuracy_p: float
    macro_f1: Difference
    macro_f1_p: float
    seeds_covered: Seeds
    """Whether both arms have several runs, so that the test covers their seeds too."""

    @property
    def outcome(self) -> Outcome:
        """Of the arm's test accuracy, beside the reference's."""
        return outcome_of(self.accuracy, p_value=self.accuracy_p)


@dataclass(frozen=True)
class Recommendation:
    """What the validation set chose, and what the test set says of it."""

    arm: Arm
    best: Arm
    within: int
    """Arms within the margin of the best, the best among them."""
    considered: int
    margin: float
    difference: Difference | None
    """Of the recommended arm's test accuracy from the best's; None where they are one, or predictions are missing."""
    seeds_covered: Seeds
    """Whether both arms have several runs, so that the difference covers their seeds too."""

    @property
    def is_best(self) -> bool:
        """Whether no smaller arm comes within the margin of the best."""
        return self.arm == self.best

    @property
    def verdict(self) -> Verdict | None:
        """The test set's, where it has something to say."""
        return non_inferiority(self.difference.interval, margin=self.margin) if self.difference else None


@dataclass(frozen=True)
class Evidence:
    """Everything that is inferred about one section."""

    margin: float
    recommendation: Recommendation | None
    among_encoders: Recommendation | None
    """Among the arms that adapt the encoder, where the best of all does without."""
    intervals: tuple[tuple[Arm, Interval], ...]
    """Of the test accuracy over seeds and documents, for arms of several runs with predictions."""
    comparisons: tuple[Comparison, ...]
    """Against the best and the recommended arm, of all and of those with an encoder, each in the order of the arms."""
    size_front: tuple[bool, ...]
    """Whether each of the section's arms is on the front of test accuracy against saved bytes."""
    time_front: tuple[bool, ...]
    """Likewise, against training seconds without evaluation."""
    predictions_missing: bool
    """Whether a finished run lacks them, so that its arm is compared with nothing."""
    curves: tuple[RankCurve, ...] = ()
    """Of the arms whose trained adapters were measured at several ranks."""

    @property
    def references(self) -> list[Arm]:
        """The arms that every other is compared with, each once."""
        return _distinct([comparison.reference for comparison in self.comparisons])

    def interval(self, arm: Arm) -> Interval | None:
        """The arm's interval over seeds and documents, where there is one."""
        return next((interval for one, interval in self.intervals if one == arm), None)

    @property
    def chosen(self) -> list[Arm]:
        """The recommended arms and the best ones that they were chosen beside, each once."""
        found = [one for one in (self.recommendation, self.among_encoders) if one]
        return _distinct([arm for one in found for arm in (one.arm, one.best)])

    def against(self, reference: Arm) -> list[Comparison]:
        """The comparisons with one arm."""
        return [one for one in self.comparisons if one.reference == reference]


def evidence_of(section: Section, predictions: Predictions, *, margin: float) -> Evidence:
    """Infer what there is to infer about the arms of a section.

    Args:
        section: The arms that may be compared.
        predictions: Those of `predictions_of`.
        margin: How much worse than the best a recommended arm may be, a share.

    Raises:
        RecordError: Runs on equal data have predictions of other documents.
    """
    table = _Table.of(section, predictions)
    recommendation = _recommend(section.arms, table, margin=margin)
    among_encoders = None
    if recommendation and not _adapts_encoder(recommendation.best):
        among_encoders = _recommend([arm for arm in section.arms if _adapts_encoder(arm)], table, margin=margin)
    references = [arm for found in (recommendation, among_encoders) if found for arm in (found.best, found.arm)]
    return Evidence(
        margin=margin,
        recommendation=recommendation,
        among_encoders=among_encoders,
        intervals=tuple((arm, found) for arm in section.arms if (found := table.interval(arm))),
        comparisons=tuple(_compare_all(section.arms, _distinct(references), table)),
        size_front=_front(section.arms, "saved_bytes"),
        time_front=_front(section.arms, "train_seconds"),
        predictions_missing=any(arm.finished and not table.has(arm) for arm in section.arms),
        curves=curves_of(section, predictions),
    )


@dataclass(frozen=True)
class _Table:
    """The section's test predictions, one row a run."""

    classes: np.ndarray
    """(documents,)"""
    predicted: np.ndarray
    """(runs, documents)"""
    rows: Mapping[RunKey, int]
    labels: int

    @classmethod
    def of(cls, section: Section, predictions: Predictions) -> _Table:
        import numpy as np

        runs = [record for arm in section.arms for record in arm.finished if run_key(record) in predictions]
        found = [predictions[run_key(record)] for record in runs]
        for record, one in zip(runs, found, strict=True):
            if not np.array_equal(one.classes, found[0].classes):
                raise RecordError(
                    f"the runs {runs[0].run_id} and {record.run_id} are of equal data, but their {PREDICTIONS_FILE} "
                    "have other test documents; remove the one that was changed"
                )
        return cls(
            classes=found[0].classes if found else np.empty(0, dtype=np.int64),
            predicted=np.stack([one.predicted for one in found]) if found else np.empty((0, 0), dtype=np.int64),
            rows={run_key(record): row for row, record in enumerate(runs)},
            labels=len(section.data.label_names),
        )

    def has(self, arm: Arm) -> bool:
        """Whether every counted run of the arm has its predictions."""
        return bool(arm.finished) and all(run_key(record) in self.rows for record in arm.finished)

    def rows_of(self, arm: Arm) -> list[int]:
        return [self.rows[run_key(record)] for record in arm.finished]

    @property
    def correct(self) -> np.ndarray:
        """(runs, documents) bool"""
        return self.predicted == self.classes

    def interval(self, arm: Arm) -> Interval | None:
        from tanzaku.study.statistics import accuracy_interval_over_both, accuracy_scores

        if not self.has(arm) or len(arm.finished) < 2:
            return None
        correct = self.correct[self.rows_of(arm)]
        return accuracy_interval_over_both(accuracy_scores(correct), range(len(correct)))

    def compare(self, arm: Arm, other: Arm) -> Difference:
        from tanzaku.study.statistics import compare_accuracies

        return compare_accuracies(self.correct, self.rows_of(arm), self.rows_of(other))


def _adapts_encoder(arm: Arm) -> bool:
    return any(key.startswith("encoder.") for key in arm.settings)


def _recommend(arms: Sequence[Arm], table: _Table, *, margin: float) -> Recommendation | None:
    candidates = [(arm, candidate) for arm in arms if (candidate := arm.candidate)]
    choice: Choice | None = choose([candidate for _, candidate in candidates], margin=margin)
    if choice is None:
        return None
    best, arm = candidates[choice.best][0], candidates[choice.recommended][0]
    known = best != arm and table.has(best) and table.has(arm)
    return Recommendation(
        arm=arm,
        best=best,
        within=len(choice.within_margin),
        considered=len(candidates),
        margin=margin,
        difference=table.compare(arm, best) if known else None,
        seeds_covered=_seeds_covered(arm, best),
    )


def _compare_all(arms: Sequence[Arm], references: Sequence[Arm], table: _Table) -> list[Comparison]:
    """Every arm against every reference, with Holm's correction over the pairs, each counted once."""
    from tanzaku.study.statistics import compare, holm, macro_f1_scores

    pairs = [
        (arm, reference)
        for reference in references
        for arm in arms
        if arm != reference and table.has(arm) and table.has(reference)
    ]
    if not pairs:
        return []
    scores = macro_f1_scores(table.classes, table.predicted, labels=table.labels)
    comparisons = []
    for arm, reference in pairs:
        accuracy = table.compare(arm, reference)
        macro_f1 = compare(scores, table.rows_of(arm), table.rows_of(reference))
        seeds = _seeds_covered(arm, reference)
        comparisons.append(
            Comparison(arm, reference, accuracy, accuracy.p_value, macro_f1, macro_f1.p_value, seeds_covered=seeds)
        )
    once = {frozenset((id(arm), id(reference))): place for place, (arm, reference) in enumerate(pairs)}
    places = list(once.values())
    accuracy_p = dict(zip(once, holm([comparisons[place].accuracy.p_value for place in places]), strict=True))
    macro_f1_p = dict(zip(once, holm([comparisons[place].macro_f1.p_value for place in places]), strict=True))
    return [
        replace(one, accuracy_p=accuracy_p[pair], macro_f1_p=macro_f1_p[pair])
        for one in comparisons
        for pair in (frozenset((id(one.arm), id(one.reference))),)
    ]


def _seeds_covered(arm: Arm, other: Arm) -> Seeds:
    several = sum(len(one.finished) > 1 for one in (arm, other))
    return "both" if several == 2 else "one" if several else "none"


def _front(arms: Sequence[Arm], cost: str) -> tuple[bool, ...]:
    values = [(arm.accuracy, arm.cost(cost)) for arm in arms]
    known = [(place, accuracy.mean, price.mean) for place, (accuracy, price) in enumerate(values) if accuracy and price]
    on = pareto_front([accuracy for _, accuracy, _ in known], [price for _, _, price in known])
    front = {place for (place, _, _), is_on in zip(known, on, strict=True) if is_on}
    return tuple(place in front for place in range(len(arms)))


def _distinct(arms: Sequence[Arm]) -> list[Arm]:
    return [arm for place, arm in enumerate(arms) if arm not in arms[:place]]
