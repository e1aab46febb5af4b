"""The best epoch, and early stopping as the thesis's scripts have it."""

import math
from dataclasses import dataclass
from typing import Any, Literal

BestBy = Literal["loss", "accuracy"]
_ROUNDING = 1e-9  # 0.24 is above 0.2 + 0.04 in floating point


def watched_value(*, loss: float, accuracy: float, best_by: BestBy) -> float:
    """What of the validation set should fall: its loss, or the share of its documents that are classified wrongly."""
    return loss if best_by == "loss" else 1.0 - accuracy


@dataclass
class EarlyStopping:
    """Watches a value that should fall, such as the validation loss; counts as `transformers.EarlyStoppingCallback`.

    The best value follows every fall, however small; the count of epochs without improvement goes back to 0 only where
    the value falls by more than `threshold` below the best so far. One that is not a number improves nothing.

    By loss the best epoch is the one with the best value. By accuracy it is the latest whose value is at most one
    standard error above the best: with 100 documents, the accuracies of two epochs often differ by chance, and weights
    that were trained for longer, at a learning rate that has fallen further, tend to be better. This is the rule of one
    standard error (Breiman et al. 1984, section 3.4.3), with the latest epoch in the place of the simplest model.

    Args:
        patience: Stop after so many evaluations without improvement; None never stops.
        threshold: The fall that counts, in units of the value.
    """

    patience: int | None
    threshold: float = 0.0
    best_value: float = math.inf
    best_epoch: int | None = None
    epochs_without_improvement: int = 0

    def update(self, value: float, *, epoch: int, documents: int | None = None) -> bool:
        """Take in the value after an epoch; True where it is the best epoch so far.

        Args:
            value: What `watched_value` gives.
            epoch: Its number.
            documents: The value is the share of wrong answers among so many; None where it is a loss.
        """
        improves = self.best_epoch is None or (value < self.best_value and self.best_value - value > self.threshold)
        self.epochs_without_improvement = 0 if improves else self.epochs_without_improvement + 1
        falls = value < self.best_value
        if falls:
            self.best_value = value
        best = falls if documents is None else value <= self.best_value + _error(self.best_value, documents) + _ROUNDING
        if best:
            self.best_epoch = epoch
        return best

    @property
    def should_stop(self) -> bool:
        """Whether patience is used up."""
        return self.patience is not None and self.epochs_without_improvement >= self.patience

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps; JSON has no infinity, which stands before the first epoch, so it is None."""
        return {
            "best_value": None if self.best_value == math.inf else self.best_value,
            "best_epoch": self.best_epoch,
            "epochs_without_improvement": self.epochs_without_improvement,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self.best_value = math.inf if state["best_value"] is None else state["best_value"]
        self.best_epoch = state["best_epoch"]
        self.epochs_without_improvement = state["epochs_without_improvement"]


def _error(share: float, documents: int) -> float:
    return math.sqrt(share * (1.0 - share) / documents)
