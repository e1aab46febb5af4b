"""Seconds a step of LoRA on all linear layers, for the checkout that it is run in.

    python -P benchmarks/step_alone.py LENGTHS.json SHAPE.json STEPS [ATTENTION_STEP BATCH_PARTS]

`benchmarks.machine` runs this file with the package and the benchmarks of an older commit before it on the path, to
compare the two: so it may use only what both have, but for the last two arguments, which set the constants of
`tanzaku.encoders.shapes`.
"""

import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.documents import LAST, StepDocuments
from benchmarks.ours import ALL_LINEAR, Settings, step_seconds
from benchmarks.scale import BATCH_SIZE, LABELS, Shape

_RANK = 8


def _documents(lengths: list[int], *, steps: int, vocabulary: int) -> StepDocuments:
    """The longest documents to warm up, and then so many batches by chance."""
    random = np.random.default_rng(0)
    drawn = random.choice(lengths, size=steps * BATCH_SIZE).tolist()
    ids = [random.integers(LAST + 1, vocabulary, size=n) for n in [max(lengths)] * BATCH_SIZE + drawn]
    order = np.arange(len(ids))
    return StepDocuments(tuple(ids), random.integers(0, LABELS, size=len(ids)), grouped=order, dealt=order)


def main() -> None:
    """Measure and print."""
    if len(sys.argv) > 4:
        from tanzaku.encoders import shapes

        shapes.ATTENTION_STEP, shapes.BATCH_PARTS = int(sys.argv[4]), int(sys.argv[5])
    lengths = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["train"]
    shape, steps = Shape.model_validate_json(Path(sys.argv[2]).read_text(encoding="utf-8")), int(sys.argv[3])
    settings = Settings(dropout=0.0, pad_to_longest=True, rank=_RANK, targets=ALL_LINEAR)
    documents = _documents(lengths, steps=steps, vocabulary=shape.vocabulary)
    print(step_seconds(shape, "lora", documents, settings=settings, max_tokens=max(lengths)))


if __name__ == "__main__":
    main()
