"""What turns texts into scores: a plain model with its tokenizer, or a method that reads texts itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from tanzaku.errors import BundleError, TanzakuWarning
from tanzaku.extras import require_extra
from tanzaku.runtime.rows import batches_by_length
from tanzaku.ship.bundle import (
    MODEL_FOLDER,
    Bundle,
    BundleFacts,
    EncoderBundleFacts,
    GraphBundleFacts,
    TextBundleFacts,
)
from tanzaku.ship.graph_scorers import load_graph_scorer
from tanzaku.ship.loading import load_model

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from tanzaku.compute import Compute
    from tanzaku.encoders.tokens import TokenizedDocuments
    from tanzaku.methods import TextMethod
    from tanzaku.methods.interface import Contribution
    from tanzaku.study.encoder_spec import EncoderSpec
    from tanzaku.training.batches import LabelledTokens

Precision = Literal["auto", "float32", "bfloat16"]
Device = Literal["auto", "cpu", "cuda"]
# How the warning begins that an export may be slow; whoever measures it needs no warning.
NO_8_BITS = "this processor has no instructions for products of 8 bits"


class Scorer(Protocol):
    """Scores texts; the largest of a row is the prediction."""

    def token_ids(self, texts: Sequence[str]) -> TokenizedDocuments | None:
        """The tokens that it sees, before long documents are cut into rows; None where it sees words."""
        ...

    def __call__(self, texts: Sequence[str], *, listener: Callable[[int], None]) -> np.ndarray:
        """Scores (texts, labels) float32 of one text at least; the listener hears of each batch how many it had."""
        ...


def load_scorer(
    bundle: Bundle, *, encoder: str | None, device: Device, precision: Precision, batch_tokens: int
) -> Scorer:
    """The scorer of a bundle; see `Classifier.load`."""
    facts = bundle.facts
    if isinstance(facts, GraphBundleFacts):
        _check_graph_options(facts, device, precision)
        _check_graph_speed(facts)
        return load_graph_scorer(bundle.folder, facts, batch_tokens=batch_tokens)
    needed = "sklearn" if isinstance(facts, TextBundleFacts) else "torch"
    require_extra("train", purpose="classifying with a bundle that was not exported", module=needed)
    if isinstance(facts, TextBundleFacts):
        method = facts.build_method()
        with method.named_errors():
            return TextScorer(method, method.load(bundle.folder / MODEL_FOLDER))
    compute = compute_of(facts, device=device, precision=precision)
    model, tokenizer = load_model(bundle.folder, facts, encoder=encoder)
    return EncoderScorer(model, tokenizer, facts.encoder, compute=compute, batch_tokens=batch_tokens)


def compute_of(facts: EncoderBundleFacts, *, device: Device, precision: Precision) -> Compute:
    """Where and in which precision a bundle computes; see `Classifier.load`."""
    from tanzaku.compute import choose_compute

    compute = choose_compute(device=device, precision=precision, attention="auto")
    if precision == "auto":
        compute = replace(compute, precision=_run_precision(facts.precision, native=compute.precision))
    return compute


def _check_graph_options(facts: GraphBundleFacts, device: Device, precision: Precision) -> None:
    if device == "cuda":
        raise BundleError("device = cuda, but an exported bundle computes on the CPU; leave it out (--device)")
    if precision not in ("auto", facts.dtype):
        raise BundleError(
            f"precision = {precision}, but this export computes in {facts.dtype}, as chosen when it was exported; "
            "leave it out (--precision), or export the bundle again in another precision (--dtype)"
        )


def check_options(facts: BundleFacts, *, device: Device, precision: Precision, encoder: str | None) -> None:
    """Refuse what has no effect on a bundle; a server's options are for its other bundles."""
    if not isinstance(facts, TextBundleFacts):
        if encoder is not None and (isinstance(facts, GraphBundleFacts) or facts.whole):
            raise BundleError(f"encoder = {encoder} has no effect on a bundle that includes its encoder; leave it out")
        return
    given = {
        f"device = {device}": device == "cuda",
        f"precision = {precision}": precision == "bfloat16",
        f"encoder = {encoder}": encoder is not None,
    }
    if unused := [name for name, is_given in given.items() if is_given]:
        raise BundleError(f"{unused[0]} has no effect on a bundle without an encoder; leave it out")


def _check_graph_speed(facts: GraphBundleFacts) -> None:
    """Warn where 8 bits may be slower than float32. The graph stays what it is, so that every machine gives the same
    labels."""
    if facts.weights != "int8":
        return
    from tanzaku.machine import multiplies_8_bits

    if not multiplies_8_bits():
        warnings.warn(
            f"{NO_8_BITS}, so this export may be slower on it than one in float32 (`tanzaku export --dtype auto` on "
            "this machine measures both and takes the faster)",
            TanzakuWarning,
            stacklevel=2,
        )


def _run_precision(
    trained: Literal["float32", "bfloat16"], *, native: Literal["float32", "bfloat16"]
) -> Literal["float32", "bfloat16"]:
    """The precision in which the run was trained, or float32 where this machine would have to emulate that.

    `native` is what the hardware does best: bfloat16 where it multiplies that itself.
    """
    if trained == "bfloat16" and native == "float32":
        warnings.warn(
            "the run computed in bfloat16, which this processor would emulate slowly; classifying in float32, so a few "
            "labels may differ (--precision bfloat16 computes as the run did)",
            TanzakuWarning,
            stacklevel=2,
        )
        return "float32"
    return trained


class TextScorer:
    """A method without an encoder."""

    def __init__(self, method: TextMethod, fitted: Any) -> None:
        self._method = method
        self._fitted = fitted

    @property
    def has_contributions(self) -> bool:
        """Whether the method's scores are a sum over parts of a text, so that it can say what each adds."""
        from tanzaku.methods import TextMethod

        return type(self._method).contributions is not TextMethod.contributions

    def contributions(self, text: str) -> list[Contribution] | None:
        """What each part of a text adds to the scores; None where the method can't say."""
        return self._method.contributions(self._fitted, text)

    def token_ids(self, texts: Sequence[str]) -> None:
        """None: it reads words."""

    def __call__(self, texts: Sequence[str], *, listener: Callable[[int], None]) -> np.ndarray:
        """The method's scores, (texts, labels) float32."""
        scores = self._method.scores(self._fitted, texts)
        listener(len(texts))
        return scores


class EncoderScorer:
    """A plain model: texts are tokenized, sorted by length, and go through it in batches of about equal work.

    Args:
        model: In evaluation mode, float32, on the CPU.
        tokenizer: The encoder's.
        encoder: The [encoder] section: how a text becomes tokens.
        compute: Device and precision.
        batch_tokens: The most tokens of a batch, padding counted; a text that is longer is a batch of its own.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        encoder: EncoderSpec,
        *,
        compute: Compute,
        batch_tokens: int,
    ) -> None:
        import torch

        from tanzaku.training.forward import choose_forward

        self._tokenizer = tokenizer
        self._encoder = encoder
        self._batch_tokens = batch_tokens
        self._device = torch.device(compute.device)
        self._model = model.requires_grad_(False).to(self._device)
        # Nothing is trained, so all weights may be lowered where they stand.
        self._forward = choose_forward(self._model, fast=True, precision=compute.precision).run

    @property
    def model(self) -> nn.Module:
        """The model that computes, its weights as it computes with them."""
        return self._model

    def token_ids(self, texts: Sequence[str]) -> TokenizedDocuments:
        """The tokens that are read; whole documents where these are cut into rows."""
        return read_texts(texts, self._tokenizer, self._encoder).tokens

    def __call__(self, texts: Sequence[str], *, listener: Callable[[int], None]) -> np.ndarray:
        """Logits, (texts, labels) float32."""
        import torch

        tokens = read_texts(texts, self._tokenizer, self._encoder)
        logits: dict[int, np.ndarray] = {}
        lengths = np.diff(tokens.tokens.offsets).tolist()
        for rows in batches_by_length(lengths, budget=self._batch_tokens):
            batch = tokens.batch(rows).to(self._device)
            with torch.inference_mode():
                scores = self._forward(self._model, batch).float().cpu().numpy()  # (batch, labels)
            logits.update(zip(rows, scores, strict=True))
            listener(len(rows))
        return np.stack([logits[row] for row in range(len(texts))])  # (texts, labels)


def read_texts(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, reading: EncoderSpec) -> LabelledTokens:
    """The texts as the study read its test set; the one place where the [encoder] section decides the tokens."""
    from tanzaku.encoders.reading import tokenized_length
    from tanzaku.encoders.tokens import tokenize
    from tanzaku.training.batches import LabelledTokens

    length = tokenized_length(reading.long_text, max_tokens=reading.max_tokens)
    return LabelledTokens(
        tokenize(tokenizer, texts, max_tokens=length),
        np.zeros(len(texts), dtype=np.int64),  # there are no labels
        pad_id=tokenizer.pad_token_id,
        long_text=reading.long_text,
        max_tokens=reading.max_tokens,
        max_windows=reading.max_windows,
    )
