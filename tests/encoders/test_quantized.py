"""Weights in few bits: how far off they are, what they take, and that nothing wider is kept."""

import copy
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch import Tensor, nn

from tanzaku.encoders.quantized import (
    NORMAL_FLOAT_4,
    QuantizedLinear,
    dequantize_blocks,
    dequantize_layers,
    dequantize_matrices,
    dequantize_rows,
    quantize_blocks,
    quantize_layers,
    quantize_matrices,
    quantize_rows,
)
from tests.devices import DEVICES

BITS: list[Literal[8, 4]] = [8, 4]


def _linear(inputs: int = 70, outputs: int = 33) -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(inputs, outputs).requires_grad_(False)


@given(st.integers(1, 9), st.integers(1, 200), st.integers(0, 2**31), st.floats(-6, 6))
@settings(max_examples=50)
def test_eight_bits_are_off_by_half_a_step_at_most(rows: int, columns: int, seed: int, exponent: float) -> None:
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * 10**exponent
    numbers, scales = quantize_rows(weight)
    assert numbers.dtype == torch.int8
    steps = weight.abs().amax(dim=1, keepdim=True) / 127
    assert ((dequantize_rows(numbers, scales) - weight).abs() <= steps * (0.5 + 1e-4)).all()


@given(st.integers(1, 9), st.integers(1, 200), st.integers(0, 2**31))
@settings(max_examples=50)
def test_four_bits_are_the_nearest_of_the_sixteen_values(rows: int, columns: int, seed: int) -> None:
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    packed, scales = quantize_blocks(weight)
    assert packed.numel() == -(-weight.numel() // 64) * 32
    found = dequantize_blocks(packed, scales, weight.shape).flatten()
    flat = weight.flatten()
    for start in range(0, len(flat), 64):
        block = flat[start : start + 64]
        choices = block.abs().max() * torch.tensor(NORMAL_FLOAT_4)
        nearest = (block[:, None] - choices).abs().min(dim=1).values
        torch.testing.assert_close((found[start : start + 64] - block).abs(), nearest, rtol=1e-4, atol=1e-6)


def test_zeros_stay_zeros() -> None:
    weight = torch.zeros(3, 70)
    assert (dequantize_rows(*quantize_rows(weight)) == 0).all()
    assert (dequantize_blocks(*quantize_blocks(weight), weight.shape) == 0).all()


def test_the_sixteen_values_are_the_papers_quantiles() -> None:
    # Appendix E: eight quantiles above zero and seven below, between the middle and 1 - offset, scaled to 1.
    offset = (1 - 1 / (2 * 15) + 1 - 1 / (2 * 16)) / 2
    above = norm.ppf(np.linspace(offset, 0.5, 9)[:-1])
    below = -norm.ppf(np.linspace(offset, 0.5, 8)[:-1])
    values = np.sort(np.concatenate([above, [0.0], below]))
    np.testing.assert_allclose(NORMAL_FLOAT_4, values / np.abs(values).max(), atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("bits", BITS)
def test_computes_and_passes_gradients_as_the_plain_layer_of_its_weights(bits: Literal[8, 4], device: str) -> None:
    quantized = QuantizedLinear(_linear(), bits=bits).to(device)
    plain = copy.deepcopy(quantized).plain()
    x = torch.randn(2, 5, 70, device=device, requires_grad=True)
    y = x.detach().clone().requires_grad_(True)
    torch.testing.assert_close(quantized(x), plain(y))
    quantized(x).square().sum().backward()
    plain(y).square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    assert quantized(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize(("bits", "expected"), [(8, 70 * 33 + 4 * 33), (4, 37 * 32 + 4 * 37)])
def test_takes_the_bytes_of_its_bits_and_keeps_no_wide_weights_for_the_backward_pass(
    bits: Literal[8, 4], expected: int
) -> None:
    layer = QuantizedLinear(_linear(), bits=bits)
    assert sum(buffer.nbytes for buffer in layer.buffers()) == expected
    assert [name for name, _ in layer.named_parameters()] == ["bias"]
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(torch.randn(5, 70, requires_grad=True))
    assert kept == []


def test_a_models_matrices_but_the_heads_go_into_eight_bits_and_come_back() -> None:
    torch.manual_seed(2)
    weights = {
        "bert.table.weight": torch.randn(9, 4),
        "bert.norm.weight": torch.randn(4),
        "bert.positions": torch.arange(4).view(2, 2),
        "classifier.weight": torch.randn(3, 4),
    }
    stored = quantize_matrices(weights, head=("classifier",))
    assert {name for name, tensor in stored.items() if tensor.dtype == torch.int8} == {"bert.table.weight"}
    found = dequantize_matrices(stored)
    assert set(found) == set(weights)
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, weights[name], rtol=0, atol=0.02 if "table" in name else 0)
    assert dequantize_matrices(weights).keys() == weights.keys()


@pytest.mark.parametrize("bits", BITS)
def test_layers_are_replaced_by_name_and_put_back_with_their_values(bits: Literal[8, 4]) -> None:
    model = nn.Sequential(_linear(70, 33), nn.Tanh(), _linear(33, 5)).requires_grad_(False)
    quantize_layers(model, ["0"], bits=bits)
    assert [type(module) for module in model] == [QuantizedLinear, nn.Tanh, nn.Linear]
    x = torch.randn(4, 70)
    expected = model(x)
    dequantize_layers(model)
    assert [type(module) for module in model] == [nn.Linear, nn.Tanh, nn.Linear]
    torch.testing.assert_close(model(x), expected)
