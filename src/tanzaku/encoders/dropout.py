"""Dropout (Srivastava et al. 2014) that costs little on a CPU.

PyTorch draws one number of the Mersenne Twister for each element there, which took a third of a small encoder's step.
Here every element gets 16 bits of a faster generator, so a probability is met to within 1/131,072, and the kept
elements are scaled by the probability that is really used. GPUs keep PyTorch's own.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_LEVELS = 1 << 16
_ELEMENTS_A_DRAW = 4  # 16 bits of 64


def draw_seed() -> int:
    """A seed for `kept`, from PyTorch's generator: seeding that, or restoring its state, repeats all dropout."""
    return int(torch.randint(torch.iinfo(torch.int64).max, ()).item())


def kept(shape: tuple[int, ...] | torch.Size, *, probability: float, dtype: torch.dtype, seed: int) -> Tensor:
    """What to multiply with, of this shape and dtype on the CPU: 0 with `probability`, else 1 / (1 - probability)."""
    count = int(np.prod(shape))
    levels = min(_LEVELS, max(1, round((1 - probability) * _LEVELS)))  # of the 65,536 values, so many keep
    generator = np.random.Generator(np.random.SFC64(seed))
    draws = generator.integers(0, 1 << 64, size=-(-count // _ELEMENTS_A_DRAW), dtype=np.uint64, endpoint=False)
    values = torch.from_numpy(draws.view(np.int16)[:count])
    if levels == _LEVELS:
        return torch.ones(shape, dtype=dtype)
    mask = values < levels - _LEVELS // 2  # the values lie around 0
    return mask.to(dtype).mul_(_LEVELS / levels).view(shape)


def dropout(x: Tensor, *, probability: float, training: bool) -> Tensor:
    """`x` with elements set to 0 with `probability` and the others scaled up; `x` itself outside training."""
    if not training or probability == 0:
        return x
    if x.device.type != "cpu":
        return functional.dropout(x, probability)
    return x * kept(x.shape, probability=probability, dtype=x.dtype, seed=draw_seed())
