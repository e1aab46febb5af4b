"""A complete method, as in a package of its own: test_contributed.py uses it without changing Tanzaku."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from tanzaku.errors import MethodError
from tanzaku.methods import OptionLabel, Title, TrainedWeightsMethod

if TYPE_CHECKING:
    from torch import nn


class LastBiases(TrainedWeightsMethod):
    """Trains the biases of the encoder's last layers, and the head in full."""

    name: ClassVar[str] = "last-biases"
    title: ClassVar[Title] = Title("Last biases", ja="最後のバイアス", short="Biases")
    paper: ClassVar[str] = "after Ben Zaken et al. 2021, arXiv 2106.10199"
    weights_file: ClassVar[str] = "last_biases.safetensors"

    layers: Annotated[
        int,
        Field(ge=1, description="How many layers, counted from the last."),
        OptionLabel("last {value}", ja="最後の {value} 層"),
    ] = 1

    def attach(self, model: nn.Module, *, head: Sequence[str]) -> nn.Module:
        """Freeze everything but these biases and the head."""
        trained = self._trained(model, head)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in trained)
        return model

    def trainable_parameters(self, model: nn.Module, *, head: Sequence[str]) -> int:
        """One for each output of each layer that has a bias, and the head."""
        trained = self._trained(model, head)
        return sum(parameter.numel() for name, parameter in model.named_parameters() if name in trained)

    def _trained(self, model: nn.Module, head: Sequence[str]) -> set[str]:
        from tanzaku.methods.targets import place_of
        from tanzaku.methods.weights import head_names

        places = {name: place_of(name) for name, _ in model.named_parameters()}
        layers = sorted({place.number for place in places.values() if place})
        if len(layers) < self.layers:
            raise MethodError(f"layers = {self.layers}: this encoder has {len(layers)}; choose at most so many")
        last = layers[-self.layers :]
        biases = {
            name for name, place in places.items() if place and place.number in last and place.inside.endswith("bias")
        }
        return biases | head_names(model, head)
