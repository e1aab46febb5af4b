"""Which classifier to take, from predictions of documents that none of them was trained on.

Other than `tanzaku.analysis.recommendation`, which takes the validation set of a study as it is, this knows how little
a few documents can decide. Of many candidates the best looks better than it is, so that a smaller one that is worse by
no more than one standard error of their difference is taken (the one-standard-error rule of Breiman, Friedman, Olshen
and Stone 1984), and one that can't be distinguished from always answering the most frequent class never is. Documents
of a group do not count as independent: see `tanzaku.analysis.statistics`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tanzaku.analysis.recommendation import Verdict, non_inferiority, smallest_first
from tanzaku.analysis.run_scores import RunScores, accuracy_scores, macro_f1_scores
from tanzaku.analysis.statistics import (
    Difference,
    Interval,
    accuracy_interval_over_both,
    compare,
    compare_accuracies,
    holm_with_best,
    outcome_of,
)
from tanzaku.measure.metrics import DEFAULT_CHOOSE_BY, ChooseBy

_ROUNDING = 1e-9
_LEVEL = 0.05


@dataclass(frozen=True)
class Selectable:
    """A classifier that can be chosen: what it made of each document, (documents,) int, and its bytes."""

    predicted: np.ndarray
    total_bytes: int


@dataclass(frozen=True)
class Selected:
    """One candidate's part in a `Selection`."""

    accuracy: float
    interval: Interval
    """Wilson's 95 % interval of the accuracy, over documents or their groups."""
    score: float
    """What was chosen by: the accuracy or macro-F1."""
    over_majority: Difference
    """Of the score, compared with always answering the most frequent class."""
    from_best: Difference | None
    """Of the score, less the best's; None of the best itself."""
    indistinct: bool
    """Whether it does not differ significantly from the best, after Holm's correction over all pairs of candidates; so
    is the best itself."""

    @property
    def at_chance(self) -> bool:
        """Whether it can't be distinguished from always answering the most frequent class."""
        return self.over_majority.interval.low <= 0


@dataclass(frozen=True)
class Selection:
    """What some documents say about candidates; places are among the candidates."""

    candidates: tuple[Selected, ...]
    documents: int
    majority: float
    """The accuracy of always answering the most frequent class."""
    best: int
    """The highest score, of equals the smallest."""
    recommended: int | None
    """None where every candidate is at chance level."""
    smallest_indistinct: int | None
    """The smallest that can't be distinguished from the best and is not at chance level."""
    order: tuple[int, ...]
    """What to take: the recommended first; if that can't be used, the next smallest that is good enough too, and after
    those the others that are not at chance level, the better ones first."""
    margin: float
    choose_by: ChooseBy = DEFAULT_CHOOSE_BY
    """What `score` is."""

    @property
    def verdict(self) -> Verdict | None:
        """Whether the recommended is not worse than the best by more than the margin; None where they are one."""
        if self.recommended is None:
            return None
        difference = self.candidates[self.recommended].from_best
        return non_inferiority(difference.interval, margin=self.margin) if difference else None


def select(
    candidates: Sequence[Selectable],
    classes: np.ndarray,
    *,
    labels: int,
    margin: float,
    choose_by: ChooseBy,
    groups: np.ndarray | None = None,
) -> Selection:
    """Choose a candidate.

    Args:
        candidates: One at least, about the same documents.
        classes: The documents' class indices, (documents,) int.
        labels: How many classes there are.
        margin: How much worse than the best the recommended candidate may look, a share; one standard error of the
            difference where that is more.
        choose_by: What of the documents candidates are compared by.
        groups: The documents' groups, (documents,) int, if there are any.
    """
    frequent = np.full(len(classes), np.bincount(classes).argmax())
    rows = np.stack([*(one.predicted for one in candidates), frequent])  # (candidates + 1, documents)
    scored = _Scored.of(rows, classes, labels=labels, choose_by=choose_by, groups=groups)
    best, selected = _compare(scored, [one.total_bytes for one in candidates])
    usable = [place for place, one in enumerate(selected) if not one.at_chance]
    near = [place for place in usable if _is_near(selected[place].from_best, margin=margin)]

    def by_size(places: Iterable[int]) -> list[int]:
        sizes, scores = [one.total_bytes for one in candidates], [one.score for one in selected]
        return smallest_first(places, sizes=sizes, scores=scores)

    small = by_size(near)
    indistinct = by_size(place for place in usable if selected[place].indistinct)
    return Selection(
        candidates=selected,
        documents=len(classes),
        majority=float((frequent == classes).mean()),
        best=best,
        recommended=next(iter(small), None),
        smallest_indistinct=next(iter(indistinct), None),
        order=(
            *small,
            *sorted((place for place in usable if place not in near), key=lambda place: -selected[place].score),
        ),
        margin=margin,
        choose_by=choose_by,
    )


@dataclass(frozen=True)
class _Scored:
    """What classifiers, the rows, made of documents, by accuracy and by what they are compared by."""

    correct: np.ndarray
    """(rows, documents) bool"""
    accuracies: RunScores
    f1: RunScores | None
    """None where they are compared by the accuracy."""
    groups: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        rows: np.ndarray,
        classes: np.ndarray,
        *,
        labels: int,
        choose_by: ChooseBy,
        groups: np.ndarray | None = None,
    ) -> _Scored:
        """Of predictions (rows, documents) int."""
        f1 = macro_f1_scores(classes, rows, labels=labels, groups=groups) if choose_by == "macro_f1" else None
        return cls(rows == classes, accuracy_scores(rows == classes, groups), f1, groups)

    @property
    def values(self) -> np.ndarray:
        """What they are compared by, (rows,)."""
        return (self.f1 or self.accuracies).values

    def difference(self, one: int, other: int) -> Difference:
        """The first row's score less the second's."""
        if self.f1:
            return compare(self.f1, [one], [other])
        return compare_accuracies(self.correct, [one], [other], self.groups)


def _compare(scored: _Scored, sizes: Sequence[int]) -> tuple[int, tuple[Selected, ...]]:
    """The best candidate, and each candidate compared with it and with the last row, the most frequent class."""
    places = range(len(sizes))
    best = min(places, key=lambda place: (-scored.values[place], sizes[place]))
    others = [place for place in places if place != best]
    from_best = dict(zip(others, (scored.difference(place, best) for place in others), strict=True))
    corrected = dict(zip(others, holm_with_best([from_best[place].p_value for place in others]), strict=True))
    return best, tuple(
        Selected(
            accuracy=float(scored.accuracies.values[place]),
            interval=accuracy_interval_over_both(scored.accuracies, [place]),
            score=float(scored.values[place]),
            over_majority=scored.difference(place, len(sizes)),
            from_best=from_best.get(place),
            indistinct=place == best or outcome_of(from_best[place], p_value=corrected[place]) == "not distinguishable",
        )
        for place in places
    )


def scores_of(candidates: Sequence[Selectable], classes: np.ndarray, *, labels: int, choose_by: ChooseBy) -> np.ndarray:
    """What candidates are compared by, (candidates,). The arguments are those of `select`."""
    rows = np.stack([one.predicted for one in candidates])
    return _Scored.of(rows, classes, labels=labels, choose_by=choose_by).values


def hopeless(
    candidates: Sequence[Selectable],
    classes: np.ndarray,
    *,
    labels: int,
    margin: float,
    choose_by: ChooseBy,
    looks: int = 1,
    groups: np.ndarray | None = None,
) -> list[int]:
    """The candidates whose score is significantly lower than the best's by more than the margin: more documents are
    not going to change that.

    Which of many is the best is uncertain too, and there is a look after each round. So intervals are as wide as it
    takes for all pairs with the best in all looks together (Bonferroni), as in the races of Maron and Moore.

    Args:
        candidates: As for `select`, and so are the other arguments.
        classes: Of the documents.
        labels: How many classes there are.
        margin: A share.
        choose_by: What of the documents candidates are compared by.
        looks: How often this is asked while documents are added.
        groups: As for `select`.
    """
    from scipy.stats import t

    rows = np.stack([one.predicted for one in candidates])
    scored = _Scored.of(rows, classes, labels=labels, choose_by=choose_by, groups=groups)
    best = int(scored.values.argmax())
    others = [place for place in range(len(candidates)) if place != best]
    pairs = max(1, len(candidates) * (len(candidates) - 1) // 2)
    freedom = scored.accuracies.freedom
    wider = float(t.ppf(1 - _LEVEL / 2 / (pairs * looks), freedom) / t.ppf(1 - _LEVEL / 2, freedom))
    differences = {place: scored.difference(place, best) for place in others}
    return [
        place
        for place, found in differences.items()
        if found.mean + wider * (found.interval.high - found.mean) < -margin
    ]


def _is_near(from_best: Difference | None, *, margin: float) -> bool:
    """Whether a candidate is worse by no more than the margin, or one standard error of the difference."""
    if from_best is None:
        return True
    return from_best.mean >= -max(margin, from_best.standard_error) - _ROUNDING
