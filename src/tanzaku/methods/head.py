"""The head alone: the encoder stays as it was pretrained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tanzaku.methods.interface import EncoderMethod

if TYPE_CHECKING:
    from torch import nn

_FILE = "head.safetensors"


class Head(EncoderMethod):
    """Trains the modules that the checkpoint lacks (linear probing), and nothing else."""

    paper: ClassVar[str] = "Alain and Bengio 2016, arXiv 1610.01644"
    settings_without_effect: ClassVar[tuple[str, ...]] = ("head_learning_rate",)

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

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the head's weights as `head.safetensors`."""
        from tanzaku.methods.weights import save_trainable

        save_trainable(model, folder / _FILE)

    def load(self, model: nn.Module, folder: Path, *, head: Sequence[str]) -> nn.Module:
        """Put the saved head onto `model`."""
        from tanzaku.methods.weights import head_names, load_weights

        return load_weights(model, folder / _FILE, expected=head_names(model, head))

    def merge(self, model: nn.Module) -> nn.Module:
        """The model is plain already."""
        return model
