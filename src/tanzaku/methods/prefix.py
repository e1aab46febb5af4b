"""Prefix tuning: every layer attends to learned keys and values next to those of the text.

PEFT's own is not taken: it calls the encoder and the classifier itself, and so passes over pooling and windows, and it
moves the text's positions by the prefix's length, so that a text of all the encoder's positions no longer fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from tanzaku.errors import MethodError
from tanzaku.methods.labels import Title
from tanzaku.methods.trained_weights import TrainedWeightsMethod

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


class PrefixTuning(TrainedWeightsMethod):
    """Trains `length` keys and as many values in every layer (P-tuning v2's place for them), and the head in full."""

    weights_file: ClassVar[str] = "prefix.safetensors"
    name: ClassVar[str] = "prefix"
    title: ClassVar[Title] = Title("Prefix tuning", ja="プレフィックスチューニング", short="Prefix")
    paper: ClassVar[str] = "Li and Liang 2021, arXiv 2101.00190; Liu et al. 2021, arXiv 2110.07602"
    mergeable: ClassVar[bool] = False

    length: Annotated[int, Field(ge=1, description="Keys and values of the prefix in each layer.")] = 20

    def attach(self, model: nn.Module, *, head: Sequence[str]) -> nn.Module:
        """Give the encoder a prefix, and freeze everything else but the head."""
        from tanzaku.encoders.prefix import add_prefix

        encoder = _encoder(model)
        model.requires_grad_(False)
        add_prefix(encoder, length=self.length)
        for name in head:
            model.get_submodule(name).requires_grad_(True)
        return model

    def trainable_parameters(self, model: nn.Module, *, head: Sequence[str]) -> int:
        """Twice layers times length times the hidden size, and the head."""
        from tanzaku.methods.weights import head_parameters

        config = _encoder(model).config
        prefix: int = 2 * config.num_hidden_layers * self.length * config.hidden_size
        return prefix + head_parameters(model, head)


def _encoder(model: Any) -> PreTrainedModel:
    from tanzaku.encoders.prefix import takes_prefix

    encoder: PreTrainedModel = model.base_model
    if not takes_prefix(encoder):
        raise MethodError(
            f"an encoder of the type {encoder.config.model_type!r} can't attend to keys from before the text; "
            "it takes BERT, RoBERTa or ELECTRA; lora takes any encoder"
        )
    return encoder
