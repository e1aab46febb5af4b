"""How fast this machine multiplies matrices: the limit that a training step is held against."""

import time
from typing import Literal

import torch

from benchmarks.models import device, synchronize
from benchmarks.scale import Shape

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
_REPETITIONS = 5


def product_gflops(shape: Shape, precision: Precision, *, rows: int) -> float:
    """10⁹ operations a second of the feed-forward part's product: (rows, hidden) by (hidden, intermediate).

    These are the largest products of a layer, so no step can do better on the whole. The first product is not counted,
    the fastest of five is.
    """
    dtype = getattr(torch, precision)
    one = torch.randn(rows, shape.hidden, dtype=torch.float32).to(device(), dtype)
    other = torch.randn(shape.hidden, shape.intermediate, dtype=torch.float32).to(device(), dtype)
    fastest = float("inf")
    for repetition in range(1 + _REPETITIONS):
        synchronize()
        began = time.perf_counter()
        torch.mm(one, other)  # (rows, intermediate)
        synchronize()
        if repetition:
            fastest = min(fastest, time.perf_counter() - began)
    return 2 * rows * shape.hidden * shape.intermediate / fastest / 1e9
