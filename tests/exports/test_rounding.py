"""Matrices in few bits: what they make of activations."""

import numpy as np
import pytest

from tanzaku.exports.rounding import factors_of, round_matrix

LARGEST = 63


def _plain(matrix: np.ndarray) -> np.ndarray:
    scales = np.abs(matrix).max(axis=0) / np.float32(LARGEST)
    rounded: np.ndarray = np.rint(matrix / scales).astype(np.int8)
    return rounded


def _matrix(inputs: int, outputs: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(inputs, outputs)).astype(np.float32)


@pytest.mark.parametrize("inputs", [6, 200])  # more than a block
def test_errors_make_up_for_each_other(inputs: int) -> None:
    generator, matrix = np.random.default_rng(1), _matrix(inputs, 40)
    common = generator.normal(size=(4000, inputs // 3))
    seen = common @ generator.normal(size=(inputs // 3, inputs)) + 0.3 * generator.normal(size=(4000, inputs)) + 1
    integers, scales = round_matrix(matrix, seen.T @ seen / len(seen), largest=LARGEST)
    assert (integers.dtype, scales.dtype) == (np.dtype(np.int8), np.dtype(np.float32))
    assert (integers.shape, scales.shape) == (matrix.shape, (40,))
    assert np.abs(integers).max() <= LARGEST
    errors = [np.abs(seen @ (one * scales - matrix)).mean() for one in (integers, _plain(matrix))]
    assert errors[0] < 0.6 * errors[1]


def test_what_does_not_vary_together_is_rounded_to_the_nearest() -> None:
    matrix = _matrix(6, 5)
    matrix[:, 2] = 0
    integers, scales = round_matrix(matrix, np.diag([4.0, 0, 1, 3, 2, 5]), largest=LARGEST)
    kept = [0, 1, 3, 4]
    np.testing.assert_array_equal(integers[:, kept], _plain(matrix[:, kept]))
    assert not integers[:, 2].any()
    assert (scales > 0).all()


def test_factors_take_large_channels_from_activations_to_weights() -> None:
    matrix = _matrix(8, 5)
    seen = np.random.default_rng(1).normal(size=(1000, 8)) * [100, 1, 1, 1, 1, 1, 1, 0]
    factors = factors_of([matrix, 2 * matrix], seen.T @ seen / len(seen))
    assert factors.dtype == np.float32
    assert np.isfinite(factors).all()
    assert (factors > 0).all()
    balanced = np.abs(seen * factors).max(axis=0)
    assert balanced[0] < 20 * np.median(balanced)  # it was about 100 times
    np.testing.assert_allclose((seen * factors) @ (matrix / factors[:, None]), seen @ matrix, rtol=0, atol=1e-3)
