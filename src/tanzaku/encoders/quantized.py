"""Weights in 8 or 4 bits: for an encoder that stays frozen, and for bundles.

8 bits: each row of a matrix is a scale times whole numbers from -127 to 127 (absmax quantisation). 4 bits: NormalFloat
(Dettmers et al. 2023, arXiv 2305.14314, section 3): each block of 64 weights is a scale times one of 16 values, which
are quantiles of a normal distribution. The scales stay in float32; the paper's quantisation of these is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Bits = Literal[8, 4]

_LARGEST = 127
_BLOCK = 64
_SCALES = ".int8_scales"
# Appendix E of the paper.
NORMAL_FLOAT_4 = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)


def quantize_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix (rows, columns) as int8 of its shape, and a scale for each row, (rows, 1) float32.

    No weight is off by more than half its row's scale.
    """
    scales = weight.float().abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny) / _LARGEST
    return (weight / scales).round().clamp(-_LARGEST, _LARGEST).to(torch.int8), scales


def dequantize_rows(numbers: Tensor, scales: Tensor) -> Tensor:
    """What `quantize_rows` was given, up to rounding: float32."""
    return numbers * scales


def quantize_matrices(weights: Mapping[str, Tensor], *, head: Sequence[str]) -> dict[str, Tensor]:
    """A model's tensors with every matrix outside its `head` in 8 bits, and their scales under another name."""
    content: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        in_head = any(name.startswith(f"{module}.") for module in head)
        if tensor.ndim == 2 and tensor.is_floating_point() and not in_head:
            content[name], content[name + _SCALES] = quantize_rows(tensor)
        else:
            content[name] = tensor
    return content


def dequantize_matrices(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `quantize_matrices` was given, in float32; other tensors as they are."""
    return {
        name: dequantize_rows(tensor, weights[name + _SCALES]) if name + _SCALES in weights else tensor
        for name, tensor in weights.items()
        if not name.endswith(_SCALES)
    }


def quantize_blocks(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A tensor in row order as NormalFloat: two values a byte, (blocks, 32) uint8, and scales (blocks, 1) float32."""
    flat = functional.pad(weight.float().flatten(), (0, -weight.numel() % _BLOCK)).view(-1, _BLOCK)
    scales = flat.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    values = torch.tensor(NORMAL_FLOAT_4, device=weight.device)
    nearest = torch.bucketize(flat / scales, (values[1:] + values[:-1]) / 2).to(torch.uint8)  # (blocks, 64)
    return nearest[:, ::2] << 4 | nearest[:, 1::2], scales


def dequantize_blocks(packed: Tensor, scales: Tensor, shape: torch.Size) -> Tensor:
    """What `quantize_blocks` was given, up to the nearest of 16 values: float32."""
    values = torch.tensor(NORMAL_FLOAT_4, device=packed.device)
    pairs = torch.stack([packed >> 4, packed & 15], dim=-1)  # (blocks, 32, 2)
    return (values[pairs.long()].flatten(1) * scales).flatten()[: shape.numel()].view(shape)


class QuantizedLinear(nn.Linear):
    """A frozen linear layer whose weights are kept in 8 or 4 bits and computed with in float.

    It is an `nn.Linear` to whoever asks, PEFT among them; `weight` is made again each time it is read.
    """

    numbers: Tensor
    scales: Tensor

    def __init__(self, linear: nn.Linear, *, bits: Bits) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.bits = linear.in_features, linear.out_features, bits
        numbers, scales = (quantize_rows if bits == 8 else quantize_blocks)(linear.weight.detach())
        self.register_buffer("numbers", numbers)
        self.register_buffer("scales", scales)
        self.bias = linear.bias

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """(outputs, inputs) float32."""
        if self.bits == 8:
            return dequantize_rows(self.numbers, self.scales)
        return dequantize_blocks(self.numbers, self.scales, torch.Size((self.out_features, self.in_features)))

    def forward(self, x: Tensor) -> Tensor:
        """(…, inputs) to (…, outputs), in the dtype of `x`."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        product: Tensor = _FrozenLinear.apply(x, self, bias)  # type: ignore[no-untyped-call]
        return product

    def plain(self) -> nn.Linear:
        """The layer with its weights as they are computed with, in float32."""
        linear = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        linear.weight = nn.Parameter(self.weight, requires_grad=False)
        if self.bias is not None:
            linear.bias = self.bias
        return linear


class _FrozenLinear(torch.autograd.Function):
    """y = x Wᵀ + b; W, which has no gradient, is made again for the backward pass and not kept for it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: QuantizedLinear, bias: Tensor | None) -> Tensor:
        ctx.layer = layer
        return functional.linear(x, layer.weight.to(x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needs_x, _, needs_bias = ctx.needs_input_grad
        grad_x = grad @ ctx.layer.weight.to(grad.dtype) if needs_x else None
        return grad_x, None, grad.flatten(0, -2).sum(dim=0) if needs_bias else None


def quantize_layers(model: nn.Module, names: list[str], *, bits: Bits) -> None:
    """Put a `QuantizedLinear` in the place of each linear layer of these full names."""
    for name in names:
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        model.set_submodule(name, QuantizedLinear(layer, bits=bits))


def dequantize_layers(model: nn.Module) -> None:
    """Put plain layers in the place of all quantised ones."""
    for name, module in list(model.named_modules()):
        if isinstance(module, QuantizedLinear):
            model.set_submodule(name, module.plain())
