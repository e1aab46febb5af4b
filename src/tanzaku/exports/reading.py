"""Reads exports as their libraries do, to compare them with the bundle."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tanzaku.data.characters import clean_text
from tanzaku.errors import BundleError
from tanzaku.exports.folders import DENSE_FOLDER, DENSE_WEIGHTS, HEAD_FILE, POOLING_FOLDER, base_options
from tanzaku.ship.bundle import Bundle, EncoderBundleFacts
from tanzaku.ship.certificate import Form
from tanzaku.ship.loading import base_of

if TYPE_CHECKING:
    from torch import Tensor

    from tanzaku.encoders.source import EncoderSource


_TEXTS_AT_A_TIME = 32  # as sentence-transformers has it


class FolderReader:
    """Classifies with a model of transformers, texts of like lengths at a time.

    Args:
        tokenizer: From the export.
        logits: From the tokens of some texts, as transformers' tokenizers give them, padded, to (texts, labels).
        max_tokens: The most tokens of a text.
    """

    def __init__(self, tokenizer: Any, logits: Callable[[Any], Tensor], *, max_tokens: int) -> None:
        self._tokenizer, self._logits, self._max_tokens = tokenizer, logits, max_tokens

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, labels) float32."""
        import torch

        found: dict[int, np.ndarray] = {}
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        with torch.inference_mode():
            for start in range(0, len(order), _TEXTS_AT_A_TIME):
                rows = order[start : start + _TEXTS_AT_A_TIME]
                tokens = self._encode([texts[row] for row in rows], padding=True, return_tensors="pt")
                found |= zip(rows, self._logits(tokens).numpy(), strict=True)
        return np.stack([found[row] for row in range(len(texts))])

    def token_ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The tokens of each text."""
        return [np.asarray(ids, dtype=np.int32) for ids in self._encode(texts)["input_ids"]]

    def _encode(self, texts: Sequence[str], **options: Any) -> Any:
        cleaned = [clean_text(text) for text in texts]
        return self._tokenizer(
            cleaned, truncation=True, max_length=self._max_tokens, return_attention_mask=True, **options
        )


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
    from tanzaku.methods.peft_adapter import quiet_attaching

    facts = bundle.facts
    if not isinstance(facts, EncoderBundleFacts):
        raise BundleError(f"{facts.method['name']} adapts no encoder, so there is no export to {form}")
    with quiet_transformers(), quiet_attaching():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        logits: Callable[[Any], Tensor]
        if form == "transformers":
            model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()
            logits = _plain(model)
        elif form == "sentence-transformers":
            logits = _pooled(AutoModel.from_pretrained(folder, local_files_only=True).eval(), *_pooling_of(folder))
        else:
            logits = _adapted(facts, folder, base_of(bundle.folder, facts, encoder=encoder))
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
        hidden = model(**tokens).last_hidden_state  # (texts, tokens, hidden)
        mask = tokens["attention_mask"].unsqueeze(-1)
        pools = {
            "mean": lambda: (hidden * mask).sum(dim=1) / mask.sum(dim=1),
            "max": lambda: hidden.masked_fill(mask == 0, -torch.inf).amax(dim=1),
        }
        pooled = [pools[mode]() for mode in modes]
        return torch.nn.functional.linear(torch.cat(pooled, dim=-1), weight, bias)

    return logits


def _pooling_of(folder: Path) -> tuple[list[str], Tensor, Tensor]:
    from safetensors.torch import load_file

    settings = json.loads((folder / POOLING_FOLDER / "config.json").read_text(encoding="utf-8"))
    modes = [mode for mode in ("max", "mean") if settings[f"pooling_mode_{mode}_tokens"]]  # the library's order
    dense = load_file(folder / DENSE_FOLDER / DENSE_WEIGHTS)
    return modes, dense["linear.weight"], dense["linear.bias"]


@contextmanager
def _for_transformers(source: EncoderSource) -> Iterator[Path]:
    """The encoder's folder, or where only Tanzaku reads its weights, one that `tanzaku encoder export` would write."""
    from tanzaku.encoders.export import export_encoder
    from tanzaku.encoders.source import files_of

    if files_of(source).weights_format != "q4":
        yield source.folder
        return
    with tempfile.TemporaryDirectory(prefix="tanzaku-") as folder:
        export_encoder(source, Path(folder) / "encoder")
        yield Path(folder) / "encoder"


def _adapted(facts: EncoderBundleFacts, folder: Path, source: EncoderSource) -> Callable[[Any], Tensor]:
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoModelForSequenceClassification

    wide = {"dtype": torch.float32}
    with _for_transformers(source) as base:
        if facts.encoder.pooling == "cls":
            options = base_options(base) | {"num_labels": len(facts.label_names)}
            model = AutoModelForSequenceClassification.from_pretrained(base, **options, **wide)
            return _plain(PeftModel.from_pretrained(model, folder).eval())
        bare = PeftModel.from_pretrained(AutoModel.from_pretrained(base, **wide), folder).eval()
    head = load_file(folder / HEAD_FILE)
    modes = ["mean"] if facts.encoder.pooling == "mean" else ["mean", "max"]
    return _pooled(bare, modes, head["weight"], head["bias"])
