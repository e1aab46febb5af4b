"""The best epoch, and early stopping as the thesis's scripts have it."""

import math
from dataclasses import dataclass
from typing import Any, Literal

BestBy = Literal["loss", "accuracy"]


def epoch_key(*, loss: float, accuracy: float, best_by: BestBy) -> tuple[float, float]:
    """What the best epoch has the least of, and what decides between epochs that are equal in it.

    By loss that is the validation loss alone, as `Trainer` has it; by accuracy the share of wrong answers, then the
    loss.
    """
    return (loss, 0.0) if best_by == "loss" else (1.0 - accuracy, loss)


@dataclass
class EarlyStopping:
    """Watches a value that should fall, such as the validation loss; counts as `transformers.EarlyStoppingCallback`.

    The best value follows every fall, however small; the count of epochs without improvement goes back to 0 only where
    the value falls by more than `threshold` below the best so far. One that is not a number improves nothing.

    Args:
        patience: Stop after so many evaluations without improvement; None never stops.
        threshold: The fall that counts, in units of the value.
    """

    patience: int | None
    threshold: float = 0.0
    best_value: float = math.inf
    best_tie: float = math.inf
    best_epoch: int | None = None
    epochs_without_improvement: int = 0

    def update(self, value: float, tie: float = 0.0, *, epoch: int) -> bool:
        """Take in what `epoch_key` says of an epoch; True where it is the best so far."""
        improves = self.best_epoch is None or (value < self.best_value and self.best_value - value > self.threshold)
        self.epochs_without_improvement = 0 if improves else self.epochs_without_improvement + 1
        if not (value, tie) < (self.best_value, self.best_tie):
            return False
        self.best_value, self.best_tie, self.best_epoch = value, tie, epoch
        return True

    @property
    def should_stop(self) -> bool:
        """Whether patience is used up."""
        return self.patience is not None and self.epochs_without_improvement >= self.patience

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps; JSON has no infinity, which stands before the first epoch, so it is None."""
        values = {name: getattr(self, name) for name in _STATE}
        return {name: None if value == math.inf else value for name, value in values.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        for name in _STATE:
            infinite = state[name] is None and name in ("best_value", "best_tie")
            setattr(self, name, math.inf if infinite else state[name])


_STATE = ("best_value", "best_tie", "best_epoch", "epochs_without_improvement")
