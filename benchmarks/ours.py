"""Tanzaku's sides: the model and how it is run, made in one place, then trained by `Training` or asked to classify."""

import itertools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from benchmarks.clock import Clock
from benchmarks.documents import PAD, StepDocuments
from benchmarks.models import HEAD, device, random_classifier
from benchmarks.scale import BATCH_SIZE, LABELS, Shape
from benchmarks.trainers import THESIS_DROPOUT, THESIS_RANK
from tanzaku.encoders.tokens import TokenizedDocuments, tokenize
from tanzaku.methods import METHODS, EncoderMethod
from tanzaku.training.batches import LabelledTokens, epoch_batches
from tanzaku.training.events import StepDone
from tanzaku.training.forward import Forward, choose_forward
from tanzaku.training.loop import Training
from tanzaku.training.optimizer import build_adamw
from tanzaku.training.stopping import EarlyStopping

_SEED = 0
# The query, key, value and dense layers: all linear ones of a BERT encoder.
ALL_LINEAR = ("query", "key", "value", "dense")


@dataclass(frozen=True)
class Settings:
    """How a side trains.

    Args:
        dropout: In the encoder (hidden states and attention) and, for LoRA, before its matrix A.
        pad_to_longest: Pad a batch to its longest document instead of the full length.
        rank: LoRA's.
        targets: The layers that LoRA updates.
    """

    dropout: float
    pad_to_longest: bool
    rank: int = THESIS_RANK
    targets: tuple[str, ...] = ("query", "value")


THESIS_SETTINGS = Settings(dropout=THESIS_DROPOUT, pad_to_longest=False)
DEFAULT_SETTINGS = Settings(dropout=0.0, pad_to_longest=True)
ALL_LINEAR_SETTINGS = Settings(dropout=0.0, pad_to_longest=True, rank=16, targets=ALL_LINEAR)


@dataclass(frozen=True)
class Ours:
    """A model on its device, and what runs it on a batch."""

    model: nn.Module
    forward: Forward


def build_ours(shape: Shape, method: str, settings: Settings, *, max_tokens: int) -> Ours:
    """Our model with the method attached, run as Tanzaku runs it by default."""
    options = {"rank": settings.rank, "dropout": settings.dropout, "targets": settings.targets}
    adaptation = METHODS[method].model_validate(options if method == "lora" else {})
    assert isinstance(adaptation, EncoderMethod)
    classifier = random_classifier(shape, dropout=settings.dropout, max_tokens=max_tokens)
    model = adaptation.attach(classifier, head=HEAD).to(device())
    return Ours(model, forward=choose_forward(model, fast=True, precision="auto").run)


def step_seconds(
    shape: Shape,
    method: str,
    documents: StepDocuments,
    *,
    settings: Settings,
    max_tokens: int,
    clock: Clock | None = None,
) -> float:
    """Seconds a step of `Training`, on the documents in batches by chance."""
    clock = clock or Clock()
    ours = build_ours(shape, method, settings, max_tokens=max_tokens)
    split = _in_training_order(documents, pad_to=None if settings.pad_to_longest else max_tokens)
    training = Training(
        model=ours.model,
        train=split,
        val=split,
        optimizer=build_adamw(ours.model, learning_rate=5e-4),
        stopping=EarlyStopping(None),
        epochs=1,
        batch_size=BATCH_SIZE,
        eval_batch_size=BATCH_SIZE,
        max_grad_norm=1.0,
        seed=_SEED,
        log_steps=10,
        forward=ours.forward,
    )
    steps = len(split) // BATCH_SIZE - 1
    for event in itertools.islice(training.run(), 1 + steps):
        assert isinstance(event, StepDone)
        if event.step == 1:
            clock.begin()
        elif event.step == 1 + steps:
            clock.end()
    return clock.seconds / steps


def _in_training_order(documents: StepDocuments, *, pad_to: int | None) -> LabelledTokens:
    """The documents laid so that the epoch's own shuffle brings them in the dealt order, the warm-up first."""
    count = len(documents.ids)
    drawn = np.concatenate(epoch_batches(count, batch_size=BATCH_SIZE, seed=_SEED, epoch=1))
    laid = np.empty(count, dtype=np.int64)
    laid[drawn] = documents.dealt
    ids = [documents.ids[place].astype(np.int32) for place in laid]
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in ids])]).astype(np.int64)
    return LabelledTokens(
        TokenizedDocuments(np.concatenate(ids), offsets), documents.classes[laid], pad_id=PAD, pad_to=pad_to
    )


def build_classifier(
    shape: Shape, *, max_tokens: int, precision: Literal["auto", "float32", "bfloat16"] = "auto"
) -> Ours:
    """Our model as it classifies: nothing is trained, nothing dropped."""
    model = random_classifier(shape, dropout=0.0, max_tokens=max_tokens).to(device()).eval().requires_grad_(False)
    return Ours(model, forward=choose_forward(model, fast=True, precision=precision).run)


@torch.inference_mode()
def classify(ours: Ours, tokenizer: Any, texts: list[str], *, max_tokens: int) -> np.ndarray:
    """The texts' logits (texts, labels) float32: tokenized, sorted by length, in batches padded to their longest."""
    tokens = tokenize(tokenizer, texts, max_tokens=max_tokens)
    split = LabelledTokens(tokens, np.zeros(len(texts), dtype=np.int64), pad_id=PAD)
    order = np.argsort(np.diff(tokens.offsets), kind="stable")
    logits = np.empty((len(texts), LABELS), dtype=np.float32)
    for start in range(0, len(order), BATCH_SIZE):
        rows = order[start : start + BATCH_SIZE]
        logits[rows] = ours.forward(ours.model, split.batch(rows).to(device())).float().cpu().numpy()
    return logits
