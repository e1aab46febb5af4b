"""The bottleneck adapter (Houlsby et al. 2019, arXiv 1902.00751, section 2.1): h' = h + A f(B h)."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Activation = Literal["relu", "gelu", "tanh", "silu"]
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "tanh": torch.tanh,
    "silu": functional.silu,
}


class BottleneckLinear(nn.Module):
    """A linear layer with a bottleneck adapter on its output h: h + A f(B h), A and B with biases.

    A begins at zero, so that the adapter at first is the identity (the paper: nearly so), and B as PyTorch begins
    linear layers.

    Args:
        base_layer: The layer that gives h, on its device.
        width: Of B h.
        activation: f.
    """

    def __init__(self, base_layer: nn.Linear, *, width: int, activation: Activation) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.activation: Activation = activation
        hidden = base_layer.out_features
        # Drawn on the CPU, whatever the device: the seed alone decides.
        self.down = nn.Linear(hidden, width)
        self.up = nn.Linear(width, hidden)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.down.to(base_layer.weight.device)
        self.up.to(base_layer.weight.device)

    def forward(self, x: Tensor) -> Tensor:
        """(…, inputs) to (…, outputs)."""
        hidden: Tensor = self.base_layer(x)
        change: Tensor = self.up(ACTIVATIONS[self.activation](self.down(hidden)))
        return hidden + change
