"""How the learning rate moves over fine-tuning and pretraining: shapes that are known before, and one that follows the
validation loss."""

import math
from dataclasses import dataclass
from typing import Any, Literal

ScheduleName = Literal["linear", "cosine", "constant", "wsd", "plateau"]


@dataclass(frozen=True)
class Schedule:
    """The factor on every learning rate during training; the shapes are those of `transformers.optimization`.

    All rise linearly from 0 over the warm-up. Then `linear` and `cosine` (half a period) fall to 0 at the end,
    `constant` stays at 1, and so does `plateau`, which `Plateau` reduces. `wsd` (warm-up, stable, decay) stays at 1 and
    falls in its last part to 0, along one minus the square root of the part that is over (Hägele et al. 2024, arXiv
    2405.18392, section 3).

    Args:
        name: The shape.
        warmup: Share of all steps over which the rate rises; rounded up to whole steps, as `Trainer` does.
        decay: Share of all steps over which `wsd` falls; rounded up too.
    """

    name: ScheduleName = "linear"
    warmup: float = 0.0
    decay: float = 0.0

    def factor(self, step: int, *, total_steps: int) -> float:
        """The factor at `step`, from 0 for the first to `total_steps` after the last."""
        warmup_steps = math.ceil(self.warmup * total_steps)
        decay_steps = min(math.ceil(self.decay * total_steps), total_steps - warmup_steps)
        return self._factor(step, total=total_steps, warmup=warmup_steps, decay=decay_steps)

    def factor_at(self, progress: float) -> float:
        """The factor where the share `progress` of a budget is spent, which may be time; nothing is rounded."""
        return self._factor(progress, total=1.0, warmup=self.warmup, decay=min(self.decay, 1.0 - self.warmup))

    def _factor(self, done: float, *, total: float, warmup: float, decay: float) -> float:
        if done < warmup:
            return done / warmup
        match self.name:
            case "linear":
                return 0.0 if done >= total else (total - done) / (total - warmup)
            case "cosine":
                return 0.5 * (1.0 + math.cos(math.pi * _share(done - warmup, total - warmup)))
            case "wsd":
                return 1.0 - math.sqrt(_share(done - (total - decay), decay))
            case "constant" | "plateau":
                return 1.0


def _share(done: float, of: float) -> float:
    return 1.0 if done >= of else max(0, done) / of


@dataclass
class Plateau:
    """Reduces the rate where the validation loss stands still; counts as `torch.optim.lr_scheduler.ReduceLROnPlateau`.

    An evaluation improves where its loss is lower than the best by more than `threshold`, and only such a loss is the
    new best. After more than `patience` evaluations in a row without improvement the rate is multiplied by `factor`,
    and the count begins again. What is not an argument is state, and JSON-able.

    Args:
        factor: On the rate, at each reduction.
        patience: Evaluations without improvement that are borne.
        threshold: The fall that counts, in units of the loss (PyTorch's `threshold_mode="abs"`).
    """

    factor: float
    patience: int
    threshold: float = 0.0
    reduction: float = 1.0
    best_loss: float | None = None
    evaluations_without_improvement: int = 0

    def update(self, loss: float) -> None:
        """Take in an evaluation's loss; `reduction` is the factor on the rate from now on."""
        if self.best_loss is None or loss < self.best_loss - self.threshold:
            self.best_loss = loss
            self.evaluations_without_improvement = 0
        else:
            self.evaluations_without_improvement += 1
        if self.evaluations_without_improvement > self.patience:
            self.reduction *= self.factor
            self.evaluations_without_improvement = 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {name: getattr(self, name) for name in _PLATEAU_STATE}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        for name in _PLATEAU_STATE:
            setattr(self, name, state[name])


_PLATEAU_STATE = ("reduction", "best_loss", "evaluations_without_improvement")
