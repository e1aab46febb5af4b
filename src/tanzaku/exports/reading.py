"""Reads exports as their libraries do, to compare them with the bundle."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tanzaku.data.characters import clean_text
from tanzaku.errors import BundleError
from tanzaku.exports.folders import DENSE_FOLDER, DENSE_WEIGHTS, HEAD_FILE, POOLING_FOLDER
from tanzaku.ship.bundle import Bundle, EncoderBundleFacts
from tanzaku.ship.certificate import Form
from tanzaku.ship.loading import find_encoder

if TYPE_CHECKING:
    from torch import Tensor


class FolderReader:
    """Classifies one text after the other with a model of transformers.

    Args:
        tokenizer: From the export.
        logits: From a text's tokens, as transformers' tokenizers give them, to (1, labels).
        max_tokens: The most tokens of a text.
    """

    def __init__(self, tokenizer: Any, logits: Callable[[Any], Tensor], *, max_tokens: int) -> None:
        self._tokenizer, self._logits, self._max_tokens = tokenizer, logits, max_tokens

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, labels) float32."""
        import torch

        with torch.inference_mode():
            return np.concatenate([self._logits(self._encode(text, "pt")).numpy() for text in texts])

    def token_ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The tokens of each text."""
        return [np.asarray(self._encode(text, None)["input_ids"], dtype=np.int32) for text in texts]

    def _encode(self, text: str, tensors: str | None) -> Any:
        return self._tokenizer(clean_text(text), truncation=True, max_length=self._max_tokens, return_tensors=tensors)


def read_folder(bundle: Bundle, folder: Path, *, form: Form, encoder: str | None) -> FolderReader:
    """Open an export with transformers, and PEFT where it needs that.

    Args:
        bundle: What it was made from.
        folder: The export.
        form: "transformers", "sentence-transformers" or "peft".
        encoder: Where the bundle's encoder lies, if not under its name.
    """
    from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

    from tanzaku.encoders.quiet import quiet_transformers

    facts = bundle.facts
    if not isinstance(facts, EncoderBundleFacts):
        raise BundleError(f"{facts.method['name']} adapts no encoder, so there is no export to {form}")
    with quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        logits: Callable[[Any], Tensor]
        if form == "transformers":
            model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()
            logits = _plain(model)
        elif form == "sentence-transformers":
            logits = _pooled(AutoModel.from_pretrained(folder, local_files_only=True).eval(), *_pooling_of(folder))
        else:
            logits = _adapted(facts, folder, encoder)
    return FolderReader(tokenizer, logits, max_tokens=facts.encoder.max_tokens)


def _plain(model: Any) -> Callable[[Any], Tensor]:
    def logits(tokens: Any) -> Tensor:
        found: Tensor = model(**tokens).logits
        return found

    return logits


def _pooled(model: Any, modes: Sequence[str], weight: Tensor, bias: Tensor) -> Callable[[Any], Tensor]:
    """The mean and the maximum of a text's hidden states in the order of `modes`, and a linear layer."""
    import torch

    def logits(tokens: Any) -> Tensor:
        hidden = model(**tokens).last_hidden_state  # (1, tokens, hidden)
        pooled = [hidden.mean(dim=1) if mode == "mean" else hidden.amax(dim=1) for mode in modes]
        return torch.nn.functional.linear(torch.cat(pooled, dim=-1), weight, bias)

    return logits


def _pooling_of(folder: Path) -> tuple[list[str], Tensor, Tensor]:
    from safetensors.torch import load_file

    settings = json.loads((folder / POOLING_FOLDER / "config.json").read_text(encoding="utf-8"))
    modes = [mode for mode in ("max", "mean") if settings[f"pooling_mode_{mode}_tokens"]]  # the library's order
    dense = load_file(folder / DENSE_FOLDER / DENSE_WEIGHTS)
    return modes, dense["linear.weight"], dense["linear.bias"]


def _adapted(facts: EncoderBundleFacts, folder: Path, encoder: str | None) -> Callable[[Any], Tensor]:
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoModelForSequenceClassification

    source = find_encoder(
        facts.encoder, fingerprint=facts.base.fingerprint, other_name=encoder, needed_by=f"the export {folder}"
    )
    if facts.encoder.pooling == "cls":
        base = AutoModelForSequenceClassification.from_pretrained(source.folder, num_labels=len(facts.label_names))
        return _plain(PeftModel.from_pretrained(base, folder).eval())
    bare = PeftModel.from_pretrained(AutoModel.from_pretrained(source.folder), folder).eval()
    head = load_file(folder / HEAD_FILE)
    modes = ["mean"] if facts.encoder.pooling == "mean" else ["mean", "max"]
    return _pooled(bare, modes, head["weight"], head["bias"])
