"""Linear layers for the fast path: frozen weights in low precision, trained ones cast, LoRA without its detours."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tanzaku.encoders.bottleneck import ACTIVATIONS, BottleneckLinear
from tanzaku.encoders.dropout import dropout
from tanzaku.encoders.mixed import MixedLinear
from tanzaku.encoders.nested import FirstColumns, FirstRows
from tanzaku.encoders.quantized import QuantizedLinear


class FastLinear(Protocol):
    """Computes what a module computes, in the dtype that it was made for."""

    def __call__(self, x: Tensor) -> Tensor:
        """(tokens, inputs) to (tokens, outputs)."""
        ...

    def lower(self) -> None:
        """Convert the frozen weights to that dtype where they stand, so that they take no second place in memory."""
        ...


def fast_linear(module: nn.Module, *, dtype: torch.dtype) -> FastLinear | None:
    """A function that computes what `module` computes, on (tokens, inputs) in `dtype`; None if it can't be had.

    What is trained stays as it is and is cast for each call, and so is what is frozen until `lower` is called; nothing
    is changed before.

    Args:
        module: An `nn.Linear`, quantised or not, alone, with a bottleneck adapter or as a `MixedLinear`, or PEFT's
            LoRA, AdaLoRA or (IA)³ around one with one active adapter of the plain kind.
        dtype: Of the arithmetic.
    """
    if type(module) is nn.Linear:
        return _Plain(module, dtype)
    if type(module) is QuantizedLinear:
        return _Quantized(module)
    if type(module) is BottleneckLinear and type(module.base_layer) is nn.Linear:
        return _Adapted(module, dtype)
    if type(module) is MixedLinear:
        return _Mixed(module, dtype)
    return _lora(module, dtype) or _adalora(module, dtype) or _scaled(module, dtype)


def plain_norm(module: nn.Module) -> nn.LayerNorm | None:
    """What `module` computes: itself, or the one that PEFT's LayerNorm tuning trains; None if it is neither."""
    from peft.tuners.ln_tuning.layer import LNTuningLayer

    if type(module) is LNTuningLayer and _has_one_adapter(module):
        module = cast(Any, module).ln_tuning_layers[cast(Any, module).active_adapters[0]]
    return module if type(module) is nn.LayerNorm else None


def _has_one_adapter(layer: Any) -> bool:
    """Whether one adapter of PEFT's is in force, and apart from the layer that it adapts."""
    return len(layer.active_adapters) == 1 and not layer.disable_adapters and not layer.merged


def has_plain_lora(layer: Any) -> bool:
    """Whether a module of PEFT's LoRA adds s·B·A of one active adapter, whatever s, and does nothing else."""
    if not _has_one_adapter(layer) or layer.fan_in_fan_out:
        return False
    name = layer.active_adapters[0]
    known = name in layer.lora_A or name in layer.lora_embedding_A
    return known and name not in layer.lora_variant and not layer.lora_bias[name]


def _lora(module: nn.Module, dtype: torch.dtype) -> FastLinear | None:
    if not _is_plain_lora_linear(module, (nn.Linear, QuantizedLinear)):
        return None
    layer = cast(Any, module)  # PEFT's types are loose: what follows are dictionaries by the adapter's name
    name = layer.active_adapters[0]
    factors = _factors(layer.lora_A[name], layer.lora_B[name])
    scale, drop = float(layer.scaling[name]), layer.lora_dropout[name]
    return _low_rank(layer.base_layer, factors, scale=scale, dtype=dtype, drop=drop)


def _is_plain_lora_linear(module: nn.Module, bases: tuple[type, ...]) -> bool:
    from peft.tuners.lora import Linear as LoraLinear

    return type(module) is LoraLinear and type(module.base_layer) in bases and has_plain_lora(module)


def lora_update(module: nn.Module) -> tuple[Tensor, Tensor] | None:
    """A (rank, inputs) and s·B (outputs, rank) of PEFT's LoRA around an `nn.Linear`; None if `module` is another, or
    does more than adding s·B·A."""
    if not _is_plain_lora_linear(module, (nn.Linear,)):
        return None
    layer = cast(Any, module)
    name = layer.active_adapters[0]
    a, b = _factors(layer.lora_A[name], layer.lora_B[name])()
    return a.detach(), b.detach() * float(layer.scaling[name])


# Gives A (rank, inputs) and B (outputs, rank) as they are for this call.
_Factors = Callable[[], tuple[Tensor, Tensor]]


def _factors(first: nn.Module, second: nn.Module) -> _Factors:
    if isinstance(first, FirstRows) and isinstance(second, FirstColumns):
        rows, columns = first, second
        return lambda: (rows.narrow(), columns.narrow())
    a, b = cast(nn.Linear, first).weight, cast(nn.Linear, second).weight
    return lambda: (a, b)


def _low_rank(
    base: nn.Linear, factors: _Factors, *, scale: float, dtype: torch.dtype, drop: nn.Module
) -> _MergedLora | _DroppedLora:
    # A matrix in few bits is not merged: the sum would be kept for the backward pass in many.
    if not getattr(drop, "p", 0.0) and type(base) is nn.Linear:
        return _MergedLora(base, factors, scale=scale, dtype=dtype)
    return _DroppedLora(base, factors, scale=scale, dtype=dtype, drop=drop)


def _adalora(module: nn.Module, dtype: torch.dtype) -> FastLinear | None:
    from peft.tuners.adalora import SVDLinear

    if type(module) is not SVDLinear or type(module.base_layer) is not nn.Linear:
        return None
    layer = cast(Any, module)
    if not _has_one_adapter(layer) or layer.fan_in_fan_out or layer.active_adapters[0] not in layer.lora_A:
        return None
    return _SingularLora(layer, dtype)


def _scaled(module: nn.Module, dtype: torch.dtype) -> FastLinear | None:
    from peft.tuners.ia3 import Linear as ScaledLinear

    if type(module) is not ScaledLinear or type(module.base_layer) is not nn.Linear:
        return None
    layer = cast(Any, module)
    if not _has_one_adapter(layer) or layer.fan_in_fan_out or layer.active_adapters[0] not in layer.ia3_l:
        return None
    factors = layer.ia3_l[layer.active_adapters[0]]
    return _Scaled(layer.base_layer, factors, on_input=layer.is_feedforward, dtype=dtype)


class _Plain:
    def __init__(self, module: nn.Linear, dtype: torch.dtype) -> None:
        self._module, self._dtype = module, dtype

    def lower(self) -> None:
        convert_frozen(self._module, dtype=self._dtype)

    def __call__(self, x: Tensor) -> Tensor:
        bias = self._module.bias
        weight = self._module.weight.to(self._dtype)
        return _linear(x, weight, None if bias is None else bias.to(self._dtype))


class _Quantized:
    def __init__(self, module: QuantizedLinear) -> None:
        self._module = module

    def lower(self) -> None:
        """Nothing: its weights are in fewer bits than any float."""

    def __call__(self, x: Tensor) -> Tensor:
        product: Tensor = self._module(x)
        return product


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x Wᵀ + b, (tokens, inputs) to (tokens, outputs).

    `functional.linear` writes the bias to the output before the product, a pass over memory of its own: a tenth of the
    time of a product of this size in bfloat16. oneDNN adds it to the result for free, and PyTorch's compiler calls it
    that way, through an operator that has no gradient. It needs a processor with AVX-512 or the like.
    """
    if bias is None or x.dtype != torch.bfloat16 or x.device.type != "cpu" or torch.is_grad_enabled():
        return functional.linear(x, weight, bias)
    if not _onednn_has_bfloat16():
        return functional.linear(x, weight, bias)
    return cast(Tensor, torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], ""))


@cache
def _onednn_has_bfloat16() -> bool:
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def convert_frozen(module: nn.Module, *, dtype: torch.dtype) -> None:
    """Convert the frozen parameters that stand directly in `module`, in place."""
    for parameter in module.parameters(recurse=False):
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)


class _Adapted:
    """h + A f(B h) with h = x Wᵀ + b: see `BottleneckLinear`."""

    def __init__(self, module: BottleneckLinear, dtype: torch.dtype) -> None:
        self._base, self._down, self._up = (
            _Plain(linear, dtype) for linear in (module.base_layer, module.down, module.up)
        )
        self._activation = ACTIVATIONS[module.activation]

    def lower(self) -> None:
        for linear in (self._base, self._down, self._up):
            linear.lower()

    def __call__(self, x: Tensor) -> Tensor:
        hidden = self._base(x)
        return hidden + self._up(self._activation(self._down(hidden)))


class _Mixed:
    """x Wᵀ + b, and for each span of tokens the update of its own adapter: see `MixedLinear`."""

    def __init__(self, module: MixedLinear, dtype: torch.dtype) -> None:
        self._base, self._module = _Plain(module.base_layer, dtype), module

    def lower(self) -> None:
        self._base.lower()

    def __call__(self, x: Tensor) -> Tensor:
        return self._module.add_updates(self._base(x), x)


class _Scaled:
    """y = l ⊙ (x Wᵀ + b), or (l ⊙ x) Wᵀ + b (Liu et al. 2022, section 3.3)."""

    def __init__(self, base: nn.Linear, factors: Tensor, *, on_input: bool, dtype: torch.dtype) -> None:
        self._base, self._factors, self._on_input, self._dtype = _Plain(base, dtype), factors, on_input, dtype

    def lower(self) -> None:
        self._base.lower()

    def __call__(self, x: Tensor) -> Tensor:
        factors = self._factors.flatten().to(self._dtype)
        return self._base(x * factors) if self._on_input else self._base(x) * factors


class _DroppedLora:
    """y = x Wᵀ + b + s · dropout(x) Aᵀ Bᵀ (Hu et al. 2021, equation 3)."""

    def __init__(
        self,
        base: nn.Linear,
        factors: _Factors,
        *,
        scale: float,
        dtype: torch.dtype,
        drop: nn.Module,
    ) -> None:
        self._base: FastLinear = _Quantized(base) if isinstance(base, QuantizedLinear) else _Plain(base, dtype)
        self._factors = factors
        self._scale, self._dtype, self._drop = scale, dtype, drop

    def lower(self) -> None:
        self._base.lower()

    def __call__(self, x: Tensor) -> Tensor:
        a, b = self._factors()
        dropped = dropout(x, probability=getattr(self._drop, "p", 0.0), training=self._drop.training)
        narrow = functional.linear(dropped, a.to(self._dtype))  # (tokens, rank)
        return self._base(x) + functional.linear(narrow, (b * self._scale).to(self._dtype))


class _MergedLora:
    """Without dropout, LoRA is one matrix, W + s·B·A, made for each call.

    The sum is made in float32 and rounded once, as full fine-tuning's weights are: an update that is small compared
    with W would vanish if W were rounded first. It is not kept: a call takes many tokens and is the only one of its
    step, and nothing tells whether A and B have changed, since fused optimisers leave a tensor's version as it was.
    """

    def __init__(self, base: nn.Linear, factors: _Factors, *, scale: float, dtype: torch.dtype) -> None:
        self._base, self._factors, self._scale, self._dtype = base, factors, scale, dtype

    def lower(self) -> None:
        """Nothing: see above, W is not rounded first."""

    def __call__(self, x: Tensor) -> Tensor:
        bias = self._base.bias
        a, b = self._factors()
        merged = self._merged(a, b)
        product: Tensor = _LowRank.apply(x, merged, None if bias is None else bias.to(self._dtype), a, b, self._scale)  # type: ignore[no-untyped-call]
        return product

    @torch.no_grad()
    def _merged(self, a: Tensor, b: Tensor) -> Tensor:
        base = self._base.weight  # (outputs, inputs)
        return torch.addmm(base, b.to(base.dtype), a.to(base.dtype), alpha=self._scale).to(self._dtype)


class _SingularLora:
    """LoRA with E·A in the place of A (Zhang et al. 2023, equation 3), made for each call: E is trained too."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        self._layer, self._name, self._dtype = layer, layer.active_adapters[0], dtype

    def lower(self) -> None:
        if getattr(self._layer.lora_dropout[self._name], "p", 0.0):
            _Plain(self._layer.base_layer, self._dtype).lower()

    def __call__(self, x: Tensor) -> Tensor:
        layer, name = self._layer, self._name
        a = layer.lora_A[name] * layer.lora_E[name]  # (rank, inputs)
        scale = float(layer.scaling[name]) / (float(layer.ranknum[name]) + 1e-5)  # as PEFT divides
        drop = layer.lora_dropout[name]
        factors = (a, layer.lora_B[name])
        return _low_rank(layer.base_layer, lambda: factors, scale=scale, dtype=self._dtype, drop=drop)(x)


class _LowRank(torch.autograd.Function):
    """y = x W'ᵀ + b with W' = W + s·B·A merged; the gradients of A and B never take the detour over that of W'.

    With g = ∂L/∂y: ∂L/∂B = s · gᵀ (x Aᵀ) and ∂L/∂A = s · (g B)ᵀ x.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x, weight, a, b)
        ctx.scale = scale
        return _linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, a, b = ctx.saved_tensors
        needs_x, _, needs_bias, needs_a, needs_b, _ = ctx.needs_input_grad
        grad_x = grad @ weight if needs_x else None
        grad_a = grad_b = None
        if needs_b:
            narrow = functional.linear(x, a.to(x.dtype))  # (tokens, rank)
            # Narrow operand first: with it second, oneDNN takes twice as long.
            grad_b = (narrow.t() @ grad).t().to(b.dtype) * ctx.scale  # (outputs, rank)
        if needs_a:
            grad_a = ((grad @ b.to(x.dtype)).t() @ x).to(a.dtype) * ctx.scale  # (rank, inputs)
        return grad_x, None, grad.sum(dim=0) if needs_bias else None, grad_a, grad_b, None
