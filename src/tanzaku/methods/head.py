"""The head alone: the encoder stays as it was pretrained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from tanzaku.methods.labels import Title
from tanzaku.methods.trained_weights import TrainedWeightsMethod

if TYPE_CHECKING:
    from torch import nn


class Head(TrainedWeightsMethod):
    """Trains the modules that the checkpoint lacks (linear probing), and nothing else."""

    weights_file: ClassVar[str] = "head.safetensors"
    name: ClassVar[str] = "head"
    adds_low_rank: ClassVar[bool] = True  # none at all
    title: ClassVar[Title] = Title("Head only", ja="分類ヘッドのみ", short="Head")
    table_order: ClassVar[int] = 1
    paper: ClassVar[str] = "Alain and Bengio 2016, arXiv 1610.01644"
    settings_without_effect: ClassVar[tuple[str, ...]] = ("head_learning_rate", "embeddings_learning_rate")

    def attach(self, model: nn.Module, *, head: Sequence[str]) -> nn.Module:
        """Freeze everything but the head."""
        model.requires_grad_(False)
        for name in head:
            model.get_submodule(name).requires_grad_(True)
        return model

    def trainable_parameters(self, model: nn.Module, *, head: Sequence[str]) -> int:
        """The head's parameters."""
        from tanzaku.methods.weights import head_parameters

        return head_parameters(model, head)
