"""Batches of tokenised documents: the seeded order of an epoch, and padding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tanzaku.encoders.tokens import TokenizedDocuments


@dataclass(frozen=True)
class Batch:
    """Padded documents. `input_ids` and `attention_mask` (batch, tokens) int64, `labels` (batch,) int64."""

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device."""
        return Batch(self.input_ids.to(device), self.attention_mask.to(device), self.labels.to(device))

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class LabelledTokens:
    """A split, tokenised: document i has `tokens[i]` and the class index `classes[i]`.

    Args:
        tokens: The documents' ids.
        classes: (documents,) int64.
        pad_id: Fills a batch's shorter documents; the attention mask leaves it out.
        pad_to: Pad every batch to this many tokens; None pads it to its own longest document.
    """

    tokens: TokenizedDocuments
    classes: np.ndarray
    pad_id: int
    pad_to: int | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def batch(self, rows: Sequence[int] | np.ndarray) -> Batch:
        """The documents of these rows, padded on the right."""
        documents = [self.tokens[int(row)] for row in rows]
        width = self.pad_to or max(len(document) for document in documents)
        input_ids = np.full((len(documents), width), self.pad_id, dtype=np.int64)
        attention_mask = np.zeros((len(documents), width), dtype=np.int64)
        for place, document in enumerate(documents):
            input_ids[place, : len(document)] = document
            attention_mask[place, : len(document)] = 1
        labels = self.classes[np.asarray(rows)]
        return Batch(torch.from_numpy(input_ids), torch.from_numpy(attention_mask), torch.from_numpy(labels))

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """All documents in their own order."""
        for start in range(0, len(self), batch_size):
            yield self.batch(range(start, min(start + batch_size, len(self))))


def epoch_order(documents: int, *, seed: int, epoch: int) -> np.ndarray:
    """The random order of an epoch, (documents,) int64. It follows from seed and epoch alone, so that a resumed run
    needs no state for it."""
    return np.random.default_rng([seed, epoch]).permutation(documents)


def epoch_batches(documents: int, *, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The rows of each batch of an epoch; the last may be smaller."""
    order = epoch_order(documents, seed=seed, epoch=epoch)
    return [order[start : start + batch_size] for start in range(0, documents, batch_size)]
