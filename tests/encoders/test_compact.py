"""Weights in 4 bits without loss."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tanzaku.encoders.compact import pack_weights, unpack_weights
from tanzaku.errors import EncoderError

_HALVES = st.floats(width=16, allow_nan=False, allow_infinity=False)


def _in_four_bits(rows: int, blocks: int, *, seed: int) -> torch.Tensor:
    """A matrix (rows, 32 * blocks) float16 that was rounded to Q4_0: -8 occurs in every block."""
    random = np.random.default_rng(seed)
    numbers = random.integers(-8, 8, size=(rows, blocks, 32))
    numbers[:, :, 5] = -8
    scales = random.normal(size=(rows, blocks, 1)).astype(np.float16).astype(np.float32) / 64
    return torch.from_numpy((numbers * scales).astype(np.float16).reshape(rows, -1))


@pytest.mark.parametrize("seed", range(3))
def test_what_was_rounded_to_four_bits_takes_nine_sixteenths_of_a_byte_and_comes_back_equal(seed: int) -> None:
    matrix = _in_four_bits(6, 4, seed=seed)
    packed = pack_weights({"layer.weight": matrix})
    assert sum(tensor.nbytes for tensor in packed.values()) == matrix.numel() * 9 // 16
    assert torch.equal(unpack_weights(packed)["layer.weight"], matrix)


@given(arrays.arrays(np.float16, arrays.array_shapes(min_dims=1, max_dims=3, max_side=64), elements=_HALVES))
def test_any_tensor_of_halves_comes_back_equal(values: np.ndarray) -> None:
    weights = {"a": torch.from_numpy(values), "b.q4": torch.arange(3)}
    back = unpack_weights(pack_weights(weights))
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)


@given(
    arrays.arrays(np.int8, (2, 64), elements=st.integers(-8, 7)),
    arrays.arrays(np.float16, (2, 2, 1), elements=st.floats(-2, 2, width=16)),
)
def test_any_block_of_scale_times_number_comes_back_equal(numbers: np.ndarray, scales: np.ndarray) -> None:
    products = numbers.reshape(2, 2, 32).astype(np.float32) * scales.astype(np.float32)
    matrix = torch.from_numpy(products.astype(np.float16).reshape(2, 64))
    assert torch.equal(unpack_weights(pack_weights({"w": matrix}))["w"], matrix)


def test_a_block_of_zeros_has_no_scale_and_stays_zero() -> None:
    matrix = torch.zeros(3, 32, dtype=torch.float16)
    packed = pack_weights({"w": matrix})
    assert packed["w"].dtype == torch.uint8
    assert torch.equal(unpack_weights(packed)["w"], matrix)


def test_values_that_float16_does_not_hold_are_refused_and_named() -> None:
    with pytest.raises(EncoderError, match=r"tensor layer\.weight has values that float16 does not hold"):
        pack_weights({"layer.weight": torch.full((2, 32), 0.1)})
