"""(IA)³ (Liu et al. 2022, arXiv 2205.05638), through PEFT: learned factors on keys, values and inner activations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from tanzaku.methods.labels import Title
from tanzaku.methods.peft_adapter import PeftMethod, head_settings, wrap

if TYPE_CHECKING:
    from torch import nn


class IA3(PeftMethod):
    """Trains the vectors l_k, l_v and l_ff of section 3.3 of the paper in every layer, and the head in full.

    Keys become l_k ⊙ K, values l_v ⊙ V, and the feed-forward network (l_ff ⊙ γ(W₁x)) W₂; all begin at 1. Merging
    multiplies them into the frozen weights, and into the biases of keys and values.
    """

    name: ClassVar[str] = "ia3"
    title: ClassVar[Title] = Title("IA3")
    paper: ClassVar[str] = "Liu et al. 2022, arXiv 2205.05638"

    def attach(self, model: nn.Module, *, head: Sequence[str]) -> nn.Module:
        """Wrap the model in PEFT's `PeftModelForSequenceClassification`."""
        from peft import IA3Config

        from tanzaku.methods.layers import names_in_a_layer

        key, value, inner = (
            re.escape(names_in_a_layer(model, part)) for part in ("key", "value", "feed-forward output")
        )
        # From the layer's number on, since BERT's attention has an `output.dense` as well.
        config = IA3Config(
            target_modules=rf".*\.\d+\.({key}|{value}|{inner})",
            feedforward_modules=rf".*\.\d+\.{inner}",
            **head_settings(head),
        )
        return wrap(model, config)

    def trainable_parameters(self, model: nn.Module, *, head: Sequence[str]) -> int:
        """The outputs of keys and values and the inputs of the second feed-forward layer, and the head."""
        from tanzaku.methods.layers import linear_layers
        from tanzaku.methods.weights import head_parameters

        outputs = linear_layers(model, ["key", "value"]).values()
        inputs = linear_layers(model, ["feed-forward output"]).values()
        factors = sum(layer.out_features for layer in outputs) + sum(layer.in_features for layer in inputs)
        return factors + head_parameters(model, head)
