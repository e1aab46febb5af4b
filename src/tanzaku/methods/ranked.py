"""Low-rank methods whose trained adapter is measured at other ranks too: one run gives the whole curve."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tanzaku.methods.adapter import rewrite_adapter
from tanzaku.methods.peft_adapter import PeftMethod

if TYPE_CHECKING:
    from torch import Tensor, nn


class RankedMethod(PeftMethod, ABC):
    """A method that adapts through PEFT's LoRA, and can say what its adapter is at a lower rank."""

    @property
    @abstractmethod
    def measured_ranks(self) -> tuple[int, ...]:
        """The ranks at which the trained adapter is measured, besides as it is."""

    @abstractmethod
    def cut(self, a: Tensor, b: Tensor, *, rank: int) -> tuple[Tensor, Tensor]:
        """Factors of at most `rank` from A (rank before, inputs) and B (outputs, rank before)."""

    @abstractmethod
    def trained_alone(self, rank: int) -> RankedMethod:
        """The method that trains for this rank and no other, all else equal."""

    @contextmanager
    def at_rank(self, model: nn.Module, rank: int) -> Iterator[None]:
        """While it lasts, the attached `model` computes with its adapter cut to `rank`; then as before."""
        factors = lora_factors(model)
        kept = [(a.data, b.data) for a, b in factors]
        try:
            for (a, b), whole in zip(factors, kept, strict=True):
                # The parameters stay, which others hold; their shapes shrink, so that what is cut costs no time.
                a.data, b.data = (factor.contiguous() for factor in self.cut(*whole, rank=rank))
            yield
        finally:
            for (a, b), (kept_a, kept_b) in zip(factors, kept, strict=True):
                a.data, b.data = kept_a, kept_b

    def write_at_rank(self, saved: Path, folder: Path, *, rank: int) -> None:
        """Write what `save` wrote to `saved`, cut to `rank`, to `folder`; plain PEFT opens it.

        Raises:
            MethodError: `saved` does not hold it.
        """
        rewrite_adapter(saved, folder, lambda _, a, b: self.cut(a, b, rank=rank))


def lora_factors(model: nn.Module) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """A (rank, inputs) and B (outputs, rank) of every layer that PEFT's LoRA updates, in the model's order."""
    return list(named_lora_factors(model).values())


def named_lora_factors(model: nn.Module) -> dict[str, tuple[nn.Parameter, nn.Parameter]]:
    """The same by the layers' names in the bare model."""
    from peft.tuners.lora import LoraLayer

    return {
        name.removeprefix("base_model.model."): _factors(module)
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }


def _factors(layer: object) -> tuple[nn.Parameter, nn.Parameter]:
    name = layer.active_adapters[0]  # type: ignore[attr-defined]
    if name in layer.lora_A:  # type: ignore[attr-defined]
        return layer.lora_A[name].weight, layer.lora_B[name].weight  # type: ignore[attr-defined]
    return layer.lora_embedding_A[name], layer.lora_embedding_B[name]  # type: ignore[attr-defined]
