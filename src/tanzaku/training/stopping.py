"""Early stopping as the thesis's scripts have it."""

import math
from dataclasses import dataclass


@dataclass
class EarlyStopping:
    """Watches the validation loss; counts as `transformers.EarlyStoppingCallback` does.

    The best loss follows every fall, however small; the count of epochs without improvement goes back to 0 only where
    the loss falls by more than `threshold` below the best so far. A loss that is not a number improves nothing.

    Args:
        patience: Stop after so many evaluations without improvement; None never stops.
        threshold: The fall that counts, in units of the loss.
    """

    patience: int | None
    threshold: float = 0.0
    best_loss: float = math.inf
    best_epoch: int | None = None
    epochs_without_improvement: int = 0

    def update(self, loss: float, *, epoch: int) -> bool:
        """Take in an epoch's validation loss; True where it is the best so far."""
        improves = self.best_epoch is None or (loss < self.best_loss and self.best_loss - loss > self.threshold)
        self.epochs_without_improvement = 0 if improves else self.epochs_without_improvement + 1
        if not loss < self.best_loss:
            return False
        self.best_loss, self.best_epoch = loss, epoch
        return True

    @property
    def should_stop(self) -> bool:
        """Whether patience is used up."""
        return self.patience is not None and self.epochs_without_improvement >= self.patience
