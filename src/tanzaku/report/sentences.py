"""The recommendation in sentences, in the language of the words given."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.classes import averaged_classes, class_results, never_predicted
from tanzaku.analysis.evidence import Evidence, Recommendation
from tanzaku.display import number
from tanzaku.report import formats
from tanzaku.report.terms import MEASURES
from tanzaku.report.words import Words, message

Name = Callable[[Arm], str]

_VERDICTS = {
    "confirmed": message(
        "The test set confirms it: its {measure} differs from the best by {difference} points (95 % interval "
        "{interval}), so it is not worse by more than {margin}."
    ),
    "open": message(
        "The test set leaves open whether it is worse by more than {margin} points: its {measure} differs from the "
        "best by {difference} points (95 % interval {interval}). A margin of {confirmed} points or more would be "
        "confirmed."
    ),
    "contradicted": message(
        "The test set contradicts it: its {measure} differs from the best by {difference} points (95 % interval "
        "{interval}), so it is worse by more than {margin}. Take {best} where that matters, or choose again with more "
        "validation documents or seeds."
    ),
}
_RARE = message("Where rare classes matter, set choose_by to macro_f1 in the study file, or pass --choose-by macro_f1.")
_BADGES = {
    "confirmed": message("confirmed by the test set"),
    "open": message("left open by the test set"),
    "contradicted": message("contradicted by the test set"),
}


@dataclass(frozen=True)
class Advice:
    """What to take, or that nothing is recommended."""

    take: str
    why: str
    """Why the validation set chose it."""
    decided: str | None
    """How much the validation set could decide."""
    warnings: tuple[str, ...]
    """What the means leave out."""
    verdict: str | None
    """What the test set says of it; None where the recommended arm is the best one itself."""

    @property
    def sentences(self) -> list[str]:
        """All of it, in the order in which it is read."""
        return [text for text in (self.take, self.why, *self.warnings, self.verdict, self.decided) if text]


def recommendation_lines(evidence: Iterable[Evidence], *, words: Words) -> list[str]:
    """One line a recommendation."""
    return [words.joined(advice.sentences) for found in evidence for advice in advice_of(found, words=words)]


def advice_of(evidence: Evidence, *, words: Words, name: Name | None = None) -> list[Advice]:
    """Of all arms; then, if the best of all does without the encoder, of those that adapt it.

    Arms have their full names, or those that `name` gives them.
    """
    name = name or (lambda arm: str(arm.full_name(words)))
    advice = []
    if evidence.recommendation is None and evidence.best is not None:
        advice.append(_nothing(evidence, words=words, name=name))
    pairs = (
        (evidence.recommendation, message("Take {arm}.")),
        (evidence.among_encoders, message("Of the arms that adapt the encoder, take {arm}.")),
    )
    return advice + [
        Advice(
            take=words.text(take, arm=name(found.arm)),
            why=reason(found, words=words, name=name),
            decided=decision(found, words=words, name=name),
            warnings=tuple(_warnings(found, evidence, words=words, name=name)),
            verdict=verdict(found, words=words, name=name),
        )
        for found, take in pairs
        if found
    ]


def _nothing(evidence: Evidence, *, words: Words, name: Name) -> Advice:
    """That no arm is better than always answering the most frequent class."""
    assert evidence.best
    assert evidence.majorities
    majority = evidence.majorities.validation
    why = words.text(
        "No arm has a better mean validation {measure} than always answering “{label}”, the most frequent class "
        "({majority} %). The best is {best} with {value} %.",
        measure=words.text(MEASURES[evidence.choose_by]),
        label=majority.label,
        majority=formats.percent(majority.value(evidence.choose_by)),
        best=name(evidence.best),
        value=_validation(evidence.best, evidence),
    )
    hint = (words.text(_RARE),) if evidence.choose_by == "accuracy" else ()
    return Advice(words.text("No arm is recommended."), why, None, hint, None)


def reason(recommendation: Recommendation, *, words: Words, name: Name) -> str:
    """Why the validation set chose it."""
    margin, measure = number(100 * recommendation.margin), words.text(MEASURES[recommendation.choose_by])
    value = _validation(recommendation.arm, recommendation)
    if recommendation.is_best:
        because = (
            message(
                "It has the best mean validation {measure} ({value} %), and no smaller arm that may be recommended "
                "comes within {margin} points of it."
            )
            if recommendation.passed_over
            else message(
                "It has the best mean validation {measure} ({value} %), and no smaller arm comes within {margin} "
                "points of it."
            )
        )
        return words.text(because, measure=measure, value=value, margin=margin)
    because = (
        message(
            "It is the smallest ({megabytes} MB) of the {considered} arms, all of which have a mean validation "
            "{measure} within {margin} points of the best: {value} % compared with {best_value} % for {best} "
            "({best_megabytes} MB)."
        )
        if recommendation.within == recommendation.considered
        else message(
            "It is the smallest ({megabytes} MB) of the {within} arms, out of {considered}, that may be recommended "
            "and whose mean validation {measure} is within {margin} points of the best: {value} % compared with "
            "{best_value} % for {best} ({best_megabytes} MB)."
        )
    )
    return words.text(
        because,
        megabytes=megabytes(recommendation.arm),
        within=recommendation.within,
        considered=recommendation.considered,
        margin=margin,
        measure=measure,
        value=value,
        best_value=_validation(recommendation.best, recommendation),
        best=name(recommendation.best),
        best_megabytes=megabytes(recommendation.best),
    )


def decision(recommendation: Recommendation, *, words: Words, name: Name) -> str | None:
    """How many validation documents decided, and which arms they can't distinguish; None where there was one arm."""
    found = recommendation.decision
    if recommendation.considered == 1:
        return None
    enough = found.margin_documents >= 1 or recommendation.margin == 0
    rests_on = (
        message("The choice rests on {documents}; the margin of {margin} points is {count} of them.")
        if enough
        else message(
            "The choice rests on {documents}; the margin of {margin} points is less than one of them, so a single "
            "document can change the choice."
        )
    )
    decided = words.text(
        rests_on,
        documents=words.plural("{n:,} validation document", "{n:,} validation documents", found.documents),
        margin=number(100 * recommendation.margin),
        count=f"{found.margin_documents:.1f}",
    )
    return words.joined([decided, _indistinct(recommendation, words=words, name=name)])


def _indistinct(recommendation: Recommendation, *, words: Words, name: Name) -> str:
    arms, others = recommendation.decision.indistinct, recommendation.considered - 1
    if arms is None:
        return words.text(
            "The records have no validation predictions, so it is not known which arms differ significantly from the "
            "best."
        )
    if not arms:
        return words.text("On these documents, every other arm differs significantly from the best.")
    if len(arms) == others:
        return words.text("On these documents, no other arm can be distinguished from the best.")
    return words.text(
        "On these documents, {count} of the {others} other arms can't be distinguished from the best: {arms}.",
        count=len(arms),
        others=others,
        arms=words.listed(map(name, arms)),
    )


def _warnings(recommendation: Recommendation, evidence: Evidence, *, words: Words, name: Name) -> list[str]:
    """What the means leave out: failed runs, classes that are never predicted, arms that may not be recommended."""
    arm, warnings = recommendation.arm, []
    if failed := len(arm.failed):
        warnings.append(
            words.text(
                "{failed} of its {runs} runs failed, and the mean covers only the others. Find out why before you use "
                "it.",
                failed=failed,
                runs=failed + len(arm.finished),
            )
        )
    if recommendation.passed_over and evidence.majorities:
        majority = evidence.majorities.validation
        warnings.append(
            words.text(
                "Within the margin, but not better than always answering “{label}”, the most frequent class "
                "({majority} %), and therefore not recommended: {arms}.",
                label=majority.label,
                majority=formats.percent(majority.value(recommendation.choose_by)),
                arms=words.listed(map(name, recommendation.passed_over)),
            )
        )
    return warnings + _unpredicted(recommendation, evidence, words=words, name=name)


def _unpredicted(recommendation: Recommendation, evidence: Evidence, *, words: Words, name: Name) -> list[str]:
    """That the recommended arm never predicts some class, and which arms predict them all."""
    missing = never_predicted(recommendation.arm)
    if not missing:
        return []
    runs = len(recommendation.arm.finished)
    always = [one for one in missing if one.runs == runs]
    sometimes = [one for one in missing if one.runs < runs]
    warnings = []
    if always:
        labels = words.listed(words.text("“{name}”", name=one.label) for one in always)
        warnings.append(
            words.plural(
                "Warning: it never predicts {labels} ({n:,} document in the validation and test sets).",
                "Warning: it never predicts {labels} ({n:,} documents in the validation and test sets).",
                sum(one.documents for one in always),
                labels=labels,
            )
        )
    if sometimes:
        labels = words.listed(words.text("“{name}”", name=one.label) for one in sometimes)
        warnings.append(
            words.text("Warning: some of its {runs} runs never predict {labels}.", labels=labels, runs=runs)
        )
    if complete := [arm for arm, _ in evidence.intervals if not never_predicted(arm)]:
        warnings.append(words.text("Arms that predict every class: {arms}.", arms=words.listed(map(name, complete))))
    return [*warnings, words.text(_RARE)] if recommendation.choose_by == "accuracy" else warnings


def chosen_by(evidence: Evidence, *, words: Words) -> str:
    """The rule of the choice."""
    return words.text(
        "The validation set chose: the smallest arm within {margin} points of the best mean validation {measure} that "
        "is better than always answering the most frequent class. The test set does not influence the choice; it only "
        "checks it.",
        margin=number(100 * evidence.margin),
        measure=words.text(MEASURES[evidence.choose_by]),
    )


def class_notes(section: Section, evidence: Evidence, *, words: Words) -> list[str]:
    """What to know of the classes: the most frequent one's share, and which of them macro-F1 leaves out."""
    notes = []
    if majorities := evidence.majorities:
        notes.append(
            words.text(
                "Always answering the most frequent class would be right for {validation} % of the validation "
                "documents (“{validation_label}”) and for {test} % of the test documents (“{test_label}”).",
                validation=formats.percent(majorities.validation.accuracy),
                validation_label=majorities.validation.label,
                test=formats.percent(majorities.test.accuracy),
                test_label=majorities.test.label,
            )
        )
    counts = [count for arm in section.arms if (count := averaged_classes(arm))]
    scored = next((found for arm in section.arms if (found := class_results(arm))), ())
    if absent := [words.text("“{name}”", name=one.label) for one in scored if one.support == 0]:
        lowest, highest = min(one.lowest for one in counts), max(one.highest for one in counts)
        counted = str(lowest) if lowest == highest else f"{lowest}–{highest}"
        labels = words.listed(absent)
        notes.append(
            words.text(
                "Macro-F1 is the mean over the classes that occur in the test documents or among a run's predictions, "
                "here {counted} of {total}. There are no test documents of {labels}.",
                counted=counted,
                total=counts[0].total,
                labels=labels,
            )
        )
    return notes


def verdict(recommendation: Recommendation, *, words: Words, name: Name) -> str | None:
    """What the test set says of it; None where the recommended arm is the best one itself."""
    if recommendation.is_best:
        return None
    difference = recommendation.difference
    if difference is None or recommendation.verdict is None:
        return words.text("The records have no test predictions, so the test set can't confirm it.")
    text = words.text(
        _VERDICTS[recommendation.verdict],
        measure=words.text(MEASURES[recommendation.choose_by]),
        margin=number(100 * recommendation.margin),
        difference=formats.points(difference.mean),
        interval=formats.points_interval(difference.interval, words=words),
        # Rounded up: the margin that is shown must lie outside the interval.
        confirmed=f"{math.ceil(-10_000 * difference.interval.low) / 100:.2f}",
        best=name(recommendation.best),
    )
    return (
        text
        if recommendation.seeds_covered == "both"
        else words.text("{verdict} This holds for these trained models; other seeds are not covered.", verdict=text)
    )


def badge(recommendation: Recommendation, *, words: Words) -> str:
    """The verdict in a few words."""
    if recommendation.is_best:
        return words.text("also the best on validation")
    if recommendation.verdict is None:
        return words.text("not tested")
    text = words.text(_BADGES[recommendation.verdict])
    return (
        text
        if recommendation.seeds_covered == "both"
        else words.text("{verdict}, for these trained models; other seeds are not covered", verdict=text)
    )


def megabytes(arm: Arm) -> str:
    """What the arm takes on disk, mean over its runs."""
    size = arm.cost("saved_bytes")
    return formats.megabytes(size.mean / 1e6) if size else "–"


def _validation(arm: Arm, chosen: Evidence | Recommendation) -> str:
    found = arm.validation(chosen.choose_by)
    return formats.percent(found.mean) if found else "–"
