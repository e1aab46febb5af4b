"""Smoothed curves of losses."""

from tanzaku.analysis.losses import smoothed


def test_smoothing_is_a_running_mean() -> None:
    assert smoothed([1.0, 2.0]) == [1.0, 2.0]
    values = [float(index) for index in range(50)]
    assert smoothed(values)[:3] == [0.0, 0.5, 1.5]
    assert len(smoothed(values)) == 50
