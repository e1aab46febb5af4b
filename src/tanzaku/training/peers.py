"""Several processes that train one model together, each on its share of every batch (data parallelism).

Each process has the whole model. Gradients are summed over the processes, with each share's part of the mean, so that
all take the step that one process would take with the whole batch. What is not arithmetic, such as writing checkpoints,
is done by the first process.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed

# Longer than anything that only one process does while the others wait, such as writing a checkpoint.
_TIMEOUT = timedelta(minutes=15)


@dataclass(frozen=True)
class Share:
    """A process's documents of a batch. Where there are fewer documents than processes, some count for nothing, and
    only keep the processes in step."""

    documents: np.ndarray
    counts: bool = True


@dataclass(frozen=True)
class Peers:
    """This process among those that train together; with one process, which is the default, nothing is exchanged.

    Args:
        number: This process's number, from 0.
        count: How many there are.
    """

    number: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes what is written."""
        return self.number == 0

    def share(self, documents: np.ndarray) -> Share:
        """This process's part of a batch's documents; the parts are consecutive."""
        mine = np.array_split(documents, self.count)[self.number]
        return Share(mine) if len(mine) else Share(documents[:1], counts=False)

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace the gradients by their sums over the processes."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for dtype in dict.fromkeys(gradient.dtype for gradient in gradients):
            alike = [gradient for gradient in gradients if gradient.dtype == dtype]
            together = torch.cat([gradient.reshape(-1) for gradient in alike])
            distributed.all_reduce(together)
            for gradient, added in zip(alike, together.split([one.numel() for one in alike]), strict=True):
                gradient.copy_(added.view_as(gradient))

    def add(self, value: float) -> float:
        """The sum of the processes' values."""
        if self.count == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        distributed.all_reduce(total)
        return float(total)

    def any(self, *wishes: bool) -> tuple[bool, ...]:
        """For each wish, whether any process has it: all must do the same."""
        if self.count == 1:
            return wishes
        flags = torch.tensor(wishes, dtype=torch.int32)
        distributed.all_reduce(flags, op=distributed.ReduceOp.MAX)
        return tuple(bool(flag) for flag in flags.tolist())

    def copy_from_first(self, tensors: Sequence[Tensor]) -> None:
        """Give the tensors of all processes the values of the first one's."""
        if self.count > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def collect(self, mine: Any) -> list[Any]:
        """What each process has, in the order of their numbers, on all of them. For small things: it is pickled between
        the processes."""
        if self.count == 1:
            return [mine]
        everything: list[Any] = [None] * self.count
        distributed.all_gather_object(everything, mine)
        return everything

    def with_all_states(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This process's random states under their names, and those of the others under names with their numbers."""
        first, *others = self.collect(dict(tensors))
        named = {
            f"{name}.{number}": tensor for number, state in enumerate(others, start=1) for name, tensor in state.items()
        }
        return {**first, **named}

    def own_states(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This process's random states among those of all, under their usual names; fewer where it has none there."""
        if self.is_first:
            return dict(tensors)
        end = f".{self.number}"
        return {name.removesuffix(end): tensor for name, tensor in tensors.items() if name.endswith(end)}


@contextmanager
def joined(number: int, count: int, *, store: Path) -> Iterator[Peers]:
    """Join the processes of one training, over NCCL for tensors on GPUs and Gloo for others.

    Args:
        number: This process's number. It uses the GPU of this number, where there are GPUs.
        count: How many processes join.
        store: A file, not there yet, through which they find each other on this machine.
    """
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        torch.cuda.set_device(number)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if has_gpu else "gloo",
        init_method=f"file://{store.absolute()}",
        rank=number,
        world_size=count,
        timeout=_TIMEOUT,
    )
    try:
        yield Peers(number, count)
    finally:
        distributed.destroy_process_group()
