"""What the methods share that save their trained weights by name, for PEFT does not have them."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tanzaku.methods.interface import EncoderMethod

if TYPE_CHECKING:
    from torch import nn


class TrainedWeightsMethod(EncoderMethod, ABC):
    """A method that saves the parameters that `attach` left trainable, those of the head among them."""

    weights_file: ClassVar[str]

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the trained weights as one safetensors file."""
        from tanzaku.methods.weights import save_trainable

        save_trainable(model, folder / self.weights_file)

    def load(self, model: nn.Module, folder: Path, *, head: Sequence[str]) -> nn.Module:
        """Attach to `model`, and fill what is trained with what was saved."""
        from tanzaku.methods.weights import load_weights

        adapted = self.attach(model, head=head)
        trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
        return load_weights(adapted, folder / self.weights_file, expected=trained)

    def merge(self, model: nn.Module) -> nn.Module:
        """The model as it is: plain already, or not mergeable."""
        return model
