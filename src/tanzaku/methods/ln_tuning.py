"""LayerNorm tuning (Zhao et al. 2023, arXiv 2312.11420), through PEFT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from tanzaku.methods.labels import Title
from tanzaku.methods.peft_adapter import PeftMethod, head_settings, wrap

if TYPE_CHECKING:
    from torch import nn


class LayerNormTuning(PeftMethod):
    """Trains weight and bias of every layer normalisation, and the head in full."""

    name: ClassVar[str] = "ln-tuning"
    title: ClassVar[Title] = Title("LayerNorm tuning", ja="LayerNorm チューニング", short="LayerNorm")
    paper: ClassVar[str] = "Zhao et al. 2023, arXiv 2312.11420"

    def attach(self, model: nn.Module, *, head: Sequence[str]) -> nn.Module:
        """Wrap the model in PEFT's `PeftModelForSequenceClassification`."""
        from peft import LNTuningConfig

        from tanzaku.methods.layers import layer_norms

        names = list(layer_norms(model, head))
        return wrap(model, LNTuningConfig(target_modules=names, **head_settings(head)))

    def trainable_parameters(self, model: nn.Module, *, head: Sequence[str]) -> int:
        """Twice the hidden size for each normalisation that has a bias, and the head."""
        from tanzaku.methods.layers import layer_norms
        from tanzaku.methods.weights import head_parameters

        norms = layer_norms(model, head).values()
        return sum(p.numel() for norm in norms for p in norm.parameters()) + head_parameters(model, head)
