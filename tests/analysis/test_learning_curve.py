"""What more labels bring, checked by simulation: classifiers that are trained, and trained again on more labels."""

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import binom

from tanzaku.analysis.learning_curve import LearningCurve, learning_curve

FOLDS = 5
SHARES = (0.25, 0.5, 1.0)


class Centroids:
    """Two normal classes in some dimensions, and the classifier by the nearer mean, whose error has a formula.

    Args:
        random: Draws documents.
        dimensions: Of the documents.
        distance: Between the means; half of it is the best classifier's margin in standard deviations.
    """

    def __init__(self, random: np.random.Generator, *, dimensions: int, distance: float) -> None:
        self._random = random
        self._mean = np.full(dimensions, distance / 2 / dimensions**0.5)

    def draw(self, documents: int) -> np.ndarray:
        """Documents, turned so that all are of the same class: (documents, dimensions)."""
        drawn: np.ndarray = self._random.standard_normal((documents, len(self._mean))) + self._mean
        return drawn

    def error(self, train: np.ndarray) -> float:
        """Of all documents that there could be, after a training on some."""
        direction = train.mean(axis=0)
        return float(ndtr(-direction @ self._mean / np.linalg.norm(direction)))


def _curve(world: Centroids, labelled: np.ndarray, *, more: int) -> LearningCurve:
    """As a fit does: folds of the labelled documents, and parts of each fold's training documents."""
    rows: list[list[np.ndarray]] = []
    parts = np.array_split(np.arange(len(labelled)), FOLDS)
    for part in parts:
        train = labelled[np.setdiff1d(np.arange(len(labelled)), part)]
        directions = [train[: int(share * len(train))].mean(axis=0) for share in SHARES]
        rows.append([labelled[part] @ direction > 0 for direction in directions])
    correct = np.stack([np.concatenate(of_size) for of_size in zip(*rows, strict=True)])
    sizes = [share * (1 - 1 / FOLDS) * len(labelled) for share in SHARES]
    return _of_enough(learning_curve(sizes, correct, trainings=FOLDS, start=len(labelled), more=[more]))


def _of_enough(curve: LearningCurve | None) -> LearningCurve:
    assert curve is not None
    return curve


@pytest.mark.parametrize(("dimensions", "distance", "documents"), [(50, 2.0, 300), (200, 2.5, 300), (20, 1.0, 150)])
def test_the_intervals_cover_the_gain_of_a_training_on_more_labels(
    dimensions: int, distance: float, documents: int
) -> None:
    """At 95 %. A method that is surer than that fails, and so does one that knows nothing."""
    world = Centroids(np.random.default_rng(1), dimensions=dimensions, distance=distance)
    runs, more, covered, gains = 300, 200, 0, []
    for _ in range(runs):
        labelled = world.draw(documents)
        gain = _curve(world, labelled, more=more).gains[0]
        real = world.error(labelled) - world.error(np.concatenate([labelled, world.draw(more)]))
        covered += gain.low <= real <= gain.high
        gains.append((gain.mean, real))
    expected, measured = np.mean(gains, axis=0)
    assert binom.ppf(0.001, runs, 0.93) <= covered <= binom.ppf(0.999, runs, 0.99)
    assert expected == pytest.approx(measured, abs=0.01)


def test_intervals_are_narrower_with_more_documents() -> None:
    world = Centroids(np.random.default_rng(2), dimensions=50, distance=2.0)
    widths = []
    for documents in (100, 1600):
        gains = [_curve(world, world.draw(documents), more=documents).gains[0] for _ in range(10)]
        widths.append(np.mean([gain.high - gain.low for gain in gains]))
    assert widths[1] < widths[0] / 2


def _simulate(documents: int, *, sizes: tuple[int, ...]) -> np.ndarray:
    """Whether documents are classified right after training on each size, with the error 2/√n."""
    errors = 2 * np.array(sizes, dtype=float) ** -0.5
    return np.random.default_rng(3).random((len(sizes), documents)) >= errors[:, None]


def test_points_are_in_the_order_of_their_sizes_and_more_labels_bring_more() -> None:
    sizes = (40, 80, 160)
    correct = _simulate(20_000, sizes=sizes)
    curve = _of_enough(learning_curve(sizes[::-1], correct[::-1], trainings=5, start=200, more=[100, 1000]))
    assert [point.labels for point in curve.points] == list(sizes)
    assert [point.accuracy for point in curve.points] == pytest.approx(correct.mean(axis=1).tolist())
    # The law is the true one: the gains are its differences from 200 documents on, and so is the lift from 160 to 200.
    for gain in curve.gains:
        assert gain.mean == pytest.approx(2 * (200**-0.5 - (200 + gain.more) ** -0.5), abs=0.005)
        assert gain.low < gain.mean < gain.high
    assert curve.lift == pytest.approx(2 * (160**-0.5 - 200**-0.5), abs=0.003)


def test_a_classifier_without_errors_gains_nothing_to_speak_of() -> None:
    right = np.ones((3, 200), dtype=bool)
    curve = _of_enough(learning_curve((40, 80, 160), right, trainings=5, start=200, more=[200]))
    assert curve.gains[0].mean < 0.002
    assert curve.gains[0].high < 0.01


def test_documents_of_a_group_do_not_count_as_independent() -> None:
    random, groups = np.random.default_rng(0), np.repeat(np.arange(40), 10)
    right = np.repeat(random.random((3, 40)) < np.array([[0.6], [0.7], [0.8]]), 10, axis=1)  # together, of a group
    apart, grouped = (
        _of_enough(learning_curve([100, 200, 400], right, trainings=5, start=400, more=[400], groups=one))
        for one in (None, groups)
    )
    assert grouped.gains[0].mean == pytest.approx(apart.gains[0].mean)
    assert grouped.gains[0].high - grouped.gains[0].low > 1.5 * (apart.gains[0].high - apart.gains[0].low)
    assert grouped.points[0].interval.half_width > 2.5 * apart.points[0].interval.half_width


def test_few_groups_give_a_wide_interval_and_fewer_give_no_curve() -> None:
    """300 documents in each number of groups, of which every second one is easier after each training in turn."""
    found: dict[int, LearningCurve | None] = {}
    for count in (1, 2, 4, 20):
        groups = np.arange(300) * count // 300
        place = np.arange(300) * count % 300 / 300  # within the group, a share
        sizes, middle = np.arange(3)[:, None], np.array([[0.6], [0.7], [0.8]])
        right = place < middle + 0.1 * (-1) ** (groups + sizes)
        found[count] = learning_curve([100, 200, 400], right, trainings=5, start=400, more=[400], groups=groups)
    assert (found[1], found[2]) == (None, None)
    few, many = (_of_enough(found[count]).gains[0] for count in (4, 20))
    assert few.high - few.low > 2.5 * (many.high - many.low)
