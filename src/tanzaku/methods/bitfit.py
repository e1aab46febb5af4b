"""BitFit: of the encoder, the biases alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from tanzaku.errors import MethodError
from tanzaku.methods.labels import Title
from tanzaku.methods.targets import reads_entities
from tanzaku.methods.trained_weights import TrainedWeightsMethod

if TYPE_CHECKING:
    from torch import nn


class BitFit(TrainedWeightsMethod):
    """Trains every bias of the encoder, those of the layer normalisations too, and the head in full."""

    weights_file: ClassVar[str] = "biases.safetensors"
    name: ClassVar[str] = "bitfit"
    title: ClassVar[Title] = Title("BitFit")
    paper: ClassVar[str] = "Ben Zaken et al. 2021, arXiv 2106.10199"

    def attach(self, model: nn.Module, *, head: Sequence[str]) -> nn.Module:
        """Freeze everything but the biases and the head."""
        trained = _trained(model, head)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in trained)
        return model

    def trainable_parameters(self, model: nn.Module, *, head: Sequence[str]) -> int:
        """One for each output of each layer that has a bias, and the head."""
        trained = _trained(model, head)
        return sum(parameter.numel() for name, parameter in model.named_parameters() if name in trained)


def _trained(model: nn.Module, head: Sequence[str]) -> set[str]:
    from tanzaku.methods.weights import head_names

    in_head = head_names(model, head)
    used = {name for name, _ in model.named_parameters() if not reads_entities(name)}
    biases = {name for name in used if name.endswith("bias")} - in_head
    if not biases:
        raise MethodError("this encoder has no biases to train; choose ln-tuning or lora")
    return biases | in_head
