"""How a model is run on a batch: by its own forward, under autocast, or by the fast path."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tanzaku.compute import choose_precision
from tanzaku.encoders.fast import Precision, fast_forward
from tanzaku.encoders.pooled import PooledClassifier, mean_of_windows
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
    own = PooledForward(model, chosen) if isinstance(model, PooledClassifier) else ModelForward(model, chosen)
    return ChosenForward(own, "transformers", chosen)


class ModelForward:
    """A model's own forward.

    Args:
        model: What is computed.
        precision: bfloat16 is by autocast.
    """

    def __init__(self, model: nn.Module, precision: Precision) -> None:
        self._device, self._precision = next(model.parameters()).device, precision

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """The logits (documents, labels), float32, of `model`, which must be the one that this was made for."""
        with self._computing():
            return model_logits(model, batch).float()

    def _computing(self) -> AbstractContextManager[Any]:
        low = self._precision == "bfloat16"
        return torch.autocast(self._device.type, dtype=torch.bfloat16) if low else nullcontext()


class PooledForward(ModelForward):
    """That of a `PooledClassifier`, without anything around it, also in two parts: its features, and their logits."""

    def __init__(self, model: PooledClassifier, precision: Precision) -> None:
        super().__init__(model, precision)
        self._model = model

    def features(self, batch: Batch) -> Tensor:
        """What the head reads of each document, (documents, features)."""
        with self._computing():
            features = self._model.features(batch.input_ids, batch.attention_mask)  # (rows, features)
            return features if batch.documents is None else mean_of_windows(features, batch.documents)

    def classify(self, features: Tensor, batch: Batch) -> Tensor:
        """The logits (documents, labels), float32, of documents with these `features`."""
        with self._computing():
            return self._model.classify(features, batch.input_ids, batch.attention_mask, batch.documents).float()

    def has_fixed_features(self) -> bool:
        """Whether a document's features are the same at every step: nothing below the head is trained, and a forward in
        training draws no random numbers. This is tried, since not every architecture's dropout is a module."""
        encoder = self._model.base_model
        if any(parameter.requires_grad for parameter in encoder.parameters()):
            return False
        device, training = self._device, encoder.training
        generators = [device] if device.type == "cuda" else []
        token = torch.zeros(1, 1, dtype=torch.int64, device=device)
        with torch.random.fork_rng(generators), torch.no_grad():
            before = _random_states(device)
            encoder.train()(input_ids=token, attention_mask=torch.ones_like(token))
            encoder.train(training)
            return all(torch.equal(one, other) for one, other in zip(before, _random_states(device), strict=True))


def _random_states(device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]
