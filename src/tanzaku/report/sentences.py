"""The recommendation in sentences, in the language of the words given."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.classes import ClassResult, Unpredicted, averaged_over, class_results, never_predicted
from tanzaku.analysis.evidence import Evidence, Recommendation
from tanzaku.analysis.needs import Need, also_needs
from tanzaku.display import number
from tanzaku.report import formats
from tanzaku.report.terms import MEASURES
from tanzaku.words import Words, message

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
_NOTHING_CONFIRMED = message(
    "The test set leaves open whether it is worse by more than {margin} points: its {measure} differs from the best by "
    "{difference} points, and no interval can be estimated for this."
)
_RARE = message("Where rare classes matter, pass --choose-by macro_f1.")
_NEEDS: dict[Need, str] = {
    "encoder": message("To classify, {arm} also needs the encoder."),
    "dictionary": message("To classify, {arm} also needs MeCab's dictionary."),
}
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
    return _Adviser(evidence, words, name or (lambda arm: str(arm.full_name(words)))).advice()


@dataclass(frozen=True)
class _Adviser:
    """Says what follows from a section's evidence."""

    evidence: Evidence
    words: Words
    name: Name

    def advice(self) -> list[Advice]:
        advice = []
        if self.evidence.recommendation is None and self.evidence.best is not None:
            advice.append(self._nothing(self.evidence.best))
        pairs = (
            (self.evidence.recommendation, message("Take {arm}.")),
            (self.evidence.among_encoders, message("Of the arms that adapt the encoder, take {arm}.")),
        )
        return advice + [
            Advice(
                take=self.words.text(take, arm=self.name(found.arm)),
                why=self._reason(found),
                decided=self._decision(found),
                warnings=tuple(self._warnings(found)),
                verdict=self._verdict(found),
            )
            for found, take in pairs
            if found
        ]

    def _nothing(self, best: Arm) -> Advice:
        """That no arm is better than always answering the most frequent class."""
        assert self.evidence.majorities
        choose_by, majority = self.evidence.choose_by, self.evidence.majorities.validation
        why = self.words.text(
            "No arm has a better mean validation {measure} than always answering “{label}”, the most frequent class "
            "({majority} %). The best is {best} with {value} %.",
            measure=self._measure,
            label=majority.label,
            majority=formats.percent(majority.value(choose_by)),
            best=self.name(best),
            value=self._validation(best),
        )
        hint = (self.words.text(_RARE),) if choose_by == "accuracy" else ()
        return Advice(self.words.text("No arm is recommended."), why, None, hint, None)

    def _reason(self, found: Recommendation) -> str:
        """Why the validation set chose it."""
        if found is self.evidence.among_encoders and found.considered == 1:
            because = message("It is the only one, with a mean validation {measure} of {value} %.")
        elif found.is_best and found is self.evidence.among_encoders:
            because = message(
                "Among these, it has the best mean validation {measure} ({value} %), and no smaller one that may be "
                "recommended comes within {margin} points of it."
            )
        elif found.is_best and found.passed_over:
            because = message(
                "It has the best mean validation {measure} ({value} %), and no smaller arm that may be recommended "
                "comes within {margin} points of it."
            )
        elif found.is_best:
            because = message(
                "It has the best mean validation {measure} ({value} %), and no smaller arm comes within {margin} "
                "points of it."
            )
        elif found.within == found.considered:
            because = message(
                "It is the smallest ({megabytes} MB) of the {considered} arms, all of which have a mean validation "
                "{measure} within {margin} points of the best: {value} % compared with {best_value} % for {best} "
                "({best_megabytes} MB)."
            )
        else:
            because = message(
                "It is the smallest ({megabytes} MB) of the {within} arms, out of {considered}, that may be "
                "recommended and whose mean validation {measure} is within {margin} points of the best: {value} % "
                "compared with {best_value} % for {best} ({best_megabytes} MB)."
            )
        reason = self.words.text(
            because,
            measure=self._measure,
            margin=self._margin,
            within=found.within,
            considered=found.considered,
            value=self._validation(found.arm),
            megabytes=formats.mean(found.arm.cost("saved_bytes"), formats.size),
            best=self.name(found.best),
            best_value=self._validation(found.best),
            best_megabytes=formats.mean(found.best.cost("saved_bytes"), formats.size),
        )
        return reason if found.is_best else self.words.joined([reason, *self._also_needed(found)])

    def _also_needed(self, found: Recommendation) -> list[str]:
        """What the sizes leave out, where it is not the same for both arms."""
        needs = [(arm, also_needs(arm)) for arm in (found.arm, found.best)]
        if needs[0][1] == needs[1][1]:
            return []
        told = [self.words.text(_NEEDS[need], arm=self.name(arm)) for arm, need in needs if need is not None]
        return [self.words.text("The sizes are those of what is saved."), *told]

    def _decision(self, found: Recommendation) -> str | None:
        """How many validation documents decided, and which arms they can't distinguish; None for one arm."""
        decision, text = found.decision, self.words.text
        if found.considered == 1:
            return None
        count = decision.margin_documents
        if count is None:
            rests_on = message("The choice rests on {documents}.")
        elif count >= 1 or found.margin == 0:
            rests_on = message("The choice rests on {documents}; the margin of {margin} points is {count} of them.")
        else:
            rests_on = message(
                "The choice rests on {documents}; the margin of {margin} points is less than one of them, so a single "
                "document can change the choice."
            )
        decided = text(
            rests_on,
            documents=self.words.plural("{n:,} validation document", "{n:,} validation documents", decision.documents),
            margin=self._margin,
            count="" if count is None else f"{count:.1f}",
        )
        return self.words.joined([decided, self._indistinct(decision.indistinct, found.considered - 1)])

    def _indistinct(self, arms: Sequence[Arm] | None, others: int) -> str:
        text = self.words.text
        if arms is None:
            return text(
                "The records have no validation predictions, so it is not known which arms differ significantly from "
                "the best."
            )
        if not arms:
            return text("On these documents, every other arm differs significantly from the best.")
        if len(arms) == others:
            return text("On these documents, no other arm can be distinguished from the best.")
        return text(
            "On these documents, {count} of the {others} other arms can't be distinguished from the best: {arms}.",
            count=len(arms),
            others=others,
            arms=self._listed(arms),
        )

    def _warnings(self, found: Recommendation) -> list[str]:
        """What the means leave out: failed runs, classes that are never predicted, arms that may not be
        recommended."""
        warnings = []
        if failed := len(found.arm.failed):
            warnings.append(
                self.words.text(
                    "{failed} of its {runs} runs failed, and the mean covers only the others. Find out why before you "
                    "use it.",
                    failed=failed,
                    runs=failed + len(found.arm.finished),
                )
            )
        if found.passed_over and self.evidence.majorities:
            majority = self.evidence.majorities.validation
            warnings.append(
                self.words.text(
                    "Within the margin, but not better than always answering “{label}”, the most frequent class "
                    "({majority} %), and therefore not recommended: {arms}.",
                    label=majority.label,
                    majority=formats.percent(majority.value(found.choose_by)),
                    arms=self._listed(found.passed_over),
                )
            )
        return warnings + self._unpredicted(found)

    def _unpredicted(self, found: Recommendation) -> list[str]:
        """That the recommended arm never predicts some class, and which arms predict them all."""
        missing, runs, words = never_predicted(found.arm), len(found.arm.finished), self.words
        if not missing:
            return []
        warnings = []
        if always := [one for one in missing if one.runs == runs]:
            warnings.append(
                words.plural(
                    "Warning: it never predicts {labels} ({n:,} document in the validation and test sets).",
                    "Warning: it never predicts {labels} ({n:,} documents in the validation and test sets).",
                    sum(one.documents for one in always),
                    labels=_labels(always, words),
                )
            )
        if sometimes := [one for one in missing if one.runs < runs]:
            labels = _labels(sometimes, words)
            warnings.append(
                words.text("Warning: some of its {runs} runs never predict {labels}.", labels=labels, runs=runs)
            )
        if complete := [arm for arm, _ in self.evidence.intervals if not never_predicted(arm)]:
            warnings.append(words.text("Arms that predict every class: {arms}.", arms=self._listed(complete)))
        return [*warnings, words.text(_RARE)] if found.choose_by == "accuracy" else warnings

    def _verdict(self, found: Recommendation) -> str | None:
        """What the test set says of it; None where the recommended arm is the best one itself."""
        if found.is_best:
            return None
        if found.difference is None or found.verdict is None:
            return self.words.text("The records have no test predictions, so the test set can't confirm it.")
        interval = found.difference.interval
        unlimited = found.verdict == "open" and interval.low <= -1 and interval.high >= 1
        text = self.words.text(
            _NOTHING_CONFIRMED if unlimited else _VERDICTS[found.verdict],
            measure=self._measure,
            margin=self._margin,
            difference=formats.points(found.difference.mean),
            interval=formats.points_interval(interval, words=self.words),
            # Rounded up: the margin that is shown must lie outside the interval.
            confirmed=f"{math.ceil(-10_000 * interval.low) / 100:.2f}",
            best=self.name(found.best),
        )
        if found.seeds_covered == "both":
            return text
        return self.words.text(
            "{verdict} This holds for these trained models; other seeds are not covered.", verdict=text
        )

    @property
    def _measure(self) -> str:
        return self.words.text(MEASURES[self.evidence.choose_by])

    @property
    def _margin(self) -> str:
        return number(100 * self.evidence.margin)

    def _validation(self, arm: Arm) -> str:
        return formats.mean(arm.validation(self.evidence.choose_by))

    def _listed(self, arms: Iterable[Arm]) -> str:
        return self.words.listed(map(self.name, arms))


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
    averaged = averaged_over(section)
    scored = next((found for arm in section.arms if (found := class_results(arm))), ())
    absent = [one for one in scored if one.support == 0]
    if averaged and absent:
        notes.append(
            words.text(
                "Macro-F1 is the mean over the classes that occur in the test documents or among a run's predictions, "
                "here {counted} of {total}. There are no test documents of {labels}.",
                counted=formats.whole_span(averaged.lowest, averaged.highest),
                total=averaged.total,
                labels=_labels(absent, words),
            )
        )
    return notes


def badge(recommendation: Recommendation, *, words: Words) -> str:
    """The verdict in a few words."""
    if recommendation.is_best:
        return words.text("also the best on validation")
    if recommendation.verdict is None:
        return words.text("not tested")
    text = words.text(_BADGES[recommendation.verdict])
    if recommendation.seeds_covered == "both":
        return text
    return words.text("{verdict}, for these trained models; other seeds are not covered", verdict=text)


def _labels(classes: Iterable[ClassResult | Unpredicted], words: Words) -> str:
    return words.listed(words.text("“{name}”", name=one.label) for one in classes)
