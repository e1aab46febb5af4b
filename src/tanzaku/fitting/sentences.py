"""What a fit found, in words: the verdict. For the page and the terminal."""

from __future__ import annotations

from dataclasses import dataclass

from tanzaku.analysis.abstention import fewest_documents
from tanzaku.analysis.learning_curve import Gain
from tanzaku.display import number
from tanzaku.fitting.candidate_table import REASONS, candidate_name, is_by_f1, megabytes_of
from tanzaku.fitting.verdict import FitFindings, TriedCandidate
from tanzaku.report import formats
from tanzaku.words import Words

_HALF = 0.5


@dataclass(frozen=True)
class VerdictText:
    """The verdict in sentences."""

    take: str
    """Which classifier to take, or that there is none."""
    sure: tuple[str, ...]
    """How it compares with the others, and how sure that is."""
    test: str | None
    """How it did on the test documents."""
    answers: str | None
    """How many documents it can answer with few mistakes, and why no lower error rate is promised."""
    more: tuple[str, ...]
    """What more labels would bring."""

    @property
    def every(self) -> tuple[str, ...]:
        """All sentences in their order."""
        return (self.take, *self.sure, *(one for one in (self.test, self.answers) if one), *self.more)


def verdict_text(findings: FitFindings, *, words: Words) -> VerdictText:
    """The verdict in the language of `words`."""
    return VerdictText(
        take=_take(findings, words),
        sure=tuple(_sure(findings, words)),
        test=_test(findings, words),
        answers=_answers(findings, words),
        more=tuple(_more(gain, words) for gain in (findings.curve.gains if findings.curve else ())),
    )


def _take(findings: FitFindings, words: Words) -> str:
    chosen = findings.recommended
    if chosen is not None and chosen.costs is not None:
        return words.text(
            "Take {name}: {megabytes} MB, {milliseconds} ms per document.",
            name=candidate_name(chosen, words=words),
            megabytes=formats.megabytes(chosen.costs.total_bytes / 1e6),
            milliseconds=formats.milliseconds(chosen.costs.milliseconds),
        )
    if findings.selection is None:
        return words.text("No classifier can be recommended, because no candidate was left; the table shows why.")
    if findings.selection.recommended is None:
        return words.text(
            "No classifier can be recommended: none can be distinguished from always answering the most frequent class."
        )
    return words.text("No classifier can be recommended: none was left after the final training; the table shows why.")


def _sure(findings: FitFindings, words: Words) -> list[str]:
    selection, chosen = findings.selection, findings.recommended
    if selection is None:
        return _no_time(findings, words)
    majority = words.text(
        "Always answering the most frequent class would be right for {majority} %.",
        majority=formats.percent(selection.majority),
    )
    if chosen is None or chosen.selected is None:
        return [*_no_time(findings, words), *_only_trained(findings, words), majority]
    documents = words.plural("{n:,} document", "{n:,} documents", selection.documents)
    found = words.text(
        "It classified {accuracy} % of {documents} correctly that it was not trained on (95 % interval {interval}, "
        "{folds}).",
        accuracy=formats.percent(chosen.selected.accuracy),
        documents=documents,
        interval=formats.interval(chosen.selected.interval),
        folds=words.plural("{n} fold", "{n} folds", findings.folds),
    )
    f1 = [words.text("Its macro-F1 is {score} %.", score=formats.percent(chosen.selected.score))]
    return [
        *_dictionary(chosen, words),
        found,
        *_groups(findings, words),
        *(f1 if is_by_f1(findings) else ()),
        *_no_time(findings, words),
        *_only_trained(findings, words),
        majority,
        *_compared(findings, chosen, words),
    ]


def _no_time(findings: FitFindings, words: Words) -> list[str]:
    """How much less was compared than there is, because the time was over."""
    sentences = []
    if findings.time_over and findings.folds:
        sentences.append(
            words.text(
                "Only {decided} of the {folds} folds decided, because there was no time for the others.",
                decided=findings.folds,
                folds=findings.planned_folds,
            )
        )
    if findings.without_time:
        sentences.append(
            words.plural(
                "There was no time to compare {n} candidate.",
                "There was no time to compare {n} candidates.",
                findings.without_time,
            )
        )
        if any(one.needed_seconds for one in findings.candidates):
            sentences.append(words.text("The table shows how much more time candidates need, where it is known."))
    return sentences


def _only_trained(findings: FitFindings, words: Words) -> list[str]:
    """What the folds say nothing about."""
    if not findings.only_trained:
        return []
    return [
        words.plural(
            "The folds say nothing about {n:,} document that was trained on in every fold, because its class has so "
            "few documents or its group so many.",
            "The folds say nothing about {n:,} documents that were trained on in every fold, because their classes "
            "have so few documents or their groups so many.",
            findings.only_trained,
        )
    ]


def _groups(findings: FitFindings, words: Words) -> list[str]:
    """That documents of a group are not independent."""
    if findings.groups is None:
        return []
    return [
        words.plural(
            "These documents are of {n:,} group, and those of a group do not count as independent.",
            "These documents are of {n:,} groups, and those of a group do not count as independent.",
            findings.groups,
        )
    ]


def _dictionary(chosen: TriedCandidate, words: Words) -> list[str]:
    """How much of the classifier is a dictionary that is not in its folder."""
    if chosen.costs is None or not chosen.costs.dictionary_bytes:
        return []
    return [
        words.text(
            "Of this, {megabytes} MB are the dictionary for MeCab, which is not in the classifier's folder but "
            "installed as a Python package.",
            megabytes=formats.megabytes(chosen.costs.dictionary_bytes / 1e6),
        )
    ]


def _compared(findings: FitFindings, chosen: TriedCandidate, words: Words) -> list[str]:
    best = next((one for one in findings.candidates if one.best), None)
    selected = chosen.selected
    if best is not None and best.reason is not None:
        return [
            words.text(
                "The best was {best}, but after the final training: {reason}.",
                best=candidate_name(best, words=words),
                reason=words.text(REASONS[best.reason]),
            )
        ]
    if best is None or best.selected is None or selected is None:
        return []
    margin = number(100 * findings.margin)
    if chosen.best or selected.from_best is None:
        sentences = [_none_better(findings, chosen, words)]
    else:
        compared = {
            "best": candidate_name(best, words=words),
            "score": formats.percent(best.selected.score),
            "points": formats.points(selected.from_best.mean),
            "interval": formats.points_interval(selected.from_best.interval, words=words),
        }
        sentences = [
            words.text(
                "The best was {best} with a macro-F1 of {score} %: the difference is {points} points (95 % interval "
                "{interval}).",
                **compared,
            )
            if is_by_f1(findings)
            else words.text(
                "The best was {best} with {score} %: the difference is {points} points (95 % interval {interval}).",
                **compared,
            ),
            words.text("So it is not worse by more than the margin of {margin} points.", margin=margin)
            if selected.from_best.interval.low > -findings.margin
            else words.text(
                "With so few documents it can't be excluded that it is worse by more than the margin of {margin} "
                "points.",
                margin=margin,
            ),
        ]
    return [*sentences, *_smallest(findings, chosen, words)]


def _none_better(findings: FitFindings, chosen: TriedCandidate, words: Words) -> str:
    """That the recommended candidate was the best, and of which."""
    others = [one for one in findings.candidates if one is not chosen]
    if not any(one.selected is not None or one.behind is not None for one in others):
        return words.text("No other candidate was compared with it.")
    if findings.without_time:
        return (
            words.text("No other candidate that was compared had a higher macro-F1.")
            if is_by_f1(findings)
            else words.text("No other candidate that was compared was more accurate.")
        )
    return (
        words.text("No other candidate had a higher macro-F1.")
        if is_by_f1(findings)
        else words.text("No other candidate was more accurate.")
    )


def _smallest(findings: FitFindings, chosen: TriedCandidate, words: Words) -> list[str]:
    """The smallest candidate that can't be distinguished from the best, where that is not the recommended one."""
    selection = findings.selection
    if selection is None or selection.smallest_indistinct is None:
        return []
    # By the bundles that were compared: that of the recommended candidate was trained again, on more documents.
    selected = selection.candidates[selection.smallest_indistinct]
    smallest = next((one for one in findings.candidates if one.selected is selected), None)
    if smallest is None or smallest is chosen:
        return []
    about = {
        "name": candidate_name(smallest, words=words),
        "megabytes": megabytes_of(smallest, words),
        "score": formats.percent(selected.score),
    }
    if is_by_f1(findings):
        return [
            words.text(
                "The smallest that can't be distinguished from the best is {name}: {megabytes} MB, macro-F1 {score} %.",
                **about,
            )
        ]
    return [
        words.text(
            "The smallest that can't be distinguished from the best is {name}: {megabytes} MB, {score} %.", **about
        )
    ]


def _test(findings: FitFindings, words: Words) -> str | None:
    final = findings.final
    if final is None:
        return None
    test = final.test
    low, high = test.accuracy_interval
    accuracy = words.text(
        "Trained on {trained}, with {val} more for validation and calibration, it classifies {accuracy} % of the "
        "{tested} correctly, which had no part in the choice (95 % interval {interval}).",
        trained=words.plural("{n:,} document", "{n:,} documents", final.train_documents),
        val=formats.count(final.val_documents),
        accuracy=formats.percent(test.accuracy),
        tested=words.plural("{n:,} test document", "{n:,} test documents", test.documents),
        interval=f"{formats.percent(low)}–{formats.percent(high)}",
    )
    sentences = [accuracy]
    if is_by_f1(findings):
        sentences.append(words.text("Its macro-F1 there is {score} %.", score=formats.percent(test.macro_f1)))
    if findings.without_test:
        sentences.append(
            words.text("None of the test documents is of {classes}.", classes=words.listed(findings.without_test))
        )
    return words.joined(sentences)


def _answers(findings: FitFindings, words: Words) -> str | None:
    """Of the lowest error rate with which it answers half of the documents, or else of the highest one."""
    if not findings.answers:
        return None
    found = [one for _, one in findings.answers if one is not None]
    if not found:
        return _no_promise(findings, findings.answers[-1][0], words)
    shown = next((one for one in found if one.coverage >= _HALF), found[-1])
    rate = number(100 * shown.error_rate)
    promise = words.text(
        "With --error-rate {rate}% it answers {answered} of the {documents} of the folds, {wrong} of them wrongly. "
        "With {confidence} % confidence, at most {rate} % of its answers will be wrong; the fewer the documents, the "
        "further this bound is above what was observed.",
        documents=words.plural("{n:,} document", "{n:,} documents", shown.documents),
        wrong=formats.count(shown.wrong),
        answered=formats.count(shown.answered),
        rate=rate,
        confidence=number(100 * shown.confidence),
    )
    if findings.groups is not None:
        promise = words.joined([promise, words.text("For this, one document of each group counts.")])
    elif findings.selection is not None and findings.held_out < findings.selection.documents:
        promise = words.joined([promise, words.text("For this, one document of each text counts.")])
    lower = next(
        ((rate, one) for rate, one in reversed(findings.answers) if one is None and rate < found[0].error_rate), None
    )
    if lower is None:
        return promise
    return words.joined([promise, _no_promise(findings, lower[0], words)])


def _no_promise(findings: FitFindings, error_rate: float, words: Words) -> str:
    return words.text(
        "An error rate of {rate} % can't be promised: {reason}.",
        rate=number(100 * error_rate),
        reason=why_no_promise(error_rate, documents=findings.held_out, words=words),
    )


def why_no_promise(error_rate: float, *, documents: int, words: Words) -> str:
    """Why no threshold promises an error rate."""
    fewest = fewest_documents(error_rate=error_rate)
    if documents < fewest:
        return words.text(
            "even without a mistake it takes {fewest}",
            fewest=words.plural("{n:,} document", "{n:,} documents", fewest),
        )
    return words.text("there are too many mistakes among the most probable answers for so few documents")


def _more(gain: Gain, words: Words) -> str:
    return words.text(
        "{count} more labels are likely to change the accuracy by {low} to {high} points.",
        count=formats.count(gain.more),
        low=formats.points(gain.low),
        high=formats.points(gain.high),
    )
