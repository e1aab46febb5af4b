"""The curve of a run's training losses, smoothed for the eye."""

from __future__ import annotations

from collections.abc import Sequence

from tanzaku.study.record import FinishedRun

_CURVE_POINTS = 60  # at least so many of a longer curve, and fewer than twice as many
_SMOOTHED_PARTS = 25  # the running mean spans one part of so many of a curve


def training_losses(record: FinishedRun) -> list[tuple[int, float]]:
    """(step, running mean of the loss), thinned out."""
    losses = smoothed([loss for _, loss in record.training_curve])
    points = [(step, loss) for (step, _), loss in zip(record.training_curve, losses, strict=True)]
    return points[:: max(1, len(points) // _CURVE_POINTS)]


def smoothed(values: Sequence[float]) -> list[float]:
    """Running mean over the values up to each place, over a 25th of all of them: a loss of one batch says little."""
    window = max(1, len(values) // _SMOOTHED_PARTS)
    means = []
    for end in range(1, len(values) + 1):
        recent = values[max(0, end - window) : end]
        means.append(sum(recent) / len(recent))
    return means
