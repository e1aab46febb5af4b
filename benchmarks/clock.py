"""What watches the counted steps: the seconds, and where they go."""

import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.models import synchronize

OTHER = "everything else"
# PyTorch's operations by what they are for; a name counts where it contains one of these, the first kind first.
KINDS: dict[str, tuple[str, ...]] = {
    "attention": ("bmm", "softmax", "scaled_dot_product", "baddbmm"),
    "products with weights": ("::mm", "::addmm", "mkldnn_linear"),
    "GELU": ("gelu", "::erf"),
    "normalisation": ("layer_norm",),
    "dropout": ("dropout", "bernoulli", "random_"),
    "optimiser": ("fused_adamw", "_foreach", "clip_grad", "linalg_vector_norm"),
    "copies and casts": ("copy_", "::cat", "index", "embedding", "gather", "clone", "fill_", "zero_", "pad"),
}


class Clock:
    """Seconds between `begin` and `end`, the work of a GPU included."""

    def __init__(self) -> None:
        self._began = 0.0
        self.seconds = 0.0

    def begin(self) -> None:
        """The warm-up is over."""
        synchronize()
        self._began = time.perf_counter()

    def end(self) -> None:
        """The last counted step is done."""
        synchronize()
        self.seconds = time.perf_counter() - self._began


class ProfilingClock(Clock):
    """Counts the seconds of each kind of operation too; the profiler itself takes some of them."""

    def __init__(self) -> None:
        super().__init__()
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
        self._profile = profile(activities=activities, with_flops=True)

    def begin(self) -> None:
        """The warm-up is over."""
        self._profile.start()
        super().begin()

    def end(self) -> None:
        """The last counted step is done."""
        super().end()
        self._profile.stop()

    def kinds(self) -> list[dict[str, Any]]:
        """`kinds_of` the operations between `begin` and `end`."""
        return kinds_of(self._profile.key_averages(), on_gpu=torch.cuda.is_available())


def kinds_of(operations: Iterable[Any], *, on_gpu: bool) -> list[dict[str, Any]]:
    """For each kind, its `share` of all operations' own time, and its `gflops` where PyTorch counts the arithmetic.

    That is known of matrix products alone. So the attention's speed is that of its products over the time that they
    take, without the softmax; inside a fused kernel nothing is counted.
    """
    seconds: dict[str, float] = defaultdict(float)
    flops: dict[str, float] = defaultdict(float)
    counted: dict[str, float] = defaultdict(float)  # seconds of the operations whose arithmetic is known
    for one in operations:
        kind = next((kind for kind, parts in KINDS.items() if any(part in one.key for part in parts)), OTHER)
        own = (one.self_device_time_total if on_gpu else one.self_cpu_time_total) / 1e6
        seconds[kind] += own
        if one.flops and one.key.endswith("mm"):  # PyTorch counts a few element-wise operations too
            flops[kind] += one.flops
            counted[kind] += own
    total = sum(seconds.values())
    return [
        {
            "kind": kind,
            "share": seconds[kind] / total,
            "gflops": flops[kind] / counted[kind] / 1e9 if counted[kind] else None,
        }
        for kind in (*KINDS, OTHER)
        if seconds[kind]
    ]
