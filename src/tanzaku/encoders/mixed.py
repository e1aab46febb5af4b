"""One encoder for many adapters: each row of a batch gets the low-rank update of its own adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

# Architectures whose linear layers all have a batch's rows as the first axis of their input. DeBERTa's also read the
# relative positions, which all rows share, so an update of some rows would be added to them for the others as well.
MIXED_MODEL_TYPES = frozenset({"bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "modernbert"})


@dataclass(frozen=True)
class Update:
    """The update of one layer by one adapter: x ↦ x Aᵀ Bᵀ, in float32.

    In bfloat16, a CPU's library would compile a kernel for every number of rows that an adapter ever gets.

    Attributes:
        a: (rank, inputs).
        b: (outputs, rank), with the adapter's scale in it.
    """

    a: Tensor
    b: Tensor


Updates = Mapping[str, Update]
"""An adapter: its updates by the names of the layers in the encoder."""


@dataclass
class Mix:
    """Which rows belong to which adapter while a batch is computed; all layers of an encoder share it.

    `spans` has a slice of the first axis for each adapter: tokens where documents lie end to end, otherwise rows.
    """

    spans: list[tuple[slice, Updates]] = field(default_factory=list)

    @contextmanager
    def of(self, counts: Sequence[int], adapters: Sequence[Updates]) -> Iterator[None]:
        """While it lasts, the first `counts[0]` entries belong to `adapters[0]`, the next ones to the second, …"""
        start = 0
        for count, adapter in zip(counts, adapters, strict=True):
            if adapter:
                self.spans.append((slice(start, start + count), adapter))
            start += count
        try:
            yield
        finally:
            self.spans.clear()


class MixedLinear(nn.Module):
    """y = x Wᵀ + b, and y += x Aᵀ Bᵀ on the rows of each adapter that updates this layer (Hu et al. 2021, equation 3).

    Args:
        base_layer: W and b.
        name: The layer's name in the encoder, by which adapters know it.
        mix: Which rows belong to which adapter.
    """

    def __init__(self, base_layer: nn.Linear, *, name: str, mix: Mix) -> None:
        super().__init__()
        self.base_layer, self._name, self._mix = base_layer, name, mix

    def forward(self, x: Tensor) -> Tensor:
        """(rows, …, inputs) to (rows, …, outputs)."""
        return self.add_updates(self.base_layer(x), x)

    def add_updates(self, y: Tensor, x: Tensor) -> Tensor:
        """Add the updates to `y` (rows, …, outputs), in place."""
        for rows, adapter in self._mix.spans:
            if (update := adapter.get(self._name)) is not None:
                y[rows] += _product(x[rows], update)
        return y


def _product(x: Tensor, update: Update) -> Tensor:
    """x Aᵀ Bᵀ in the dtype of A and B, whatever autocast says."""
    with torch.autocast(x.device.type, enabled=False):
        return functional.linear(functional.linear(x.to(update.a.dtype), update.a), update.b)


def mix_linear_layers(encoder: nn.Module) -> Mix:
    """Put a `MixedLinear` in the place of each `nn.Linear` of an encoder; what they share is returned."""
    mix = Mix()
    for name, module in list(encoder.named_modules()):
        if type(module) is nn.Linear:
            encoder.set_submodule(name, MixedLinear(module, name=name, mix=mix))
    return mix
