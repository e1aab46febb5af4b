"""What more labels bring, checked by simulation: documents whose errors follow a known law."""

import numpy as np
import pytest

from tanzaku.analysis.learning_curve import learning_curve

SIZES = (40, 80, 160)


def _simulate(random: np.random.Generator, documents: int, *, scale: float, power: float) -> np.ndarray:
    """Whether documents are classified right after training on each size: some are hard at every size."""
    hardness = random.beta(0.6, 1.2, documents)
    hardness *= 1 / hardness.mean()
    errors = scale * np.array(SIZES, dtype=float) ** -power
    return random.random((len(SIZES), documents)) >= np.clip(errors[:, None] * hardness, 0, 1)


@pytest.mark.parametrize(("scale", "power"), [(2.0, 0.5), (1.0, 0.3), (0.2, 0.0)])
def test_the_intervals_cover_the_true_gain(scale: float, power: float) -> None:
    """At 95 %; without any gain the interval begins at zero, so it covers even more often."""
    random = np.random.default_rng(1)
    truth = scale * (160.0**-power - 360.0**-power)
    runs, covered, means = 200, 0, []
    for _ in range(runs):
        gain = learning_curve(SIZES, _simulate(random, 400, scale=scale, power=power), more=[200]).gains[0]
        covered += gain.low <= truth <= gain.high
        means.append(gain.mean)
    assert covered / runs >= 0.90
    assert power == 0 or np.mean(means) == pytest.approx(truth, rel=0.25)


def test_intervals_are_narrower_with_more_documents() -> None:
    random = np.random.default_rng(2)
    widths = []
    for documents in (100, 1600):
        gains = [
            learning_curve(SIZES, _simulate(random, documents, scale=2, power=0.5), more=[200]).gains[0]
            for _ in range(10)
        ]
        widths.append(np.mean([gain.high - gain.low for gain in gains]))
    assert widths[1] < widths[0] / 2


def test_points_are_in_the_order_of_their_sizes_and_more_labels_bring_more() -> None:
    correct = _simulate(np.random.default_rng(3), 500, scale=2, power=0.5)
    curve = learning_curve(SIZES[::-1], correct[::-1], more=[100, 1000])
    assert [point.labels for point in curve.points] == list(SIZES)
    assert [point.accuracy for point in curve.points] == pytest.approx(correct.mean(axis=1).tolist())
    assert 0 <= curve.gains[0].low <= curve.gains[0].mean <= curve.gains[0].high
    assert curve.gains[0].mean < curve.gains[1].mean


def test_a_classifier_without_errors_gains_nothing_to_speak_of() -> None:
    curve = learning_curve(SIZES, np.ones((3, 200), dtype=bool), more=[200])
    assert curve.gains[0].high < 0.005
