"""A vector for each token of an encoder's vocabulary: what the encoder makes of the token without a context."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import numpy as np

from tanzaku.data.download import cache_folder
from tanzaku.encoders.source import EncoderSource
from tanzaku.files import write_atomically

_BATCH = 512


def token_vectors(source: EncoderSource) -> np.ndarray:
    """The last hidden state of each token between [CLS] and [SEP], (vocabulary, hidden) float32.

    Special tokens have zeros. The result is kept in Tanzaku's cache under the encoder's fingerprint.

    Raises:
        EncoderError: The encoder or its tokenizer can't be used.
    """
    path = cache_folder() / "token-vectors" / f"{source.fingerprint}.safetensors"
    if (cached := _read(path)) is not None:
        return cached
    vectors = _compute(source)
    with contextlib.suppress(OSError):  # a cache that can't be written costs only time
        from safetensors.numpy import save

        write_atomically(path, save({"vectors": vectors}, metadata={"sha256": _digest(vectors)}))
    return vectors


def _compute(source: EncoderSource) -> np.ndarray:
    import torch

    from tanzaku.encoders.load import load_encoder
    from tanzaku.encoders.tokenizer import load_tokenizer

    tokenizer, encoder = load_tokenizer(source), load_encoder(source)
    ends = tokenizer("")["input_ids"]
    special = set(tokenizer.all_special_ids)
    ordinary = [token for token in range(encoder.config.vocab_size) if token not in special]
    vectors = np.zeros((encoder.config.vocab_size, encoder.config.hidden_size), dtype=np.float32)
    for start in range(0, len(ordinary), _BATCH):
        tokens = ordinary[start : start + _BATCH]
        rows = torch.tensor([[ends[0], token, ends[1]] for token in tokens])  # (batch, 3)
        with torch.inference_mode():
            states = encoder(input_ids=rows, attention_mask=torch.ones_like(rows)).last_hidden_state
        vectors[tokens] = states[:, 1].float().numpy()
    return vectors


def _read(path: Path) -> np.ndarray | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            vectors: np.ndarray = file.get_tensor("vectors")
            expected = (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
    return vectors if _digest(vectors) == expected else None


def _digest(vectors: np.ndarray) -> str:
    return hashlib.sha256(vectors.tobytes()).hexdigest()
