"""What a fit found, in words: the verdict, and the table of candidates. For the page and the terminal."""

from __future__ import annotations

from dataclasses import dataclass

from tanzaku.analysis.abstention import fewest_documents
from tanzaku.analysis.learning_curve import Gain
from tanzaku.display import number
from tanzaku.fitting.verdict import FitFindings, TriedCandidate
from tanzaku.report import formats
from tanzaku.report.names import joined
from tanzaku.report.render import Column, Table
from tanzaku.words import Words, message

_HALF = 0.5
_NARROWEST = 20  # characters of a column of words, in a terminal
_FORMS = {
    "text": "",
    "whole": message("with the encoder"),
    "int8": message("with the encoder, 8 bits"),
    "int4": message("with the encoder, 4 bits"),
    "stored": message("with the encoder"),
    "adapter": message("adapter only"),
}
_REASONS = {
    "megabytes": message("larger than --max-mb allows"),
    "milliseconds": message("slower than --max-ms allows"),
    "memory": message("more memory than --max-memory-mb allows"),
    "time": message("no time left"),
    "failed": message("failed"),
}


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


def candidate_name(candidate: TriedCandidate, *, words: Words) -> str:
    """The arm with the form in which it is packed."""
    name = str(candidate.names[words.language])
    if not (form := _FORMS[candidate.form]):
        return name
    return words.text("{name} ({form})", name=name, form=words.text(form))


def candidate_parts(candidate: TriedCandidate, *, words: Words) -> tuple[str, str]:
    """The method with its rank, and what else there is to its name."""
    name = candidate.names[words.language]
    form = _FORMS[candidate.form]
    return joined(name.with_rank), ", ".join([*map(joined, name.details), *([words.text(form)] if form else [])])


def by_size(findings: FitFindings) -> list[TriedCandidate]:
    """The candidates in the order of the table, the smallest first."""
    return sorted(findings.candidates, key=_size)


def candidates_table(findings: FitFindings, *, words: Words) -> Table:
    """Every candidate: how it did and what it costs, or why it dropped out; the smallest first."""
    by_f1 = _by_f1(findings)
    columns = (
        Column(words.text("Candidate")),
        Column(words.text("Accuracy (%)"), numeric=True, place=1),
        Column(words.text("95 % interval"), numeric=True, place=7),
        *((Column(words.text("Macro-F1 (%)"), numeric=True, place=2),) if by_f1 else ()),
        Column(words.text("Difference from the best"), numeric=True, place=6),
        Column(words.text("Total size (MB)"), numeric=True, place=3),
        Column(words.text("ms per document"), numeric=True, place=5),
        Column(words.text("Documents per second"), numeric=True, place=8),
        Column(words.text("Memory (MB)"), numeric=True, place=9),
        Column(words.text("Remarks"), place=4, narrowest=_NARROWEST),
    )
    caption = words.text("All candidates, the smallest first")
    return Table(caption, columns, tuple(_row(one, words, by_f1=by_f1) for one in by_size(findings)))


def _by_f1(findings: FitFindings) -> bool:
    """Whether candidates were compared by macro-F1, and not by the accuracy."""
    return findings.selection is not None and findings.selection.choose_by == "macro_f1"


def _row(one: TriedCandidate, words: Words, *, by_f1: bool) -> tuple[str, ...]:
    selected, costs = one.selected, one.costs
    difference = selected.from_best if selected else None
    return (
        candidate_name(one, words=words),
        formats.percent(selected.accuracy) if selected else formats.NONE,
        formats.interval(selected.interval if selected else None),
        *((formats.percent(selected.score) if selected else formats.NONE,) if by_f1 else ()),
        formats.points(difference.mean) if difference else formats.NONE,
        _megabytes(one, words),
        formats.milliseconds(costs.milliseconds) if costs else formats.NONE,
        formats.rate(costs.documents_per_second) if costs else formats.NONE,
        formats.count(costs.memory_bytes / 1e6) if costs else formats.NONE,
        remark(one, words=words),
    )


def remark(one: TriedCandidate, *, words: Words) -> str:
    """Whether a candidate was taken, and if not, what else there is to report of it."""
    if one.recommended:
        return words.text("recommended")
    if one.reason is not None:
        return _why(one, words)
    if one.selected is None:
        return ""
    if one.selected.at_chance:
        return words.text("not distinguishable from always answering the most frequent class")
    if one.best:
        return words.text("best")
    return words.text("not distinguishable from the best") if one.selected.indistinct else ""


def _why(one: TriedCandidate, words: Words) -> str:
    """Why a candidate dropped out."""
    if one.reason == "worse" and (behind := one.behind) is not None:
        return words.text(
            "worse than the best: {score} % compared with {best} % on {documents} ({folds})",
            score=formats.percent(behind.score),
            best=formats.percent(behind.best),
            documents=words.plural("{n:,} document", "{n:,} documents", behind.documents),
            folds=words.plural("{n} fold", "{n} folds", behind.folds),
        )
    if one.reason == "time" and one.detail:
        return words.text("no time left; it would need about {duration} more", duration=one.detail)
    text = words.text(_REASONS[one.reason]) if one.reason else ""
    return f"{text}: {one.detail}" if one.detail else text


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
    return words.text(
        "No classifier can be recommended: after the final training, none met the budgets; the table shows why."
    )


def _sure(findings: FitFindings, words: Words) -> list[str]:
    selection, chosen = findings.selection, findings.recommended
    if selection is None:
        return []
    majority = words.text(
        "Always answering the most frequent class would be right for {majority} %.",
        majority=formats.percent(selection.majority),
    )
    if chosen is None or chosen.selected is None:
        return [*_only_trained(findings, words), majority]
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
        found,
        *(f1 if _by_f1(findings) else ()),
        *_only_trained(findings, words),
        majority,
        *_compared(findings, chosen, words),
    ]


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


def _compared(findings: FitFindings, chosen: TriedCandidate, words: Words) -> list[str]:
    best = next((one for one in findings.candidates if one.best), None)
    selected = chosen.selected
    if best is not None and best.reason is not None:
        return [
            words.text(
                "The best was {best}, but after the final training: {reason}.",
                best=candidate_name(best, words=words),
                reason=words.text(_REASONS[best.reason]),
            )
        ]
    if best is None or best.selected is None or selected is None:
        return []
    margin = number(100 * findings.margin)
    if chosen.best or selected.from_best is None:
        sentences = [
            words.text("No other candidate had a higher macro-F1.")
            if _by_f1(findings)
            else words.text("No other candidate was more accurate.")
        ]
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
            if _by_f1(findings)
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
        "megabytes": _megabytes(smallest, words),
        "score": formats.percent(selected.score),
    }
    if _by_f1(findings):
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
        "Trained on {trained}, with {val} more to choose the epoch and to calibrate the probabilities, it classifies "
        "{accuracy} % of the {tested} correctly, which had no part in the choice (95 % interval {interval}).",
        trained=words.plural("{n:,} document", "{n:,} documents", final.train_documents),
        val=formats.count(final.val_documents),
        accuracy=formats.percent(test.accuracy),
        tested=words.plural("{n:,} test document", "{n:,} test documents", test.documents),
        interval=f"{formats.percent(low)}–{formats.percent(high)}",
    )
    sentences = [accuracy]
    if _by_f1(findings):
        sentences.append(words.text("Its macro-F1 there is {score} %.", score=formats.percent(test.macro_f1)))
    if findings.without_test:
        sentences.append(
            words.text("None of the test documents is of {classes}.", classes=words.listed(findings.without_test))
        )
    return words.joined(sentences)


def _answers(findings: FitFindings, words: Words) -> str | None:
    """Of the lowest error rate with which it answers half of the documents, or else of the highest one."""
    found = [one for _, one in findings.answers if one is not None]
    if not found:
        return None
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
    lower = next(
        ((rate, one) for rate, one in reversed(findings.answers) if one is None and rate < found[0].error_rate), None
    )
    if lower is None:
        return promise
    why = words.text(
        "A rate of {rate} % can't be promised: {reason}.",
        rate=number(100 * lower[0]),
        reason=why_no_promise(lower[0], documents=shown.documents, words=words),
    )
    return words.joined([promise, why])


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


def _megabytes(one: TriedCandidate, words: Words) -> str:
    if one.costs is not None and one.costs.total_bytes:
        return formats.megabytes(one.costs.total_bytes / 1e6)
    if not one.least_bytes:
        return formats.NONE
    return words.text("{megabytes} or more", megabytes=formats.megabytes(one.least_bytes / 1e6))


def _size(one: TriedCandidate) -> float:
    return one.costs.total_bytes if one.costs is not None and one.costs.total_bytes else one.least_bytes
