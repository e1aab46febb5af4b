"""The documents that all sides train on and classify: random tokens with Livedoor's lengths."""

from dataclasses import dataclass

import numpy as np

from benchmarks.lengths import LONGEST, TEST, TRAIN, lengths_at, spread_evenly
from benchmarks.scale import BATCH_SIZE, LABELS

PAD, UNKNOWN, FIRST, LAST = 0, 1, 2, 3
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# `Trainer` sorts 50 batches' worth of shuffled documents by length (transformers, get_length_grouped_indices), so a
# batch of its grouping spans a fiftieth of the distribution.
_GROUPED_SHARE = 1 / 50


@dataclass(frozen=True)
class StepDocuments:
    """The documents of a few training steps: one batch to warm up, the longest there is, then the counted ones.

    `ids` are (tokens,) int64 each, `classes` (documents,) int64; `grouped` and `dealt` are orders of the same
    documents, (documents,) int64, whose first `BATCH_SIZE` are the warm-up batch.
    """

    ids: tuple[np.ndarray, ...]
    classes: np.ndarray
    grouped: np.ndarray
    dealt: np.ndarray

    def lengths(self) -> list[int]:
        """The counted documents' lengths in tokens, without the warm-up's."""
        return [len(ids) for ids in self.ids[BATCH_SIZE:]]


def step_documents(steps: int, *, max_tokens: int, vocabulary: int, seed: int = 0) -> StepDocuments:
    """`steps` batches that stand for a whole epoch, in two orders.

    Grouped, batch k holds the lengths around the quantile (k + ½)/steps, as close to each other as the grouping of a
    whole epoch would bring them. (Grouping only the few documents here would flatter nobody: `Trainer` does not sort so
    few at all.) Dealt, the same documents lie in batches by chance, as in an epoch that is merely shuffled.
    """
    random = np.random.default_rng(seed)
    within = ((np.arange(BATCH_SIZE) + 0.5) / BATCH_SIZE - 0.5) * _GROUPED_SHARE
    quantiles = ((np.arange(steps) + 0.5) / steps)[:, None] + within  # (steps, batch)
    counted = lengths_at(TRAIN, np.clip(quantiles, 0, 1).ravel(), max_tokens=max_tokens)
    lengths = np.concatenate([np.full(BATCH_SIZE, min(LONGEST, max_tokens)), counted])
    order = np.arange(len(lengths))
    return StepDocuments(
        ids=tuple(_random_ids(random, int(length), vocabulary) for length in lengths),
        classes=random.integers(0, LABELS, size=len(lengths)),
        grouped=order,
        dealt=np.concatenate([order[:BATCH_SIZE], random.permutation(order[BATCH_SIZE:])]),
    )


def texts_to_classify(count: int, *, max_tokens: int, vocabulary: int, seed: int = 0) -> list[str]:
    """`count` texts of made-up words with the test set's lengths, in random order; see `word_tokenizer`."""
    random = np.random.default_rng(seed)
    lengths = random.permutation(spread_evenly(TEST, count, max_tokens=max_tokens))
    return [" ".join(f"w{word}" for word in _random_ids(random, int(length), vocabulary)[1:-1]) for length in lengths]


def _random_ids(random: np.random.Generator, length: int, vocabulary: int) -> np.ndarray:
    words = random.integers(len(SPECIAL_TOKENS), vocabulary, size=length - 2)
    return np.concatenate([[FIRST], words, [LAST]])
