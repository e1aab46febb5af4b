"""QLoRA (Dettmers et al. 2023, arXiv 2305.14314): LoRA on an encoder whose frozen matrices are in 8 or 4 bits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from tanzaku.methods.labels import OptionLabel, Title
from tanzaku.methods.lora import Lora
from tanzaku.methods.options import Alpha, InputDropout, Rank
from tanzaku.methods.peft_adapter import PeftMethod
from tanzaku.methods.targets import Targets

if TYPE_CHECKING:
    from torch import nn


class QLora(PeftMethod):
    """`lora` after every linear layer of the encoder's transformer layers was quantised; the head stays in float32.

    The quantisation follows from the encoder's weights alone, so a saved adapter needs nothing else.
    """

    name: ClassVar[str] = "qlora"
    title: ClassVar[Title] = Title("QLoRA")
    paper: ClassVar[str] = "Dettmers et al. 2023, arXiv 2305.14314"
    opens_in_peft: ClassVar[bool] = False  # it does, but over weights that were not quantised

    rank: Rank = 8
    alpha: Alpha = "rank"
    dropout: InputDropout = 0.0
    targets: Annotated[Targets, Field(description="The layers to update, as for `lora`.")] = ("query", "value")
    bits: Annotated[
        Literal[8, 4],
        Field(description="Of a frozen weight: 8, whole numbers, or 4, the paper's NormalFloat."),
        OptionLabel("{value} bits", ja="{value} ビット"),
    ] = 4

    @property
    def _lora(self) -> Lora:
        return Lora(rank=self.rank, alpha=self.alpha, dropout=self.dropout, targets=self.targets)

    def details(self) -> dict[str, float | int | str]:
        """The effective scale α/r."""
        return self._lora.details()

    def attach(self, model: nn.Module, *, head: Sequence[str]) -> nn.Module:
        """Quantise the layers, and wrap the model in PEFT's `PeftModelForSequenceClassification`."""
        self._quantize(model)
        return self._lora.attach(model, head=head)

    def trainable_parameters(self, model: nn.Module, *, head: Sequence[str]) -> int:
        """As `lora`'s: Σ r·(inputs + outputs) over the targeted layers, and the head."""
        from tanzaku.methods.layers import linear_in_layers

        linear_in_layers(model)  # what attach will quantise: there must be some
        return self._lora.trainable_parameters(model, head=head)

    def load(self, model: nn.Module, folder: Path, *, head: Sequence[str]) -> nn.Module:
        """Quantise the layers again, and open the adapter with PEFT."""
        self._quantize(model)
        return super().load(model, folder, head=head)

    def merge(self, model: nn.Module) -> nn.Module:
        """Add (α/r)·B·A to the quantised weights, which become float32 again with the values that they had."""
        from tanzaku.encoders.quantized import dequantize_layers

        dequantize_layers(model)
        return super().merge(model)

    def _quantize(self, model: nn.Module) -> None:
        from tanzaku.encoders.quantized import quantize_layers
        from tanzaku.methods.layers import linear_in_layers

        quantize_layers(model, linear_in_layers(model), bits=self.bits)
