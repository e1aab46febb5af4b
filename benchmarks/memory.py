"""Peak memory, each side in a process of its own.

    python -m benchmarks.memory SCALE SIDE

measures one side and prints its bytes. A process that lives on keeps what the side before it took, so each has a fresh
one. Counted is what the side needs beyond the interpreter and its libraries: the largest resident memory of the
process, less its resident memory after all imports and before the model is made. Training on a GPU is counted there:
the most that PyTorch held.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

from benchmarks.apart import said_by
from benchmarks.documents import step_documents
from benchmarks.ours import DEFAULT_SETTINGS, step_seconds
from benchmarks.scale import SCALES, Scale, scale_named
from benchmarks.streaming import stream_texts
from benchmarks.trainers import trainer_seconds
from tanzaku.measure.cost import peak_gpu_memory_bytes, peak_memory_bytes

_STATUS = Path("/proc/self/status")
# All batches of the rival are of one shape, and its optimiser has its state after the first step: a second one shows
# the peak. Tanzaku's batches are of many shapes, so its peak is that of a whole epoch.
_TRAINER_STEPS = 2


def peak_bytes(scale: Scale, side: str) -> int:
    """The peak of a side of `SIDES`, in bytes, measured in a new process.

    Raises:
        RuntimeError: The process failed; the message ends with what it said.
    """
    return int(said_by("benchmarks.memory", scale.name, side))


def _train_trainer(scale: Scale) -> None:
    documents = step_documents(_TRAINER_STEPS, max_tokens=scale.max_tokens, vocabulary=scale.base.vocabulary)
    trainer_seconds(scale.base, "lora", documents, max_tokens=scale.max_tokens)


def _train_ours(scale: Scale) -> None:
    documents = step_documents(scale.memory_steps, max_tokens=scale.max_tokens, vocabulary=scale.base.vocabulary)
    step_seconds(scale.base, "lora", documents, settings=DEFAULT_SETTINGS, max_tokens=scale.max_tokens)


SIDES: dict[str, Callable[[Scale], None]] = {
    "train_memory_trainer": _train_trainer,
    "train_memory_tanzaku": _train_ours,
    "classify_memory_ten_thousand": lambda scale: stream_texts(scale.streamed[0]),
    "classify_memory_million": lambda scale: stream_texts(scale.streamed[1]),
}


def _highest_resident_bytes() -> int:
    """The process's largest resident memory so far.

    Linux's own count for this program: `getrusage` also counts the parent's memory at the moment of the fork.
    """
    if _STATUS.is_file():
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = peak_memory_bytes()
    assert peak is not None, "this system does not say how much memory a process took"
    return peak


def _measure(scale: Scale, side: str) -> int:
    before: int = psutil.Process().memory_info().rss
    SIDES[side](scale)
    if torch.cuda.is_available() and side.startswith("train"):
        return peak_gpu_memory_bytes() or 0
    return max(1, _highest_resident_bytes() - before)


if __name__ == "__main__":
    assert sys.argv[1] in SCALES
    print(_measure(scale_named(sys.argv[1]), sys.argv[2]))
