"""Batches of tokenized documents: the seeded order of an epoch, the rows of long documents, and padding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tanzaku.encoders.reading import LongText, count_windows, pieces
from tanzaku.encoders.shapes import attention_rows
from tanzaku.encoders.tokens import TokenizedDocuments
from tanzaku.errors import EncoderError

UNLABELLED = -1  # in the place of a class index


@dataclass(frozen=True)
class Batch:
    """Padded documents.

    `input_ids` and `attention_mask` (rows, tokens) int64, `labels` (documents,) int64. `documents` (rows,) int64 says
    which document of the batch, from 0, each row belongs to; it is None where row i is document i. `weights`
    (documents,) float32 says how much each document counts in the loss; None where all count alike. `soft` (documents,
    labels) float32 has a teacher's logits, or is None; with them, a label may be `UNLABELLED`.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    documents: Tensor | None = None
    weights: Tensor | None = None
    soft: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device."""
        documents = None if self.documents is None else self.documents.to(device)
        weights = None if self.weights is None else self.weights.to(device)
        soft = None if self.soft is None else self.soft.to(device)
        return Batch(
            self.input_ids.to(device), self.attention_mask.to(device), self.labels.to(device), documents, weights, soft
        )

    def __len__(self) -> int:
        """How many documents, not rows."""
        return len(self.labels)


@dataclass(frozen=True)
class LabelledTokens:
    """A split, tokenized: document i has `tokens[i]` and the class index `classes[i]`.

    Args:
        tokens: The documents' ids; whole documents where `long_text` cuts them.
        classes: (documents,) int64.
        pad_id: Fills a batch's shorter rows; the attention mask leaves it out.
        pad_to: Pad every batch to this many tokens; None pads it to its own longest row, and where `max_tokens` is
            given up to so many a little beyond, so that few shapes occur (see `tanzaku.encoders.shapes`).
        long_text: How a document that is too long is cut when a batch is made; see `tanzaku.encoders.reading`.
        max_tokens: The most tokens of a row; "head" does not need it, since the tokenizer has truncated.
        max_windows: The most windows of a document; None for all.
        weights: (documents,) float32, with a mean of 1: how much each document counts in the loss; None for all alike.
        soft: (documents, labels) float32: a teacher's logits, or None.

    Raises:
        EncoderError: `long_text` cuts, but `max_tokens` is missing.
    """

    tokens: TokenizedDocuments
    classes: np.ndarray
    pad_id: int
    pad_to: int | None = None
    long_text: LongText = "head"
    max_tokens: int | None = None
    max_windows: int | None = None
    weights: np.ndarray | None = None
    soft: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.long_text != "head" and self.max_tokens is None:
            raise EncoderError(f"long_text = {self.long_text!r} needs to know max_tokens, the length to cut to")

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def partly_read(self) -> int:
        """Documents of which tokens are left out. The tokenizer cuts for "head": those that fill `max_tokens`."""
        if self.max_tokens is None:
            return 0
        lengths = np.diff(self.tokens.offsets)
        if self.long_text == "windows":
            read = count_windows(lengths, max_tokens=self.max_tokens, max_windows=self.max_windows)
            return int((read < count_windows(lengths, max_tokens=self.max_tokens)).sum())
        return int((lengths > self.max_tokens - (self.long_text == "head")).sum())

    def batch(self, documents: Sequence[int] | np.ndarray) -> Batch:
        """The documents of these indices, padded on the right; one row each, or as many as they have windows."""
        cut = [
            pieces(
                self.tokens[int(document)],
                long_text=self.long_text,
                max_tokens=self.max_tokens,
                max_windows=self.max_windows,
            )
            for document in documents
        ]
        rows = [row for parts in cut for row in parts]
        width = self.pad_to or self._width(max(1, *(len(row) for row in rows)))
        input_ids = np.full((len(rows), width), self.pad_id, dtype=np.int64)
        attention_mask = np.zeros((len(rows), width), dtype=np.int64)
        for place, row in enumerate(rows):
            input_ids[place, : len(row)] = row
            attention_mask[place, : len(row)] = 1
        labels = torch.from_numpy(self.classes[np.asarray(documents)])
        belongs = None
        if self.long_text == "windows":
            belongs = torch.from_numpy(np.repeat(np.arange(len(cut)), [len(parts) for parts in cut]))  # (rows,)
        weights = None if self.weights is None else torch.from_numpy(self.weights[np.asarray(documents)])
        soft = None if self.soft is None else torch.from_numpy(self.soft[np.asarray(documents)])
        return Batch(torch.from_numpy(input_ids), torch.from_numpy(attention_mask), labels, belongs, weights, soft)

    def _width(self, longest: int) -> int:
        """The tokens of a batch whose longest row has so many."""
        return longest if self.max_tokens is None else max(longest, min(attention_rows(longest), self.max_tokens))

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """All documents in their own order, at most `batch_size` rows a batch, but always a whole document."""
        start, rows = 0, 0
        counts = self._rows()
        for document, count in enumerate(counts):
            if document > start and rows + count > batch_size:
                yield self.batch(range(start, document))
                start, rows = document, 0
            rows += count
        if start < len(counts):
            yield self.batch(range(start, len(counts)))

    def _rows(self) -> list[int]:
        """How many rows each document has in a batch."""
        if self.long_text != "windows":
            return [1] * len(self)
        assert self.max_tokens is not None
        lengths = np.diff(self.tokens.offsets)
        counts: list[int] = count_windows(lengths, max_tokens=self.max_tokens, max_windows=self.max_windows).tolist()
        return counts


def epoch_order(documents: int, *, seed: int, epoch: int) -> np.ndarray:
    """The random order of an epoch, (documents,) int64. It follows from seed and epoch alone, so that a resumed run
    needs no state for it."""
    return np.random.default_rng([seed, epoch]).permutation(documents)


def epoch_batches(documents: int, *, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The documents of each batch of an epoch; the last may be smaller."""
    order = epoch_order(documents, seed=seed, epoch=epoch)
    return [order[start : start + batch_size] for start in range(0, documents, batch_size)]
