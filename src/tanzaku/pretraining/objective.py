"""What the loop asks of whatever is learned: a loss for each step, and measures of held-out text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from tanzaku.pretraining.batches import PackedBatches
from tanzaku.training.events import Measure


@dataclass(frozen=True)
class HeldOut:
    """What an evaluation measured: the loss, and other numbers under the names that the record has for them."""

    loss: float
    measures: Mapping[str, Measure]


class Objective(Protocol):
    """One way of learning from unlabelled text."""

    @property
    def model(self) -> nn.Module:
        """All that is trained; checkpoints hold its trainable parameters."""
        ...

    @property
    def batches(self) -> PackedBatches:
        """The text."""
        ...

    def loss(self, step: int) -> Tensor:
        """The loss, (), of a step's batch; steps are counted from 0, and the same step gives the same loss."""
        ...

    def evaluate(self) -> HeldOut:
        """Measure the held-out text; called in evaluation mode and without gradients."""
        ...
