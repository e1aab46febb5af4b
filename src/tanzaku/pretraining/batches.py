"""From the token stream to packed batches: what is held out, where sequences are cut, in which order they come."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tanzaku.errors import DataError
from tanzaku.pretraining.cooccurrence import chunks_of_blocks

_LARGEST_BLOCK = 8192
_SMALLEST_BLOCK = 64
_BLOCKS = 256  # at least so many, where the text is long enough, so that a small share can be held out
# Apart from the user's seed: two phases, or two seeds, on one text hold out the same blocks and the same masks.
HELD_OUT_SEED = 0
# These keep the streams of random numbers apart.
ORDER, MASKS, SHIFTS, PARTS = 1, 2, 3, 4


@dataclass(frozen=True)
class PackedBatch:
    """Sequences [CLS] … [SEP] without padding.

    `input_ids` (batch, seq) int64. `shifts` (batch,) int64 says by how many places of the encoder's position table each
    sequence is moved, [CLS] excepted; None: none is.
    """

    input_ids: np.ndarray
    shifts: np.ndarray | None = None


@dataclass(frozen=True)
class _Part:
    """Some blocks of the stream, read as if they lay end to end."""

    ids: np.ndarray  # (tokens,)
    blocks: np.ndarray  # (blocks,) int64: their numbers
    block_tokens: int

    def __len__(self) -> int:
        return len(self.blocks) * self.block_tokens

    def cut(self, starts: np.ndarray, *, length: int) -> np.ndarray:
        """(sequences, length): `length` tokens from each of `starts` on."""
        places = starts[:, None] + np.arange(length)
        return self.ids[self.blocks[places // self.block_tokens] * self.block_tokens + places % self.block_tokens]


class PackedBatches:
    """Batches of sequences [CLS] … [SEP] without padding; batch number n is the same whenever it is asked for.

    Every epoch cuts the stream at other places. Where a new encoder has more positions than a sequence has tokens,
    sequences are moved along its table, so that all of it is trained.

    Args:
        ids: The token stream, (tokens,).
        first: The id of [CLS].
        last: The id of [SEP].
        max_tokens: Tokens of a sequence.
        batch_tokens: Tokens of a batch, at most.
        held_out: Share of the stream that is kept for evaluation.
        held_out_tokens: Tokens of it that are used, at most.
        seed: Of the order and the shifts.
        largest_shift: A training sequence is moved along the encoder's positions by 0 to this many places.

    Raises:
        DataError: The text is too short for one batch.
    """

    def __init__(
        self,
        ids: np.ndarray,
        *,
        first: int,
        last: int,
        max_tokens: int,
        batch_tokens: int,
        held_out: float,
        held_out_tokens: int,
        seed: int,
        largest_shift: int = 0,
    ) -> None:
        self._training, self._held_out = _split(ids, held_out=held_out)
        self._first, self._last, self._seed = first, last, seed
        self._body = max_tokens - 2
        self.max_tokens, self._largest_shift = max_tokens, largest_shift
        self._held_out_tokens = held_out_tokens
        self.sequences = batch_tokens // max_tokens  # of a batch
        self.batch_tokens = self.sequences * max_tokens
        # One sequence less than there are, since an epoch's first cut may lie anywhere in the first sequence.
        self.steps_per_epoch = max(0, len(self._training) // self._body - 1) // self.sequences
        self._epoch, self._starts = -1, np.zeros(0, dtype=np.int64)
        if len(self._held_out) < self._body:
            raise DataError(
                f"of the text's {len(ids):,} tokens, {held_out:.1%} are held out, too few for one sequence of "
                f"{max_tokens:,}; give more text, a larger held_out, or a smaller max_tokens"
            )
        if self.steps_per_epoch < 1:
            raise DataError(
                f"the text has {len(ids):,} tokens, too few for batches of {batch_tokens:,} tokens with {held_out:.1%} "
                "held out; give more text, or a smaller batch_tokens"
            )

    def training(self, step: int) -> PackedBatch:
        """The batch of a step, counted from 0: (sequences, max_tokens)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._starts = epoch, self._starts_of(epoch)
        starts = self._starts[place * self.sequences : (place + 1) * self.sequences]
        ids = self._packed(self._training, starts)
        if not self._largest_shift:
            return PackedBatch(ids)
        random = np.random.default_rng([self._seed, SHIFTS, step])
        return PackedBatch(ids, shifts=random.integers(self._largest_shift, size=len(starts), endpoint=True))

    def training_text(self) -> Iterator[np.ndarray]:
        """All that is trained on, as running text: (rows, tokens) at a time."""
        part = self._training
        return chunks_of_blocks(part.ids, part.blocks, block_tokens=part.block_tokens)

    @property
    def training_tokens(self) -> int:
        """Of the running text that is trained on."""
        return len(self._training)

    def held_out(self) -> list[PackedBatch]:
        """The batches of an evaluation, always the same."""
        most = max(1, self._held_out_tokens // self.max_tokens)
        starts = np.arange(0, len(self._held_out) - self._body + 1, self._body)[:most]
        pieces = [starts[place : place + self.sequences] for place in range(0, len(starts), self.sequences)]
        return [PackedBatch(self._packed(self._held_out, piece)) for piece in pieces]

    def _starts_of(self, epoch: int) -> np.ndarray:
        random = np.random.default_rng([self._seed, ORDER, epoch])
        offset = int(random.integers(self._body))
        starts = np.arange(offset, len(self._training) - self._body + 1, self._body)
        return random.permutation(starts)

    def _packed(self, part: _Part, starts: np.ndarray) -> np.ndarray:
        packed = np.empty((len(starts), self.max_tokens), dtype=np.int64)  # (sequences, max_tokens)
        packed[:, 0], packed[:, -1] = self._first, self._last
        packed[:, 1:-1] = part.cut(starts, length=self._body)
        return packed


def _split(ids: np.ndarray, *, held_out: float) -> tuple[_Part, _Part]:
    """Training and held-out blocks, spread over the whole stream by chance; a last piece of a block is left out."""
    block_tokens = min(_LARGEST_BLOCK, max(_SMALLEST_BLOCK, len(ids) // _BLOCKS))
    blocks = len(ids) // block_tokens
    order = np.random.default_rng(HELD_OUT_SEED).permutation(blocks)
    kept = max(1, round(held_out * blocks))
    return (
        _Part(ids=ids, blocks=np.sort(order[kept:]), block_tokens=block_tokens),
        _Part(ids=ids, blocks=np.sort(order[:kept]), block_tokens=block_tokens),
    )
