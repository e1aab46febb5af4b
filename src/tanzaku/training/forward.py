"""How a model is run on a batch: by its own forward, under autocast, or by the fast path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from tanzaku.compute import choose_precision
from tanzaku.encoders.fast import Precision, fast_forward
from tanzaku.training.batches import Batch

Forward = Callable[[nn.Module, Batch], Tensor]


@dataclass(frozen=True)
class ChosenForward:
    """A forward (model, batch) -> logits (documents, labels) float32, and what it is."""

    run: Forward
    path: Literal["fast", "transformers"]
    precision: Precision


def model_logits(model: nn.Module, batch: Batch) -> Tensor:
    """The model's logits (documents, labels) for a batch, by the model's own forward."""
    documents = {} if batch.documents is None else {"documents": batch.documents}
    logits: Tensor = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, **documents).logits
    return logits


def choose_forward(model: nn.Module, *, fast: bool, precision: Literal["auto", "float32", "bfloat16"]) -> ChosenForward:
    """The forward for a model on its device, after its method froze what it freezes.

    Args:
        model: The fast path converts its frozen weights in place.
        fast: Whether the fast path may be taken; it is where the encoder and the method allow it.
        precision: "auto" is bfloat16 where `fast` is true and the hardware multiplies bfloat16 itself, and float32
            elsewhere: emulated, bfloat16 is slower than float32. A model that the fast path can't do has it by
            autocast.
    """
    device = next(model.parameters()).device.type
    chosen = choose_precision(precision if fast or precision != "auto" else "float32", device=device)
    if fast and (forward := fast_forward(model, precision=chosen)) is not None:
        return ChosenForward(forward, "fast", chosen)
    return ChosenForward(_autocast(device) if chosen == "bfloat16" else model_logits, "transformers", chosen)


def _autocast(device: str) -> Forward:
    def forward(model: nn.Module, batch: Batch) -> Tensor:
        with torch.autocast(device, dtype=torch.bfloat16):
            return model_logits(model, batch).float()

    return forward
