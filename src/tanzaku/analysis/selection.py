"""Which classifier to take, from predictions of documents that none of them was trained on.

Other than `tanzaku.analysis.recommendation`, which takes the validation set of a study as it is, this knows how little
a few documents can decide. Of many candidates the best looks better than it is, so that a smaller one that is worse by
no more than one standard error of their difference is taken (the one-standard-error rule of Breiman, Friedman, Olshen
and Stone 1984), and one that can't be distinguished from always answering the most frequent class never is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tanzaku.analysis.recommendation import Verdict, non_inferiority
from tanzaku.analysis.statistics import (
    Difference,
    Interval,
    accuracy_interval_over_both,
    accuracy_scores,
    compare,
    compare_accuracies,
    holm,
    macro_f1_scores,
    outcome_of,
)
from tanzaku.measure.metrics import ChooseBy

_ROUNDING = 1e-9


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
    """Wilson's 95 % interval of the accuracy, over documents."""
    score: float
    """What was chosen by: the accuracy or macro-F1."""
    over_majority: Difference
    """Of the score, compared with always answering the most frequent class."""
    from_best: Difference | None
    """Of the score, less the best's; None of the best itself."""
    indistinct: bool
    """Whether it does not differ significantly from the best, after Holm's correction; so is the best itself."""

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
    margin: float

    @property
    def verdict(self) -> Verdict | None:
        """Whether the recommended is not worse than the best by more than the margin; None where they are one."""
        if self.recommended is None:
            return None
        difference = self.candidates[self.recommended].from_best
        return non_inferiority(difference.interval, margin=self.margin) if difference else None

    @property
    def order(self) -> tuple[int, ...]:
        """What to take: the recommended first, then, if that can't be used, the others that are not at chance level,
        the better ones first."""
        rest = sorted(range(len(self.candidates)), key=lambda place: -self.candidates[place].score)
        usable = [place for place in rest if not self.candidates[place].at_chance and place != self.recommended]
        return (*(() if self.recommended is None else (self.recommended,)), *usable)


def select(
    candidates: Sequence[Selectable], classes: np.ndarray, *, labels: int, margin: float, choose_by: ChooseBy
) -> Selection:
    """Choose a candidate.

    Args:
        candidates: One at least, about the same documents.
        classes: The documents' class indices, (documents,) int.
        labels: How many classes there are.
        margin: How much worse than the best the recommended candidate may look, a share; one standard error of the
            difference where that is more.
        choose_by: What of the documents candidates are compared by.
    """
    frequent = np.full(len(classes), np.bincount(classes).argmax())
    rows = np.stack([*(one.predicted for one in candidates), frequent])  # (candidates + 1, documents)
    best, selected = _compare(rows, [one.total_bytes for one in candidates], classes, labels, choose_by)
    usable = [place for place, one in enumerate(selected) if not one.at_chance]
    near = [place for place in usable if _is_near(selected[place].from_best, margin=margin)]

    def smallest(among: Sequence[int]) -> int | None:
        return min(among, key=lambda place: (candidates[place].total_bytes, -selected[place].score), default=None)

    return Selection(
        candidates=selected,
        documents=len(classes),
        majority=float((frequent == classes).mean()),
        best=best,
        recommended=smallest(near),
        smallest_indistinct=smallest([place for place in usable if selected[place].indistinct]),
        margin=margin,
    )


def _compare(
    rows: np.ndarray, sizes: Sequence[int], classes: np.ndarray, labels: int, choose_by: ChooseBy
) -> tuple[int, tuple[Selected, ...]]:
    """The best candidate, and each candidate compared with it and with the last row, the most frequent class."""
    accuracies = accuracy_scores(rows == classes)
    f1 = macro_f1_scores(classes, rows, labels=labels) if choose_by == "macro_f1" else None
    scores = (f1 or accuracies).values

    def difference(one: int, other: int) -> Difference:
        return compare(f1, [one], [other]) if f1 else compare_accuracies(rows == classes, [one], [other])

    places = range(len(sizes))
    best = min(places, key=lambda place: (-scores[place], sizes[place]))
    others = [place for place in places if place != best]
    from_best = dict(zip(others, (difference(place, best) for place in others), strict=True))
    corrected = dict(zip(others, holm([from_best[place].p_value for place in others]), strict=True))
    return best, tuple(
        Selected(
            accuracy=float(accuracies.values[place]),
            interval=accuracy_interval_over_both(accuracies, [place]),
            score=float(scores[place]),
            over_majority=difference(place, len(sizes)),
            from_best=from_best.get(place),
            indistinct=place == best or outcome_of(from_best[place], p_value=corrected[place]) == "not distinguishable",
        )
        for place in places
    )


def hopeless(candidates: Sequence[Selectable], classes: np.ndarray, *, margin: float) -> list[int]:
    """The candidates whose accuracy is significantly lower than the best's by more than the margin: more documents
    are not going to change that."""
    rows = np.stack([one.predicted for one in candidates]) == classes
    best = int(rows.mean(axis=1).argmax())
    others = [place for place in range(len(candidates)) if place != best]
    return [place for place in others if compare_accuracies(rows, [place], [best]).interval.high < -margin]


def _is_near(from_best: Difference | None, *, margin: float) -> bool:
    """Whether a candidate is worse by no more than the margin, or one standard error of the difference."""
    if from_best is None:
        return True
    return from_best.mean >= -max(margin, from_best.interval.half_width / 1.96) - _ROUNDING
