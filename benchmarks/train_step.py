"""Seconds of a training step: Tanzaku's loop beside the thesis's scripts (Hugging Face's `Trainer`), interleaved.

Both train the same random BERT on the same random documents in float32, in the thesis's settings (batch 8, every text
padded to the full length). They take turns, so that a machine whose speed drifts treats both alike; the ratio of the
medians is what counts. One JSON object goes to standard output.

    python benchmarks/train_step.py --shape base --tokens 512 --method lora
"""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from tanzaku.encoders.tokens import TokenizedDocuments
from tanzaku.methods import METHODS, EncoderMethod
from tanzaku.training.batches import LabelledTokens
from tanzaku.training.loop import StepDone, Training
from tanzaku.training.optimizer import build_adamw
from tanzaku.training.stopping import EarlyStopping

SHAPES = {
    "mini": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
BATCH, LABELS, VOCABULARY = 8, 9, 32_000


def _model(shape: str, method: str, rank: int) -> nn.Module:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=VOCABULARY, num_labels=LABELS, **SHAPES[shape])
    adaptation = METHODS[method].model_validate({"rank": rank} if method == "lora" else {})
    assert isinstance(adaptation, EncoderMethod)
    return adaptation.attach(BertForSequenceClassification(config), head=("classifier",))


def _documents(count: int, tokens: int) -> LabelledTokens:
    random = np.random.default_rng(0)
    ids = random.integers(5, VOCABULARY, size=count * tokens).astype(np.int32)
    offsets = np.arange(count + 1, dtype=np.int64) * tokens
    return LabelledTokens(TokenizedDocuments(ids, offsets), random.integers(0, LABELS, size=count), pad_id=0)


def _ours(shape: str, method: str, rank: int, documents: LabelledTokens) -> list[float]:
    model = _model(shape, method, rank)
    training = Training(
        model=model,
        train=documents,
        val=documents,
        optimizer=build_adamw(model, learning_rate=5e-4),
        stopping=EarlyStopping(None),
        epochs=1,
        batch_size=BATCH,
        eval_batch_size=BATCH,
        max_grad_norm=1.0,
        seed=0,
        log_steps=10,
    )
    times = [time.perf_counter()]
    for event in training.run():
        if not isinstance(event, StepDone):
            break
        times.append(time.perf_counter())
    return np.diff(times).tolist()


class _Clock(TrainerCallback):
    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_begin(self, *_: object, **__: object) -> None:
        self.times.append(time.perf_counter())

    def on_step_end(self, *_: object, **__: object) -> None:
        self.times.append(time.perf_counter())


def _trainers(shape: str, method: str, rank: int, documents: LabelledTokens) -> list[float]:
    batch = documents.batch(range(len(documents)))
    rows = [
        {"input_ids": ids, "attention_mask": mask, "labels": label}
        for ids, mask, label in zip(batch.input_ids, batch.attention_mask, batch.labels, strict=True)
    ]
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH,
            learning_rate=5e-4,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        trainer = Trainer(model=_model(shape, method, rank), args=arguments, train_dataset=rows, callbacks=[clock])
        trainer.remove_callback(PrinterCallback)  # standard output is ours
        trainer.train()
    return np.diff(clock.times).tolist()


def measure(shape: str, method: str, *, rank: int, tokens: int, steps: int, rounds: int) -> dict[str, object]:
    """Time both, in turns; the first step of a round warms up and is not counted."""
    documents = _documents(BATCH * (steps + 1), tokens)
    sides: dict[str, Callable[..., list[float]]] = {"tanzaku": _ours, "trainer": _trainers}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            seconds[name] += side(shape, method, rank, documents)[1:]
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "name": f"{method}_step_{shape}_vs_trainer",
        "tokens": tokens,
        "threads": torch.get_num_threads(),
        "median_seconds": medians,
        "fastest_and_slowest_seconds": {name: [min(values), max(values)] for name, values in seconds.items()},
        "trainer_over_tanzaku": medians["trainer"] / medians["tanzaku"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="mini")
    parser.add_argument("--method", choices=["full", "head", "lora"], default="lora")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10, help="counted steps a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    result = measure(
        options.shape,
        options.method,
        rank=options.rank,
        tokens=options.tokens,
        steps=options.steps,
        rounds=options.rounds,
    )
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
