"""A linear layer on a document's TF-IDF, next to the one on what the encoder makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tanzaku.errors import EncoderError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FOLDS = 5
_NO_TERM = 2**62  # no token or pair has this number, and all stand before it
_SCALES = (0.1, 100.0)  # of logits from distances that are about 1: from nearly no opinion to certainty


class TermHead(nn.Module):
    """logits = Wᵀ t + b, with t the TF-IDF vector of the document's tokens and pairs of neighbouring tokens.

    Of all terms it knows those that the most training documents have. With n occurrences of one, its entry of t is
    (1 + ln n)·idf, and t has length 1: what scikit-learn's `TfidfVectorizer(sublinear_tf=True)` makes of these terms.
    [CLS], [SEP] and padding are no terms, and no pair reaches from one row into the next.

    W and b are those of a linear support vector machine, one class against the rest, times a scale. They are fitted by
    `learn`, not by gradients. What is trained next to them learns what they miss on documents that they have not seen:
    while training, a document's logits are those of a machine that was fitted to the other documents (stacking, Wolpert
    1992), and the scale is what makes these logits' cross-entropy least (Guo et al. 2017, arXiv 1706.04599).

    Its buffers have one entry for each term: room for `terms` until `learn` or a loaded state dict says how many there
    are.

    Args:
        terms: The most terms that it knows.
        labels: Classes.
        vocabulary: Entries of the encoder's vocabulary.
    """

    keys: Tensor
    idf: Tensor
    weight: Tensor
    bias: Tensor
    held_out_weight: Tensor
    held_out_bias: Tensor

    def __init__(self, *, terms: int, labels: int, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.register_buffer("keys", torch.full((terms,), _NO_TERM))  # in order
        self.register_buffer("idf", torch.ones(terms))
        self.register_buffer("weight", torch.zeros(terms, labels))
        self.register_buffer("bias", torch.zeros(labels))
        # Fold by fold, (FOLDS · terms, labels) and (FOLDS, labels); none where it was not fitted but loaded.
        self.register_buffer("held_out_weight", torch.zeros(0, labels), persistent=False)
        self.register_buffer("held_out_bias", torch.zeros(0, labels), persistent=False)

    @torch.no_grad()
    def learn(self, batches: Iterable[Any], *, penalty: float) -> None:
        """Choose the terms and fit the layer.

        Args:
            batches: The training documents, each once: `input_ids`, `attention_mask`, `documents`, `labels`, `weights`.
            penalty: C of the support vector machine.

        Raises:
            EncoderError: No document has a token.
        """
        counted = _count(batches, self.vocabulary)
        if not len(counted.keys):
            raise EncoderError(
                "the training documents are empty after tokenizing, so there are no terms to learn; give other texts, "
                "or an encoder whose vocabulary has their words"
            )
        every, found = np.unique(counted.keys, return_counts=True)
        chosen = np.sort(np.lexsort((every, -found))[: len(self.keys)])  # of equally frequent ones the first
        keys, found = every[chosen], found[chosen]
        idf = np.log((1 + len(counted.labels)) / (1 + found)) + 1
        vectors = counted.vectors(keys, idf)
        labels = self.weight.shape[1]
        everyone = np.arange(len(counted.labels))
        whole, *apart = (
            _fit(vectors[rows], counted.labels[rows], labels, penalty, counted.weights[rows])
            for rows in (everyone, *_others(counted.folds))
        )
        scores = np.stack([vectors @ weight + bias for weight, bias in apart])[counted.folds, range(len(counted.folds))]
        scale = _calibrated(scores, counted.labels, counted.weights)

        self.keys = torch.from_numpy(keys).to(self.keys)
        self.idf = torch.from_numpy(idf).to(self.idf)
        self.held_out_weight = torch.from_numpy(scale * np.concatenate([weight for weight, _ in apart])).to(self.weight)
        self.held_out_bias = torch.from_numpy(scale * np.stack([bias for _, bias in apart])).to(self.bias)
        self.weight = torch.from_numpy(scale * whole[0]).to(self.weight)
        self.bias = torch.from_numpy(scale * whole[1]).to(self.bias)

    def take_over(self, other: TermHead) -> None:
        """Know what another one has learned."""
        self.load_state_dict(other.state_dict())
        self.held_out_weight, self.held_out_bias = other.held_out_weight, other.held_out_bias

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Make room for as many terms as were saved before they are copied in."""
        for name in ("keys", "idf", "weight"):
            if (saved := state_dict.get(f"{prefix}{name}")) is not None:
                setattr(self, name, getattr(self, name).new_empty((len(saved), *getattr(self, name).shape[1:])))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, documents: Tensor | None = None) -> Tensor:
        """The logits (documents, labels) that the terms add.

        Args:
            input_ids: (rows, tokens) int64, padded on the right.
            attention_mask: (rows, tokens), 0 for padding.
            documents: (rows,) int64: the document that each row belongs to; None where row i is document i.
        """
        if documents is None:
            documents = torch.arange(len(input_ids), device=input_ids.device)
        count = int(documents.max()) + 1
        rows, keys = _terms(input_ids, attention_mask, self.vocabulary)
        places = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
        known = self.keys[places] == keys
        # One number a document and term, in order.
        pairs, occurrences = torch.unique(documents[rows[known]] * len(self.keys) + places[known], return_counts=True)
        owners, places = pairs // len(self.keys), pairs % len(self.keys)
        entries = (1 + occurrences.log()) * self.idf[places]
        lengths = torch.zeros(count, device=entries.device).index_add(0, owners, entries.square()).sqrt()
        weight, bias = self.weight, self.bias
        if self.training and len(self.held_out_bias):
            folds = _folds(input_ids, attention_mask, documents, count)
            weight, bias = self.held_out_weight, self.held_out_bias[folds]
            places = folds[owners] * len(self.keys) + places
        logits = functional.embedding_bag(
            places,
            weight,
            torch.searchsorted(owners, torch.arange(count, device=owners.device)),
            mode="sum",
            per_sample_weights=entries / lengths[owners],
        )
        return logits + bias


@dataclass(frozen=True)
class _Counted:
    """The terms of documents: term `keys[i]` stands `occurrences[i]` times in document `owners[i]`."""

    owners: np.ndarray
    keys: np.ndarray
    occurrences: np.ndarray
    labels: np.ndarray
    folds: np.ndarray
    weights: np.ndarray

    def vectors(self, keys: np.ndarray, idf: np.ndarray) -> csr_array:
        """The TF-IDF vectors of these terms, (documents, keys) float64; `keys` are in order."""
        from scipy.sparse import csr_array
        from sklearn.preprocessing import normalize

        places = np.searchsorted(keys, self.keys).clip(max=len(keys) - 1)
        known = keys[places] == self.keys
        places = places[known]
        entries = (1 + np.log(self.occurrences[known])) * idf[places]
        # scikit-learn's machines take 32-bit indices alone.
        where = (self.owners[known].astype(np.int32), places.astype(np.int32))
        return csr_array(normalize(csr_array((entries, where), shape=(len(self.labels), len(keys)))))


def _count(batches: Iterable[Any], vocabulary: int) -> _Counted:
    owners, keys, occurrences, labels, folds, weights = [], [], [], [], [], []
    before = 0
    for batch in batches:
        documents = torch.arange(len(batch.input_ids)) if batch.documents is None else batch.documents
        rows, found = _terms(batch.input_ids, batch.attention_mask, vocabulary)
        pairs, counts = torch.unique(torch.stack([documents[rows], found]), dim=1, return_counts=True)
        owners.append(pairs[0] + before)
        keys.append(pairs[1])
        occurrences.append(counts)
        labels.append(batch.labels)
        folds.append(_folds(batch.input_ids, batch.attention_mask, documents, len(batch.labels)))
        weights.append(torch.ones(len(batch.labels)) if batch.weights is None else batch.weights)
        before += len(batch.labels)
    return _Counted(*(torch.cat(parts).numpy() for parts in (owners, keys, occurrences, labels, folds, weights)))


def _terms(input_ids: Tensor, attention_mask: Tensor, vocabulary: int) -> tuple[Tensor, Tensor]:
    """The row and the number of every term, (terms,) int64 each: a token's own, or that of a pair."""
    tokens, present = _tokens(input_ids, attention_mask)
    pairs = (tokens[:, :-1] + 1) * vocabulary + tokens[:, 1:]
    parts = [(tokens, present), (pairs, present[:, 1:])]
    rows = torch.cat([there.nonzero()[:, 0] for _, there in parts])
    return rows, torch.cat([numbers[there] for numbers, there in parts])


def _tokens(input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
    """The ids without [CLS], (rows, tokens - 2), and which of them are neither [SEP] nor padding: what stands last in
    the longest row is its [SEP], and a token is one as long as another, [SEP] at least, comes after it."""
    return input_ids[:, 1:-1], attention_mask[:, 2:] > 0


def _folds(input_ids: Tensor, attention_mask: Tensor, documents: Tensor, count: int) -> Tensor:
    """The fold of each document, (count,) int64. It follows from its tokens, so the same text is in one fold."""
    tokens, present = _tokens(input_ids, attention_mask)
    sums = (tokens * present).sum(dim=1)
    return torch.zeros(count, dtype=sums.dtype, device=sums.device).index_add(0, documents, sums) % FOLDS


def _others(folds: np.ndarray) -> list[np.ndarray]:
    """The documents outside each fold; all where none would be left."""
    return [np.flatnonzero(folds != fold) if (folds != fold).any() else np.arange(len(folds)) for fold in range(FOLDS)]


def _that_count(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of the documents that count, since of the others no machine must be told, and how much each counts;
    where none does, all count alike."""
    if not weights.any():
        weights = np.ones_like(weights)
    places = np.flatnonzero(weights)
    return places, weights[places]


def _fit(
    vectors: csr_array, classes: np.ndarray, labels: int, penalty: float, documents: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A machine for each class, whose distances are (documents, labels): weights (terms, labels), offsets (labels,).

    `documents` (documents,) says how much each document counts, 0 or more.
    """
    from sklearn.svm import LinearSVC

    weight, bias = np.zeros((vectors.shape[1], labels)), np.zeros(labels)
    counts, documents = _that_count(documents)
    vectors, classes = vectors[counts], classes[counts]
    for label in range(labels):
        of_class = classes == label
        if of_class.all() or not of_class.any():  # nothing to tell apart: all documents are on one side
            bias[label] = 1.0 if of_class.all() else -1.0
            continue
        machine = LinearSVC(C=penalty, random_state=0).fit(vectors, of_class, sample_weight=documents)
        weight[:, label], bias[label] = machine.coef_[0], machine.intercept_[0]
    return weight, bias


def _calibrated(scores: np.ndarray, classes: np.ndarray, weights: np.ndarray) -> float:
    """The factor on `scores` (documents, labels) with which their cross-entropy is least.

    `weights` (documents,) says how much each document counts, 0 or more.

    The targets are smoothed by the rule of succession, as Platt (1999) does: where the scores tell every document's
    class, the factor would grow without end, and what is trained next to them would have nothing to learn.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    counts, weights = _that_count(weights)
    scores, classes = scores[counts], classes[counts]
    documents, labels = scores.shape
    targets = np.full(scores.shape, 1 / (documents + labels))
    targets[range(documents), classes] = (documents + 1) / (documents + labels)

    def loss(logarithm: float) -> float:
        losses = -(targets * log_softmax(np.exp(logarithm) * scores, axis=1)).sum(axis=1)
        return float(np.average(losses, weights=weights))

    return float(np.exp(minimize_scalar(loss, bounds=np.log(_SCALES), method="bounded").x))


def term_heads(model: nn.Module) -> list[TermHead]:
    """Those of a model: one, or two where PEFT keeps the layer as it was next to the one that is saved."""
    return [module for module in model.modules() if isinstance(module, TermHead)]
