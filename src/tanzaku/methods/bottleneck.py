"""Bottleneck adapters: small networks after some of the encoder's frozen layers. PEFT has none, so these are ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from tanzaku.methods.trained_weights import TrainedWeightsMethod

if TYPE_CHECKING:
    from torch import nn

    from tanzaku.methods.layers import Part


class BottleneckAdapters(TrainedWeightsMethod):
    """What `houlsby` and `pfeiffer` share; they differ in their places and defaults.

    An adapter stands on the output of a layer's linear map, before dropout, residual and normalisation. It is not
    linear, so it can't be merged into the map's weights.
    """

    weights_file: ClassVar[str] = "adapters.safetensors"
    mergeable: ClassVar[bool] = False
    parts: ClassVar[tuple[Part, ...]]  # which outputs of a layer have an adapter

    width: Annotated[int, Field(ge=1, description="Of the bottleneck B h.")]
    activation: Annotated[
        Literal["relu", "gelu", "tanh", "silu"], Field(description="The function f of the adapter h + A f(B h).")
    ]
    norms: Annotated[bool, Field(description="Whether the encoder's layer normalisations are trained too.")]

    def attach(self, model: nn.Module, *, head: Sequence[str]) -> nn.Module:
        """Put an adapter onto each layer's outputs, and freeze everything else but the head."""
        from tanzaku.encoders.bottleneck import BottleneckLinear
        from tanzaku.methods.layers import layer_norms, linear_layers

        places = linear_layers(model, self.parts)
        norms = layer_norms(model, head).values() if self.norms else ()
        model.requires_grad_(False)
        for place, layer in places.items():
            model.set_submodule(place, BottleneckLinear(layer, width=self.width, activation=self.activation))
        for module in (*norms, *(model.get_submodule(name) for name in head)):
            module.requires_grad_(True)
        return model

    def trainable_parameters(self, model: nn.Module, *, head: Sequence[str]) -> int:
        """2md + d + m for each adapter of width m on d outputs (section 2.1), the normalisations, and the head."""
        from tanzaku.methods.layers import layer_norms, linear_layers
        from tanzaku.methods.weights import head_parameters

        outputs = [layer.out_features for layer in linear_layers(model, self.parts).values()]
        adapters = sum(2 * self.width * size + size + self.width for size in outputs)
        norms = layer_norms(model, head).values() if self.norms else ()
        return adapters + sum(p.numel() for norm in norms for p in norm.parameters()) + head_parameters(model, head)
