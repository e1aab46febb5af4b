"""How the learning rate rises and falls over the budget, be it steps or time."""

import math
from typing import Literal


def learning_rate_factor(progress: float, *, warmup: float, schedule: Literal["linear", "cosine"]) -> float:
    """The factor on the learning rate: from 0 up to 1 while `progress` is below `warmup`, then down to 0 at 1.

    Args:
        progress: The share of the budget that is spent, from 0 to 1.
        warmup: The share in which the rate rises, from 0 up to (not including) 1.
        schedule: The line or the half cosine that it falls along.
    """
    if progress < warmup:
        return progress / warmup
    fallen = min(1.0, (progress - warmup) / (1.0 - warmup))
    return 1.0 - fallen if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * fallen))
