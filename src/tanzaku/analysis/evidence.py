"""What a section's test predictions say of its arms: intervals over seeds and documents, comparisons, the
recommendation, the Pareto fronts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.choice import ArmChoice, choose_arm
from tanzaku.analysis.classes import Majorities, majorities_of
from tanzaku.analysis.intervals import accuracy_interval_of
from tanzaku.analysis.needs import adapts_encoder
from tanzaku.analysis.paired import Paired
from tanzaku.analysis.predictions import Predictions, run_key
from tanzaku.analysis.rank_curves import RankCurve, curves_of
from tanzaku.analysis.recommendation import Verdict, non_inferiority, pareto_front
from tanzaku.analysis.reliability import Reliability, reliability_of
from tanzaku.analysis.statistics import Difference, Interval, Outcome, outcome_of
from tanzaku.measure.metrics import DEFAULT_CHOOSE_BY, ChooseBy
from tanzaku.study.record import FinishedRun

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
    """Whether both arms have several runs or need no more than one, so that the test covers their seeds too."""

    @property
    def outcome(self) -> Outcome:
        """Of the arm's test accuracy, compared with the reference's."""
        return outcome_of(self.accuracy, p_value=self.accuracy_p)


@dataclass(frozen=True)
class Decision:
    """How much the validation set could decide."""

    documents: int
    """Validation documents, on which the arms were compared to choose one."""
    margin_documents: float | None
    """The margin, as a number of them; None for macro-F1, which one document changes by more or less."""
    indistinct: tuple[Arm, ...] | None
    """The arms that do not differ significantly from the best on them, after Holm's correction over all pairs of arms,
    any of which could have been the best and another; None where validation predictions are missing."""


@dataclass(frozen=True)
class Recommendation:
    """What the validation set chose, and what the test set says of it."""

    arm: Arm
    best: Arm
    within: int
    """Arms that may be recommended: within the margin of the best, which is one of them."""
    considered: int
    passed_over: tuple[Arm, ...]
    """Within the margin of the best, but not better than always answering the most frequent class."""
    choose_by: ChooseBy
    margin: float
    decision: Decision
    difference: Difference | None
    """Of what the arms were chosen by on the test set, the recommended arm's less the best's; None where they are one,
    or predictions are missing."""
    seeds_covered: Seeds
    """Whether both arms have several runs or need no more than one, so that the difference covers their seeds too."""

    @property
    def run(self) -> FinishedRun:
        """The recommended arm's run to take: the best on the validation set."""
        found = self.arm.best_run(self.choose_by)
        assert found is not None  # or the arm would not be recommended
        return found

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
    choose_by: ChooseBy
    """What of the validation set the arms were chosen by."""
    best: Arm | None
    """The best on the validation set; None where no run finished."""
    recommendation: Recommendation | None
    """None where no run finished, or no arm is better than always answering the most frequent class."""
    among_encoders: Recommendation | None
    """Among the arms that adapt the encoder, where the best of all does without."""
    majorities: Majorities | None
    """What always answering the most frequent class would give; None where no run finished."""
    intervals: tuple[tuple[Arm, Interval], ...]
    """Of the test accuracy, for every arm with a finished run: see `interval`."""
    comparisons: tuple[Comparison, ...]
    """Against the best and the recommended arm, of all and of those with an encoder, each in the order of the arms."""
    size_front: tuple[bool, ...]
    """Whether each of the section's arms is on the front of test accuracy against saved bytes."""
    time_front: tuple[bool, ...]
    """Likewise, against training seconds without evaluation."""
    predictions_missing: bool
    """Whether a finished run lacks them, so that its arm is compared with nothing."""
    groups: int | None
    """How many groups the test documents belong to, over which the intervals and tests then are; None for none."""
    curves: tuple[RankCurve, ...] = ()
    """Of the arms whose trained adapters were measured at several ranks."""
    reliabilities: tuple[tuple[Arm, Reliability], ...] = ()
    """Of the test probabilities of the `chosen` arms, each by its run that is best on the validation set; those that
    have probabilities."""

    @property
    def references(self) -> list[Arm]:
        """The arms that every other is compared with, each once."""
        return _distinct([comparison.reference for comparison in self.comparisons])

    def interval(self, arm: Arm) -> Interval | None:
        """The 95 % interval of the arm's test accuracy: over documents of one run, over seeds and documents of several.

        None where no run finished.
        """
        return next((interval for one, interval in self.intervals if one == arm), None)

    def front_members(self, section: Section) -> list[tuple[Arm, bool, bool]]:
        """The section's arms that are on the front of size or of time, and on which, from the smallest."""
        fronts = zip(section.arms, self.size_front, self.time_front, strict=True)
        members = [(arm, size, time) for arm, size, time in fronts if size or time]
        return sorted(members, key=lambda member: member[0].mean_cost("saved_bytes"))

    @property
    def recommended(self) -> list[Arm]:
        """The arms that are recommended: of all, and of those that adapt the encoder."""
        return [found.arm for found in (self.recommendation, self.among_encoders) if found]

    @property
    def chosen(self) -> list[Arm]:
        """The recommended arms and the best ones that they were compared with, each once; else the best."""
        found = [one for one in (self.recommendation, self.among_encoders) if one]
        arms = _distinct([arm for one in found for arm in (one.arm, one.best)])
        return arms or ([self.best] if self.best else [])

    def against(self, reference: Arm) -> list[Comparison]:
        """The comparisons with one arm."""
        return [one for one in self.comparisons if one.reference == reference]

    def comparison(self, arm: Arm, reference: Arm) -> Comparison | None:
        """Of two arms; None of an arm with itself and where predictions are missing."""
        return next((one for one in self.against(reference) if one.arm == arm), None)


def evidence_of(
    section: Section, predictions: Predictions, *, margin: float, choose_by: ChooseBy = DEFAULT_CHOOSE_BY
) -> Evidence:
    """Infer what there is to infer about the arms of a section.

    Args:
        section: The arms that may be compared.
        predictions: Those of `predictions_of`.
        margin: How much worse than the best a recommended arm may be, a share.
        choose_by: What of the validation set arms are chosen by.

    Raises:
        RecordError: Runs on equal data have predictions of other documents.
    """
    table, validation = Paired.test(section, predictions), Paired.validation(section, predictions)
    choice = choose_arm(section.arms, choose_by=choose_by, margin=margin)
    recommendation = among_encoders = None
    if choice:
        recommendation = _recommend(choice, table, validation, choose_by=choose_by, margin=margin)
    if choice and not adapts_encoder(choice.best):
        adapting = [arm for arm in section.arms if adapts_encoder(arm)]
        if second := choose_arm(adapting, choose_by=choose_by, margin=margin):
            among_encoders = _recommend(second, table, validation, choose_by=choose_by, margin=margin)
    references = [arm for found in (recommendation, among_encoders) if found for arm in (found.best, found.arm)]
    best = choice.best if choice else None
    found = Evidence(
        margin=margin,
        choose_by=choose_by,
        best=best,
        recommendation=recommendation,
        among_encoders=among_encoders,
        majorities=majorities_of(section.arms),
        intervals=_intervals(section.arms, table),
        comparisons=tuple(_compare_all(section.arms, _distinct(references or ([best] if best else [])), table)),
        size_front=_front(section.arms, "saved_bytes"),
        time_front=_front(section.arms, "train_seconds"),
        predictions_missing=any(arm.finished and not table.has(arm) for arm in section.arms),
        groups=None if table.groups is None else len(set(table.groups.tolist())),
        curves=curves_of(section, predictions),
    )
    return replace(found, reliabilities=_reliabilities(found.chosen, predictions, choose_by=choose_by))


def _reliabilities(
    arms: Sequence[Arm], predictions: Predictions, *, choose_by: ChooseBy
) -> tuple[tuple[Arm, Reliability], ...]:
    runs = [(arm, predictions.get(run_key(run))) for arm in arms if (run := arm.best_run(choose_by))]
    return tuple(
        (arm, reliability_of(run.probabilities, run.classes == run.predicted))
        for arm, run in runs
        if run and run.probabilities is not None
    )


def _intervals(arms: Sequence[Arm], table: Paired) -> tuple[tuple[Arm, Interval], ...]:
    found = []
    for arm in arms:
        scores = [record.test for record in arm.finished]
        if interval := accuracy_interval_of(scores, table.correct_of(arm), table.groups):
            found.append((arm, interval))
    return tuple(found)


def _recommend(
    choice: ArmChoice, table: Paired, validation: Paired, *, choose_by: ChooseBy, margin: float
) -> Recommendation | None:
    best, arm = choice.best, choice.recommended
    if arm is None:
        return None
    known = best != arm and table.has(best) and table.has(arm)
    return Recommendation(
        arm=arm,
        best=best,
        within=len(choice.within),
        considered=len(choice.considered),
        passed_over=choice.passed_over,
        choose_by=choose_by,
        margin=margin,
        decision=_decide(choice, validation, choose_by=choose_by, margin=margin),
        difference=table.differences([arm], best, measure=choose_by)[0] if known else None,
        seeds_covered=_seeds_covered(arm, best),
    )


def _decide(choice: ArmChoice, validation: Paired, *, choose_by: ChooseBy, margin: float) -> Decision:
    from tanzaku.analysis.statistics import holm_with_best

    val = choice.best.finished[0].val
    others = [arm for arm in choice.considered if arm != choice.best]
    indistinct = None
    if all(validation.has(arm) for arm in choice.considered):
        differences = validation.differences(others, choice.best, measure=choose_by)
        corrected = holm_with_best([difference.p_value for difference in differences])
        indistinct = tuple(
            arm
            for arm, difference, p_value in zip(others, differences, corrected, strict=True)
            if outcome_of(difference, p_value=p_value) == "not distinguishable"
        )
    return Decision(val.documents, margin * val.documents if choose_by == "accuracy" else None, indistinct)


def _compare_all(arms: Sequence[Arm], references: Sequence[Arm], table: Paired) -> list[Comparison]:
    """Every arm against every reference, with Holm's correction over the pairs, each counted once."""
    from tanzaku.analysis.statistics import holm

    pairs = [
        (arm, reference)
        for reference in references
        for arm in arms
        if arm != reference and table.has(arm) and table.has(reference)
    ]
    if not pairs:
        return []
    comparisons = []
    for arm, reference in pairs:
        accuracy = table.compare(arm, reference)
        (macro_f1,) = table.differences([arm], reference, measure="macro_f1")
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
    several = sum(len(one.finished) > 1 or one.deterministic for one in (arm, other))
    return "both" if several == 2 else "one" if several else "none"


def _front(arms: Sequence[Arm], cost: str) -> tuple[bool, ...]:
    values = [(arm.accuracy, arm.cost(cost)) for arm in arms]
    known = [(place, accuracy.mean, price.mean) for place, (accuracy, price) in enumerate(values) if accuracy and price]
    on = pareto_front([accuracy for _, accuracy, _ in known], [price for _, _, price in known])
    front = {place for (place, _, _), is_on in zip(known, on, strict=True) if is_on}
    return tuple(place in front for place in range(len(arms)))


def _distinct(arms: Sequence[Arm]) -> list[Arm]:
    return [arm for place, arm in enumerate(arms) if arm not in arms[:place]]
