"""What watches the counted steps: the seconds, and where they go."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from benchmarks.models import synchronize

OTHER = "everything else"
# PyTorch's operations by what they are for; a name counts where it contains one of these, the first kind first.
KINDS: dict[str, tuple[str, ...]] = {
    "attention": ("bmm", "softmax", "scaled_dot_product"),
    "products with weights": ("::mm", "::addmm", "mkldnn_linear", "_linear_pointwise"),
    "GELU": ("gelu", "::erf"),
    "normalisation": ("layer_norm",),
    "dropout": ("dropout", "bernoulli", "random_"),
    "optimiser": ("fused_adamw", "_foreach", "clip_grad", "linalg_vector_norm"),
    "copies and casts": ("copy_", "::cat", "index", "embedding", "gather", "clone", "fill_", "zero_", "pad"),
}


def _linear_flops(x: Sequence[int], weight: Sequence[int], *_: object, **__: object) -> int:
    """Of x Wᵀ, in two for each product, as PyTorch's own formulas; the arguments are shapes."""
    return 2 * prod(x) * weight[0]


def _attention_flops(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: object, **__: object) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward_flops(
    grad: Sequence[int], query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: object, **__: object
) -> int:
    return int(sdpa_backward_flop_count(grad, query, key, value))


# Operations of whose arithmetic PyTorch knows nothing: oneDNN's product with a bias, where it has oneDNN, and fused
# attention on a CPU.
_FLOPS = {
    operation: _linear_flops for operation in (getattr(torch.ops.mkldnn, "_linear_pointwise", None),) if operation
} | {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
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
    """Counts the seconds of each operation too; the profiler itself takes some of them."""

    def __init__(self) -> None:
        super().__init__()
        # Asked for shapes or arithmetic, it would keep every step's tensors.
        self._profile = profile(
            activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
        )

    def begin(self) -> None:
        """The warm-up is over."""
        self._profile.start()
        super().begin()

    def end(self) -> None:
        """The last counted step is done."""
        super().end()
        self._profile.stop()

    def own_seconds(self) -> dict[str, float]:
        """By operation (`aten::mm`): the seconds between `begin` and `end` in it, and in nothing that it called."""
        on_gpu = torch.cuda.is_available()
        return {
            one.key: (one.self_device_time_total if on_gpu else one.self_cpu_time_total) / 1e6
            for one in self._profile.key_averages()
            if one.device_type.name == "CPU"  # a GPU's kernels come again by themselves
        }


class CountingClock(Clock):
    """Counts the arithmetic of each operation instead, which makes all of it much slower."""

    def __init__(self) -> None:
        super().__init__()
        self._counter = FlopCounterMode(display=False, custom_mapping=_FLOPS)

    def begin(self) -> None:
        """The warm-up is over."""
        super().begin()
        self._counter.__enter__()

    def end(self) -> None:
        """The last counted step is done."""
        self._counter.__exit__(None, None, None)
        super().end()

    def flops(self) -> dict[str, float]:
        """By operation, such as `aten::mm`: the operations on numbers between `begin` and `end`, of products alone."""
        counted = self._counter.get_flop_counts().get("Global", {})
        return {str(operation).replace(".", "::"): float(count) for operation, count in counted.items()}


def kinds_of(seconds: Mapping[str, float], flops: Mapping[str, float]) -> list[dict[str, Any]]:
    """For each kind of operation, its `share` of all these seconds, and its `gflops` where the arithmetic is known.

    All seconds are those in PyTorch's operations; what Python and NumPy do between them is not among them. The
    arithmetic is known of matrix products. So the attention's speed is that of its products over the time that they
    take, without the softmax, or that of a fused kernel.
    """
    spent: dict[str, float] = defaultdict(float)
    counted: dict[str, float] = defaultdict(float)
    counted_seconds: dict[str, float] = defaultdict(float)  # of the operations whose arithmetic is known
    for operation, own in seconds.items():
        kind = next((kind for kind, parts in KINDS.items() if any(part in operation for part in parts)), OTHER)
        spent[kind] += own
        if operation in flops:
            counted[kind] += flops[operation]
            counted_seconds[kind] += own
    total = sum(spent.values())
    return [
        {
            "kind": kind,
            "share": spent[kind] / total,
            "gflops": counted[kind] / counted_seconds[kind] / 1e9 if counted_seconds[kind] else None,
        }
        for kind in (*KINDS, OTHER)
        if spent[kind]
    ]
