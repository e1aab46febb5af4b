"""The resident memory of a training, after its first steps and at its end.

    python -m benchmarks.growth LENGTHS.json SCALE

trains the small encoder with all its weights for two epochs of documents of these lengths (`benchmarks.epoch`), with
the evaluation that ends each, and prints both numbers of bytes.
"""

import sys
from pathlib import Path

import psutil

from benchmarks.apart import said_by
from benchmarks.epoch import EpochLengths, random_documents
from benchmarks.ours import DEFAULT_SETTINGS, build_ours
from benchmarks.scale import BATCH_SIZE, scale_named
from tanzaku.study.spec import TrainingSpec
from tanzaku.training.events import StepDone
from tanzaku.training.loop import Training
from tanzaku.training.optimizer import build_adamw
from tanzaku.training.stopping import EarlyStopping

EPOCHS = 2
FIRST_STEPS = 100


def growth(lengths: Path, scale: str) -> tuple[int, int]:
    """The bytes after `FIRST_STEPS` and after `EPOCHS`, in a process of its own."""
    first, last = said_by("benchmarks.growth", str(lengths), scale).split()
    return int(first), int(last)


def _measure(file: Path, scale_name: str) -> tuple[int, int]:
    scale, lengths = scale_named(scale_name), EpochLengths.read(file)
    shape, most = scale.mini, scale.max_tokens
    ours = build_ours(shape, "full", DEFAULT_SETTINGS, max_tokens=most)
    training = Training(
        model=ours.model,
        train=random_documents(lengths.train, vocabulary=shape.vocabulary, max_tokens=most),
        val=random_documents(lengths.val, vocabulary=shape.vocabulary, max_tokens=most),
        optimizer=build_adamw(ours.model, learning_rate=1e-4),
        stopping=EarlyStopping(None),
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        eval_batch_size=TrainingSpec.model_fields["eval_batch_size"].default,
        max_grad_norm=1.0,
        seed=0,
        log_steps=10,
        forward=ours.forward,
    )
    process, first = psutil.Process(), 0
    for event in training.run():
        if isinstance(event, StepDone) and event.step <= FIRST_STEPS:  # fewer documents have fewer steps
            first = process.memory_info().rss
    return first, process.memory_info().rss


if __name__ == "__main__":
    print(*_measure(Path(sys.argv[1]), sys.argv[2]))
