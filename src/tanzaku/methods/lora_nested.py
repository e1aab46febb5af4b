"""One LoRA for many ranks: DyLoRA's training (Valipour et al. 2022, arXiv 2210.07558) for encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from tanzaku.methods.labels import OptionLabel, Title
from tanzaku.methods.lora import Lora
from tanzaku.methods.options import InputDropout, Pooler
from tanzaku.methods.ranked import RankedMethod
from tanzaku.methods.targets import LinearTargets

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tanzaku.encoders.nested import Width
    from tanzaku.methods.interface import Forward


class LoraNested(RankedMethod):
    """A LoRA of the largest rank, trained so that its first r ranks serve alone, for every r of `ranks`.

    At each step one of the ranks is drawn, and the first so many rows of A and columns of B compute and learn. The
    scale is 1 at every rank, as that of a LoRA with α = r.
    """

    name: ClassVar[str] = "lora-nested"
    title: ClassVar[Title] = Title("Nested LoRA", ja="入れ子の LoRA")
    paper: ClassVar[str] = "Valipour et al. 2022, arXiv 2210.07558"
    adds_low_rank: ClassVar[bool] = True

    ranks: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...],
        Field(min_length=2, description="The ranks at which the one adapter is to serve, the smallest first."),
        OptionLabel("ranks {value}", ja="ランク {value}"),
    ] = (2, 4, 8, 16, 32)
    update: Annotated[
        Literal["all", "last"],
        Field(
            description="What a step trains of the drawn rank: all of it, or only what it adds to the next smaller one."
        ),
    ] = "all"
    dropout: InputDropout = 0.0
    targets: Annotated[LinearTargets, Field(description="The layers to update, as those of lora; not embeddings.")] = (
        "query",
        "value",
    )
    pooler: Pooler = False

    @field_validator("ranks")
    @classmethod
    def _growing(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError(f"the ranks grow: write {sorted(set(value))}")
        return value

    @property
    def measured_ranks(self) -> tuple[int, ...]:
        """All of `ranks`."""
        return self.ranks

    def cut(self, a: Tensor, b: Tensor, *, rank: int) -> tuple[Tensor, Tensor]:
        """The first `rank` rows of A and columns of B, as they were trained."""
        return a[:rank], b[:, :rank]

    def trained_alone(self, rank: int) -> Lora:
        """The LoRA that a step with this rank trains."""
        return self._largest.model_copy(update={"rank": rank})

    def details(self) -> dict[str, float | int | str]:
        """The effective scale, 1 at every rank."""
        return {"scale": 1.0}

    @property
    def _largest(self) -> Lora:
        """The LoRA that it is to PEFT."""
        return Lora(rank=self.ranks[-1], dropout=self.dropout, targets=self.targets, pooler=self.pooler)

    def attach(self, model: nn.Module, *, head: Sequence[str]) -> nn.Module:
        """Wrap the model in PEFT's LoRA of the largest rank, whose factors then have a width."""
        from peft.tuners.lora import LoraLayer

        from tanzaku.encoders.nested import FirstColumns, FirstRows, Width

        adapted = self._largest.attach(model, head=head)
        width = Width(self.ranks[-1])
        layers: list[Any] = [module for module in adapted.modules() if isinstance(module, LoraLayer)]
        for layer in layers:
            name = layer.active_adapters[0]
            layer.lora_A[name] = FirstRows(layer.lora_A[name].weight, width)
            layer.lora_B[name] = FirstColumns(layer.lora_B[name].weight, width)
        return adapted

    def wrap_forward(self, forward: Forward) -> Forward:
        """Draw a rank before every step of training; elsewhere all ranks count."""
        import torch

        def nested(model: nn.Module, batch: Any) -> Tensor:
            place = int(torch.randint(len(self.ranks), ())) if model.training else len(self.ranks) - 1
            width = _width(model)
            width.rank = self.ranks[place]
            width.frozen = self.ranks[place - 1] if model.training and self.update == "last" and place else 0
            return forward(model, batch)

        return nested

    def trainable_parameters(self, model: nn.Module, *, head: Sequence[str]) -> int:
        """Those of a LoRA of the largest rank."""
        return self._largest.trainable_parameters(model, head=head)


def _width(model: nn.Module) -> Width:
    """The one width that all layers of an attached model share."""
    from tanzaku.encoders.nested import FirstRows

    return next(module.width for module in model.modules() if isinstance(module, FirstRows))
