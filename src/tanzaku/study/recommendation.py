"""Which arm to take: the smallest that is not worse than the best by more than a margin.

The validation set chooses, the test set reports. The best arm and the recommended one are found by mean validation
accuracies alone, so that the test set's verdict on the recommendation, and every test of an arm against either, is
about documents that had no say in the choice. The verdict never changes the choice: a second choice, by the test set,
would need a third set to report it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tanzaku.study.statistics import Interval

DEFAULT_MARGIN = 0.005  # half a percentage point

# A margin that is met exactly must not fail by a rounding error in 0.905 - 0.9.
_ROUNDING = 1e-9

Verdict = Literal["confirmed", "open", "contradicted"]


@dataclass(frozen=True)
class Candidate:
    """An arm that can be chosen, by what it did on the validation set and what it costs to keep."""

    validation_accuracy: float
    """Mean over its seeds, a share."""
    saved_bytes: float


@dataclass(frozen=True)
class Choice:
    """Places among the candidates."""

    best: int
    recommended: int
    within_margin: tuple[int, ...]
    """Those that come within the margin of the best, which is one of them; the smallest is the recommended."""


def choose(candidates: Sequence[Candidate], *, margin: float) -> Choice | None:
    """The best by validation accuracy, and the smallest within `margin` (a share) of it; None without candidates.

    Of equally accurate ones the smaller is the best, of equally small ones the more accurate is recommended, and of
    those that are equal in both the first.
    """
    if not candidates:
        return None
    places = range(len(candidates))
    best = min(places, key=lambda place: (-candidates[place].validation_accuracy, candidates[place].saved_bytes))
    lowest = candidates[best].validation_accuracy - margin - _ROUNDING
    within = tuple(place for place in places if candidates[place].validation_accuracy >= lowest)
    recommended = min(
        within, key=lambda place: (candidates[place].saved_bytes, -candidates[place].validation_accuracy, place)
    )
    return Choice(best, recommended, within)


def non_inferiority(interval: Interval, *, margin: float) -> Verdict:
    """What the interval of (recommended - best) on the test set says of "not worse by more than the margin".

    "confirmed" where all of it lies above -margin: a recommendation that is worse by just the margin gets this in 2.5 %
    of all test sets. "contradicted" where all of it lies below; "open" where -margin is within.
    """
    if interval.low > -margin:
        return "confirmed"
    return "contradicted" if interval.high < -margin else "open"


def pareto_front(accuracies: Sequence[float], costs: Sequence[float]) -> list[bool]:
    """Whether each arm is on the front: no other is as accurate for less, or more accurate for as little."""
    arms = list(zip(accuracies, costs, strict=True))
    return [
        not any(
            other_accuracy >= accuracy and other_cost <= cost and (other_accuracy, other_cost) != (accuracy, cost)
            for other_accuracy, other_cost in arms
        )
        for accuracy, cost in arms
    ]
