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

LONGEST_NGRAM = 3  # whose numbers fit into 64 bits for any vocabulary


class TermHead(nn.Module):
    """scores = s·Wᵀ t + b, with t the TF-IDF vector of the document's tokens and short sequences of them.

    It knows the terms that depend most on the class, by the χ² statistic (Yang and Pedersen 1997, ICML). With n
    occurrences of one, its entry of t is (1 + ln n)·idf, and t has length 1: what scikit-learn's
    `TfidfVectorizer(sublinear_tf=True)` makes of these terms. [CLS], [SEP] and padding are no terms, and no sequence
    reaches from one row into the next.

    W and b are those of a linear support vector machine, one class against the rest. They are fitted by `learn`, not by
    gradients; before, there are no terms and all scores are 0. s is 1 until `round` makes W whole numbers.

    Args:
        labels: Classes.
        vocabulary: Entries of the encoder's vocabulary.
    """

    keys: Tensor
    idf: Tensor
    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, *, labels: int, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.register_buffer("keys", torch.zeros(0, dtype=torch.long))  # in order
        self.register_buffer("idf", torch.zeros(0))
        self.register_buffer("weight", torch.zeros(0, labels))
        self.register_buffer("scale", torch.ones(labels))
        self.register_buffer("bias", torch.zeros(labels))

    @torch.no_grad()
    def learn(self, batches: Iterable[Any], *, terms: int, longest_ngram: int, penalty: float) -> None:
        """Choose the terms and fit the layer.

        Args:
            batches: The training documents, each once: `input_ids`, `attention_mask`, `documents`, `labels`, `weights`.
            terms: The most terms to keep.
            longest_ngram: Terms have 1 to this many tokens, `LONGEST_NGRAM` at most.
            penalty: C of the support vector machine.

        Raises:
            EncoderError: No document has a token.
        """
        counted = _count(batches, self.vocabulary, longest_ngram)
        if not len(counted.keys):
            raise EncoderError(
                "the training documents are empty after tokenizing, so there are no terms to learn; give other texts, "
                "or an encoder whose vocabulary has their words"
            )
        labels = self.weight.shape[1]
        keys, found = counted.chosen(terms, labels=labels)
        idf = np.log((1 + len(counted.labels)) / (1 + found)) + 1
        weight, bias = _fit(counted.vectors(keys, idf), counted.labels, labels, penalty, counted.weights)
        self.keys = torch.from_numpy(keys).to(self.keys)
        self.idf = torch.from_numpy(idf).to(self.idf)
        self.weight = torch.from_numpy(weight).to(self.weight)
        self.bias = torch.from_numpy(bias).to(self.bias)

    @torch.no_grad()
    def multiply(self, factor: float) -> None:
        """Multiply all scores by a factor."""
        self.scale *= factor
        self.bias *= factor

    @torch.no_grad()
    def round(self) -> None:
        """Make W whole numbers from -127 to 127, which the scale of each label undoes, and the rest 16-bit numbers."""
        steps = self.weight.abs().amax(dim=0).clamp_min(torch.finfo(torch.float32).tiny) / 127  # (labels,)
        self.weight = (self.weight / steps).round()
        self.scale = (self.scale * steps).half().float()
        self.idf, self.bias = self.idf.half().float(), self.bias.half().float()

    def take_over(self, other: TermHead) -> None:
        """Know what another one has learned."""
        self.load_state_dict(other.state_dict())

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Make room for as many terms as were saved before they are copied in."""
        for name in ("keys", "idf", "weight"):
            if (saved := state_dict.get(f"{prefix}{name}")) is not None:
                setattr(self, name, getattr(self, name).new_empty((len(saved), *getattr(self, name).shape[1:])))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, documents: Tensor | None = None) -> Tensor:
        """The scores (documents, labels) that the terms add to the logits.

        Args:
            input_ids: (rows, tokens) int64, padded on the right.
            attention_mask: (rows, tokens), 0 for padding.
            documents: (rows,) int64: the document that each row belongs to; None where row i is document i.
        """
        if documents is None:
            documents = torch.arange(len(input_ids), device=input_ids.device)
        count = int(documents.max()) + 1
        if not len(self.keys):
            return self.bias.expand(count, -1)
        rows, keys = _terms(input_ids, attention_mask, self.vocabulary, self._longest())
        places = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
        known = self.keys[places] == keys
        # One number a document and term, in order.
        pairs, occurrences = torch.unique(documents[rows[known]] * len(self.keys) + places[known], return_counts=True)
        owners, places = pairs // len(self.keys), pairs % len(self.keys)
        entries = (1 + occurrences.log()) * self.idf[places]
        lengths = torch.zeros(count, device=entries.device).index_add(0, owners, entries.square()).sqrt()
        scores = functional.embedding_bag(
            places,
            self.weight,
            torch.searchsorted(owners, torch.arange(count, device=owners.device)),
            mode="sum",
            per_sample_weights=entries / lengths[owners],
        )
        return scores * self.scale + self.bias

    def ngrams(self) -> list[tuple[int, ...]]:
        """The tokens of each term, in the order of `keys`."""
        return [_tokens_of(int(key), self.vocabulary) for key in self.keys]

    def _longest(self) -> int:
        return len(_tokens_of(int(self.keys[-1]), self.vocabulary))  # longer sequences have larger numbers


@dataclass(frozen=True)
class _Counted:
    """The terms of documents: term `keys[i]` stands `occurrences[i]` times in document `owners[i]`."""

    owners: np.ndarray
    keys: np.ndarray
    occurrences: np.ndarray
    labels: np.ndarray
    weights: np.ndarray

    def chosen(self, terms: int, *, labels: int) -> tuple[np.ndarray, np.ndarray]:
        """At most so many terms, those with the largest χ² between them and the classes, in the order of their numbers;
        and how many documents have each. Those of one document say nothing of others and are left out, unless all are.

        In the statistic a document counts by its weight, as in the machine.
        """
        every, which, found = np.unique(self.keys, return_inverse=True, return_counts=True)
        weights = self.weights if self.weights.any() else np.ones_like(self.weights)
        in_class = [np.where(self.labels == label, weights, 0.0) for label in range(labels)]  # (documents,) each
        total = np.bincount(which, weights=weights[self.owners])
        statistic = np.zeros(len(every))
        for counts in in_class:
            observed = np.bincount(which, weights=counts[self.owners])
            expected = total * (counts.sum() / weights.sum())
            statistic += (observed - expected) ** 2 / np.maximum(expected, np.finfo(float).tiny)
        again = found > 1
        places = np.flatnonzero(again if again.any() else ~again)
        # Of equal ones those of the most documents, and of these the first; to nine digits, as sums round differently.
        order = np.lexsort((every[places], -found[places], -np.round(statistic[places], 9)))
        kept = np.sort(places[order[:terms]])
        return every[kept], found[kept]

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


def _count(batches: Iterable[Any], vocabulary: int, longest_ngram: int) -> _Counted:
    owners, keys, occurrences, labels, weights = [], [], [], [], []
    before = 0
    for batch in batches:
        documents = torch.arange(len(batch.input_ids)) if batch.documents is None else batch.documents
        rows, found = _terms(batch.input_ids, batch.attention_mask, vocabulary, longest_ngram)
        pairs, counts = torch.unique(torch.stack([documents[rows], found]), dim=1, return_counts=True)
        owners.append(pairs[0] + before)
        keys.append(pairs[1])
        occurrences.append(counts)
        labels.append(batch.labels)
        weights.append(torch.ones(len(batch.labels)) if batch.weights is None else batch.weights)
        before += len(batch.labels)
    return _Counted(*(torch.cat(parts).numpy() for parts in (owners, keys, occurrences, labels, weights)))


def _terms(input_ids: Tensor, attention_mask: Tensor, vocabulary: int, longest_ngram: int) -> tuple[Tensor, Tensor]:
    """The row and the number of every term, (terms,) int64 each.

    A token has its own number. One token more makes (number + 1)·vocabulary + token, so that no two terms share one.
    """
    tokens, present = _tokens(input_ids, attention_mask)
    numbers, parts = tokens, [(tokens, present)]
    for length in range(2, longest_ngram + 1):
        numbers = (numbers[:, :-1] + 1) * vocabulary + tokens[:, length - 1 :]
        parts.append((numbers, present[:, length - 1 :]))  # where its last token is one, the others are
    rows = torch.cat([there.nonzero()[:, 0] for _, there in parts])
    return rows, torch.cat([numbers[there] for numbers, there in parts])


def _tokens_of(number: int, vocabulary: int) -> tuple[int, ...]:
    """The tokens of the term with this number; see `_terms`."""
    tokens: list[int] = []
    while number >= 0 and len(tokens) < LONGEST_NGRAM:
        tokens.insert(0, number % vocabulary)
        number = number // vocabulary - 1
    return tuple(tokens)


def _tokens(input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
    """The ids without [CLS], (rows, tokens - 2), and which of them are neither [SEP] nor padding: what stands last in
    the longest row is its [SEP], and a token is one as long as another, [SEP] at least, comes after it."""
    return input_ids[:, 1:-1], attention_mask[:, 2:] > 0


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


def term_heads(model: nn.Module) -> list[TermHead]:
    """Those of a model: one, or two where PEFT keeps the layer as it was next to the one that is saved."""
    return [module for module in model.modules() if isinstance(module, TermHead)]
