"""A linear layer on a document's TF-IDF, beside the one on what the encoder makes of it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

_PRIME = 2**31 - 1
_FACTOR = 1_000_003  # below 2^20: the products stay below 2^51


class TermHead(nn.Module):
    """logits = Wᵀ t, with t the TF-IDF vector of the document's tokens and pairs of neighbouring tokens.

    Terms are hashed into a fixed number of buckets (Weinberger et al. 2009, arXiv 0902.2206), so that no vocabulary is
    stored. With n occurrences of what falls into a bucket, its entry of t is (1 + ln n)·idf, and t has length 1: what
    scikit-learn's `TfidfVectorizer(sublinear_tf=True)` makes of the same terms. [CLS], [SEP] and padding are no terms,
    and no pair reaches from one row into the next.

    Args:
        buckets: Entries of t.
        labels: Classes.
        dropout: Share of the documents that get no logits from here while training, all of them and not some entries:
            what else classifies them then has to do so alone. Nothing is scaled, since in evaluation the two add up.
    """

    idf: Tensor

    def __init__(self, *, buckets: int, labels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.weight = nn.Parameter(torch.zeros(buckets, labels))
        self.register_buffer("idf", torch.ones(buckets))

    def set_frequencies(self, documents: Iterable[np.ndarray]) -> None:
        """Set the inverse document frequencies, ln((1 + N) / (1 + documents with the term)) + 1.

        Args:
            documents: The training documents' ids, each from [CLS] to [SEP].
        """
        buckets, count = len(self.idf), 0
        found = torch.zeros(buckets, dtype=torch.float64)
        for ids in documents:
            row = torch.from_numpy(ids.astype(np.int64))[None]
            found[_hashed(row, torch.ones_like(row), buckets)[1].unique()] += 1
            count += 1
        self.idf.copy_(((1 + count) / (1 + found)).log() + 1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, documents: Tensor | None = None) -> Tensor:
        """The logits (documents, labels) that the terms add.

        Args:
            input_ids: (rows, tokens) int64, padded on the right.
            attention_mask: (rows, tokens), 0 for padding.
            documents: (rows,) int64: the document that each row belongs to; None where row i is document i.
        """
        rows, places = _hashed(input_ids, attention_mask, len(self.idf))
        if documents is None:
            documents = torch.arange(len(input_ids), device=input_ids.device)
        count = int(documents.max()) + 1
        # One number a document and bucket, in order.
        keys, occurrences = torch.unique(documents[rows] * len(self.idf) + places, return_counts=True)
        owners, places = keys // len(self.idf), keys % len(self.idf)
        entries = (1 + occurrences.log()) * self.idf[places]
        lengths = torch.zeros(count, device=entries.device).index_add(0, owners, entries.square()).sqrt()
        logits = functional.embedding_bag(
            places,
            self.weight,
            torch.searchsorted(owners, torch.arange(count, device=owners.device)),
            mode="sum",
            per_sample_weights=entries / lengths[owners],
        )
        if self.training and self.dropout:
            logits = logits * (torch.rand(count, 1, device=logits.device) >= self.dropout)
        return logits


def _hashed(input_ids: Tensor, attention_mask: Tensor, buckets: int) -> tuple[Tensor, Tensor]:
    """The row and the bucket of every term, (terms,) int64 each."""
    tokens = input_ids[:, 1:-1] + 1  # without [CLS]; what stands last in the longest row is its [SEP]
    present = attention_mask[:, 2:] > 0  # a token is one as long as another, [SEP] at least, comes after it
    single = _mixed(tokens)
    pair = _mixed(single[:, :-1] + tokens[:, 1:])
    parts = [(single, present), (pair, present[:, 1:])]
    rows = torch.cat([there.nonzero()[:, 0] for _, there in parts])
    return rows, torch.cat([values[there] for values, there in parts]) % buckets


def _mixed(numbers: Tensor) -> Tensor:
    """Numbers below 2^31 that follow from these, as if they were drawn."""
    numbers = numbers * _FACTOR % _PRIME
    return (numbers ^ (numbers >> 15)) * _FACTOR % _PRIME


def term_heads(model: nn.Module) -> list[TermHead]:
    """Those of a model: one, or two where PEFT keeps the layer as it was beside the one that is trained."""
    return [module for module in model.modules() if isinstance(module, TermHead)]
