"""The recommendation in sentences, in the language of the words given."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from tanzaku.report import formats
from tanzaku.report.arms import Arm
from tanzaku.report.evidence import Evidence, Recommendation
from tanzaku.report.words import Words, words_of

Name = Callable[[Arm], str]


def recommendation_lines(evidence: Iterable[Evidence]) -> list[str]:
    """One line a recommendation, in English: what to take, why, and what the test set says of it."""
    words = words_of("en")
    return [
        " ".join(text for text in (head, why, said) if text)
        for found in evidence
        for head, why, said in told(found, words=words, name=formats.arm_name)
    ]


def told(evidence: Evidence, *, words: Words, name: Name) -> list[tuple[str, str, str | None]]:
    """What to take, why, and what the test set says: of all arms; then, if that is none, of those with the encoder."""
    pairs = ((evidence.recommendation, "take"), (evidence.among_encoders, "take_adapter"))
    return [
        (
            words(f"recommendation.{take}", arm=name(found.arm)),
            " ".join([reason(found, words=words, name=name), *_failures(found.arm, words)]),
            verdict(found, words=words, name=name),
        )
        for found, take in pairs
        if found
    ]


def reason(recommendation: Recommendation, *, words: Words, name: Name) -> str:
    """Why the validation set chose it."""
    margin = formats.compact(100 * recommendation.margin)
    if recommendation.is_best:
        return words("recommendation.best", accuracy=_validation(recommendation.arm), margin=margin)
    every = recommendation.within == recommendation.considered
    return words(
        "recommendation.smallest_of_all" if every else "recommendation.smallest",
        megabytes=megabytes(recommendation.arm),
        within=recommendation.within,
        considered=recommendation.considered,
        margin=margin,
        accuracy=_validation(recommendation.arm),
        best_accuracy=_validation(recommendation.best),
        best=name(recommendation.best),
        best_megabytes=megabytes(recommendation.best),
    )


def _failures(arm: Arm, words: Words) -> list[str]:
    """What the means leave out."""
    failed, finished = len(arm.failed), len(arm.finished)
    return [words("recommendation.failed", failed=failed, runs=failed + finished)] if failed else []


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
        margin=formats.compact(100 * recommendation.margin),
        difference=formats.points(difference.mean),
        interval=words("interval.points", low=low, high=high),
        # Rounded up: the margin that is told must lie outside the interval.
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


def _validation(arm: Arm) -> str:
    return formats.percent(arm.val_accuracy.mean) if arm.val_accuracy else "–"
