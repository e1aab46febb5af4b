"""Which tokens are hidden, and what stands in their place."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tanzaku.errors import EncoderError
from tanzaku.pretraining.batches import HELD_OUT_SEED, MASKS, PackedBatches
from tanzaku.pretraining.vocabulary import largest_id

_SHOWN_AS_MASK = 0.8
_SHOWN_AS_RANDOM = 0.1
_CONTINUATION = "##"


@dataclass(frozen=True)
class MaskedBatch:
    """A batch to predict from.

    `input_ids` (batch, seq) int64; `positions` (masked,) int64, ascending, into the flattened batch; `labels`
    (masked,) int64, the ids that stood there. `shifts` (batch,) int64 says by how many places of the encoder's position
    table each sequence is moved, [CLS] excepted; None: none is.
    """

    input_ids: np.ndarray
    positions: np.ndarray
    labels: np.ndarray
    shifts: np.ndarray | None = None


class Masker:
    """Draws masks for one vocabulary: 80 % [MASK], 10 % another token, 10 % as it was (Devlin et al. 2019, §3.1).

    Special tokens are neither hidden nor drawn. A batch has exactly its share of masked tokens (to the nearest
    token, or, with whole words, to the last word that still fits): every batch costs the same. A batch that has nothing
    but special tokens has no masked one.

    Args:
        tokenizer: Gives the vocabulary.
        rate: Share of the ordinary tokens to hide.
        whole_words: Hide all pieces of a word (Cui et al. 2021, arXiv 1906.08101).

    Raises:
        EncoderError: It has no [MASK], or whole words are asked of a vocabulary whose pieces do not tell them.
    """

    def __init__(self, tokenizer: Any, *, rate: float, whole_words: bool) -> None:
        if tokenizer.mask_token_id is None:
            raise EncoderError("the encoder's tokenizer has no mask token, so it can't learn by masking")
        pieces = tokenizer.get_vocab()
        ids = np.array(list(pieces.values()))
        rows = largest_id(tokenizer) + 1
        self._rate = rate
        self._mask_id, self._unknown_id = tokenizer.mask_token_id, tokenizer.unk_token_id
        # Ids that no piece has are neither hidden nor drawn.
        self._ordinary = np.zeros(rows, dtype=bool)
        self._ordinary[ids] = True
        self._ordinary[list(tokenizer.all_special_ids)] = False
        self._candidates = np.flatnonzero(self._ordinary)
        self._continues = np.zeros(rows, dtype=bool)
        self._continues[ids] = [piece.startswith(_CONTINUATION) for piece in pieces]
        self._whole_words = whole_words
        if whole_words and not self._continues.any():
            raise EncoderError(
                f"whole words can't be masked: no piece of the vocabulary starts with {_CONTINUATION!r}; "
                "leave --whole-words out"
            )

    def knows(self, ids: np.ndarray) -> bool:
        """Whether any token of a batch (batch, seq) is an ordinary piece."""
        return bool(self._ordinary[ids.astype(np.int64)].any())

    def __call__(self, ids: np.ndarray, *, random: np.random.Generator) -> MaskedBatch:
        """Mask a batch (batch, seq) of any integer dtype with fresh random numbers."""
        inputs = ids.astype(np.int64).ravel()
        ordinary = self._ordinary[inputs]
        if not ordinary.any():
            ordinary = inputs == self._unknown_id  # a stretch of text that the vocabulary does not know
        known = int(ordinary.sum())
        count = min(known, max(1, round(self._rate * known)))
        if self._whole_words:
            positions = self._choose_words(inputs, ordinary, count, random)
        else:
            positions = np.sort(random.choice(np.flatnonzero(ordinary), size=count, replace=False))
        labels = inputs[positions]
        fate = random.random(len(positions))
        inputs[positions[fate < _SHOWN_AS_MASK]] = self._mask_id
        drawn = positions[(fate >= _SHOWN_AS_MASK) & (fate < _SHOWN_AS_MASK + _SHOWN_AS_RANDOM)]
        inputs[drawn] = random.choice(self._candidates, size=len(drawn))
        return MaskedBatch(input_ids=inputs.reshape(ids.shape), positions=positions, labels=labels)

    def _choose_words(
        self, inputs: np.ndarray, ordinary: np.ndarray, count: int, random: np.random.Generator
    ) -> np.ndarray:
        # A word only continues after an ordinary token: rows begin with [CLS], so none crosses a row.
        goes_on = self._continues[inputs] & ordinary
        goes_on[1:] &= ordinary[:-1]
        goes_on[0] = False
        word_of = np.cumsum(~goes_on) - 1
        lengths = np.bincount(word_of[ordinary], minlength=int(word_of[-1]) + 1)
        order = random.permutation(np.flatnonzero(lengths))
        chosen = np.zeros(len(lengths), dtype=bool)
        # At least one word, however long it is.
        chosen[order[: max(1, np.searchsorted(np.cumsum(lengths[order]), count, side="right"))]] = True
        return np.flatnonzero(chosen[word_of] & ordinary)


class MaskedBatches:
    """Packed batches with masks, which every batch draws again; batch number n is always the same.

    Args:
        packed: The batches before masking.
        masker: Hides tokens.
        seed: Of the masks in training; those of an evaluation are always the same.
    """

    def __init__(self, packed: PackedBatches, masker: Masker, *, seed: int) -> None:
        self._packed, self._masker, self._seed = packed, masker, seed

    def training(self, step: int) -> MaskedBatch:
        """The batch of a step, counted from 0."""
        batch = self._packed.training(step)
        masked = self._masker(batch.input_ids, random=np.random.default_rng([self._seed, MASKS, step]))
        return replace(masked, shifts=batch.shifts)

    def held_out(self) -> list[MaskedBatch]:
        """The batches of an evaluation, always the same."""
        random = np.random.default_rng([HELD_OUT_SEED, MASKS])
        return [self._masker(batch.input_ids, random=random) for batch in self._packed.held_out()]
