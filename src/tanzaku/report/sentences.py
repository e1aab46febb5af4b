"""The recommendation in sentences, in the language of the words given."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.classes import averaged_classes, class_results, never_predicted
from tanzaku.analysis.evidence import Evidence, Recommendation
from tanzaku.report import formats
from tanzaku.report.words import Words, words_of

Name = Callable[[Arm], str]

_MOST_NAMES = 5  # in one sentence


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
    said: str | None
    """What the test set says of it; None where the recommended arm is the best one itself."""

    @property
    def sentences(self) -> list[str]:
        """All of it, in the order in which it is read."""
        return [text for text in (self.take, self.why, *self.warnings, self.said, self.decided) if text]


def recommendation_lines(evidence: Iterable[Evidence]) -> list[str]:
    """One line a recommendation, in English."""
    words = words_of("en")
    return [" ".join(advice.sentences) for found in evidence for advice in told(found, words=words)]


def told(evidence: Evidence, *, words: Words, name: Name = formats.arm_name) -> list[Advice]:
    """Of all arms; then, if the best of all does without the encoder, of those that adapt it."""
    advice = []
    if evidence.recommendation is None and evidence.best is not None:
        advice.append(_nothing(evidence, words=words, name=name))
    pairs = ((evidence.recommendation, "take"), (evidence.among_encoders, "take_adapter"))
    return advice + [
        Advice(
            take=words(f"recommendation.{take}", arm=name(found.arm)),
            why=reason(found, words=words, name=name),
            decided=decision(found, words=words, name=name),
            warnings=tuple(_warnings(found, evidence, words=words, name=name)),
            said=verdict(found, words=words, name=name),
        )
        for found, take in pairs
        if found
    ]


def _nothing(evidence: Evidence, *, words: Words, name: Name) -> Advice:
    """That no arm is better than always answering the most frequent class."""
    assert evidence.best
    assert evidence.majorities
    majority = evidence.majorities.validation
    why = words(
        "recommendation.nothing_better",
        measure=words(f"measure.{evidence.choose_by}"),
        label=majority.label,
        majority=formats.percent(majority.value(evidence.choose_by)),
        best=name(evidence.best),
        value=_validation(evidence.best, evidence),
    )
    hint = (words("recommendation.rare"),) if evidence.choose_by == "accuracy" else ()
    return Advice(words("recommendation.nothing"), why, None, hint, None)


def reason(recommendation: Recommendation, *, words: Words, name: Name) -> str:
    """Why the validation set chose it."""
    margin, measure = formats.compact(100 * recommendation.margin), words(f"measure.{recommendation.choose_by}")
    value = _validation(recommendation.arm, recommendation)
    if recommendation.is_best:
        key = "best_but" if recommendation.passed_over else "best"
        return words(f"recommendation.{key}", measure=measure, value=value, margin=margin)
    every = recommendation.within == recommendation.considered
    return words(
        "recommendation.smallest_of_all" if every else "recommendation.smallest",
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
    decided = words(
        "decision.documents" if enough else "decision.less_than_one",
        documents=found.documents,
        margin=formats.compact(100 * recommendation.margin),
        count=f"{found.margin_documents:.1f}",
    )
    return words.joined([decided, _indistinct(recommendation, words=words, name=name)])


def _indistinct(recommendation: Recommendation, *, words: Words, name: Name) -> str:
    arms, others = recommendation.decision.indistinct, recommendation.considered - 1
    if arms is None:
        return words("decision.unknown")
    if len(arms) in (0, others):
        return words("decision.indistinct_all" if arms else "decision.indistinct_none")
    return words("decision.indistinct", count=len(arms), others=others, arms=_listed(map(name, arms), words))


def _warnings(recommendation: Recommendation, evidence: Evidence, *, words: Words, name: Name) -> list[str]:
    """What the means leave out: failed runs, classes that are never predicted, arms that may not be recommended."""
    arm, warnings = recommendation.arm, []
    if failed := len(arm.failed):
        warnings.append(words("recommendation.failed", failed=failed, runs=failed + len(arm.finished)))
    if recommendation.passed_over and evidence.majorities:
        majority = evidence.majorities.validation
        warnings.append(
            words(
                "recommendation.passed_over",
                label=majority.label,
                majority=formats.percent(majority.value(recommendation.choose_by)),
                arms=_listed(map(name, recommendation.passed_over), words),
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
        labels = _listed((words("list.quoted", name=one.label) for one in always), words)
        documents = sum(one.documents for one in always)
        warnings.append(words("recommendation.never", labels=labels, documents=documents))
    if sometimes:
        labels = _listed((words("list.quoted", name=one.label) for one in sometimes), words)
        warnings.append(words("recommendation.never_some", labels=labels, runs=runs))
    if complete := [arm for arm, _ in evidence.intervals if not never_predicted(arm)]:
        warnings.append(words("recommendation.every_class", arms=_listed(map(name, complete), words)))
    return [*warnings, words("recommendation.rare")] if recommendation.choose_by == "accuracy" else warnings


def class_notes(section: Section, evidence: Evidence, *, words: Words) -> list[str]:
    """What to know of the classes: the most frequent one's share, and which of them macro-F1 leaves out."""
    notes = []
    if majorities := evidence.majorities:
        notes.append(
            words(
                "classes.majority",
                validation=formats.percent(majorities.validation.accuracy),
                validation_label=majorities.validation.label,
                test=formats.percent(majorities.test.accuracy),
                test_label=majorities.test.label,
            )
        )
    counts = [count for arm in section.arms if (count := averaged_classes(arm))]
    scored = next((found for arm in section.arms if (found := class_results(arm))), ())
    if absent := [words("list.quoted", name=one.label) for one in scored if one.support == 0]:
        lowest, highest = min(one.lowest for one in counts), max(one.highest for one in counts)
        counted = str(lowest) if lowest == highest else f"{lowest}–{highest}"
        labels = _listed(absent, words)
        notes.append(words("classes.averaged", counted=counted, total=counts[0].total, labels=labels))
    return notes


def verdict(recommendation: Recommendation, *, words: Words, name: Name) -> str | None:
    """What the test set says of it; None where the recommended arm is the best one itself."""
    if recommendation.is_best:
        return None
    difference = recommendation.difference
    if difference is None or recommendation.verdict is None:
        return words("verdict.untested")
    low, high = formats.points(difference.interval.low), formats.points(difference.interval.high)
    said = words(
        f"verdict.{recommendation.verdict}",
        measure=words(f"measure.{recommendation.choose_by}"),
        margin=formats.compact(100 * recommendation.margin),
        difference=formats.points(difference.mean),
        interval=words("interval.points", low=low, high=high),
        # Rounded up: the margin that is shown must lie outside the interval.
        confirmed=f"{math.ceil(-10_000 * difference.interval.low) / 100:.2f}",
        best=name(recommendation.best),
    )
    return said if recommendation.seeds_covered == "both" else words("verdict.these_models", verdict=said)


def badge(recommendation: Recommendation, *, words: Words) -> str:
    """The verdict in a few words."""
    if recommendation.is_best or recommendation.verdict is None:
        return words("recommended.best" if recommendation.is_best else "recommended.untested")
    said = words(f"recommended.{recommendation.verdict}")
    return said if recommendation.seeds_covered == "both" else words("recommended.these_models", verdict=said)


def megabytes(arm: Arm) -> str:
    """What the arm takes on disk, mean over its runs."""
    size = arm.cost("saved_bytes")
    return formats.megabytes(size.mean / 1e6) if size else "–"


def _validation(arm: Arm, chosen: Evidence | Recommendation) -> str:
    found = arm.validation(chosen.choose_by)
    return formats.percent(found.mean) if found else "–"


def _listed(names: Iterable[str], words: Words) -> str:
    """Names in one sentence, the first few of many."""
    every: Sequence[str] = list(names)
    shown = words("list.separator").join(every[:_MOST_NAMES])
    left = len(every) - _MOST_NAMES
    return words("list.more", names=shown, count=left) if left > 0 else shown
