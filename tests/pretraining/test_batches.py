from typing import Any

import numpy as np
import pytest

from tanzaku.errors import DataError
from tanzaku.pretraining.batches import PackedBatches
from tanzaku.pretraining.masking import MaskedBatch, MaskedBatches, Masker

VOCABULARY = 60_000


class _Numbers:
    """A vocabulary in which a token's id tells its place in the stream."""

    mask_token_id, unk_token_id = 4, 1
    all_special_ids = (0, 1, 2, 3, 4)

    def get_vocab(self) -> dict[str, int]:
        return {str(index): index for index in range(VOCABULARY)}


def _batches(tokens: int = 50_000, **changes: Any) -> PackedBatches:
    ids = np.arange(5, tokens + 5, dtype=np.uint16)
    settings: dict[str, Any] = {
        "first": 2,
        "last": 3,
        "max_tokens": 34,
        "batch_tokens": 34 * 8,
        "held_out": 0.02,
        "held_out_tokens": 200_000,
        "seed": 1,
    }
    return PackedBatches(ids, **settings | changes)


def _masked(batches: PackedBatches) -> MaskedBatches:
    return MaskedBatches(batches, Masker(_Numbers(), rate=0.2, whole_words=False), seed=1)


def _original(batch: MaskedBatch) -> np.ndarray:
    ids = batch.input_ids.copy().ravel()
    ids[batch.positions] = batch.labels
    return ids.reshape(batch.input_ids.shape)


def test_shifts_reach_every_position_and_change_nothing_else() -> None:
    plain, shifted = _batches(), _batches(largest_shift=6)
    shifts = []
    for step in range(20):
        batch, reference = shifted.training(step), plain.training(step)
        assert reference.shifts is None
        assert np.array_equal(batch.input_ids, reference.input_ids)
        masked = _masked(shifted).training(step)
        assert np.array_equal(masked.labels, _masked(plain).training(step).labels)
        assert masked.shifts is not None
        assert batch.shifts is not None
        assert np.array_equal(masked.shifts, batch.shifts)
        shifts += batch.shifts.tolist()
    assert set(shifts) == set(range(7))
    again = shifted.training(3).shifts
    assert again is not None
    assert again.tolist() == shifts[24:32]
    assert all(batch.shifts is None for batch in shifted.held_out())


def test_sequences_are_packed_between_cls_and_sep() -> None:
    ids = _batches().training(0).input_ids
    assert ids.shape == (8, 34)
    assert (ids[:, 0] == 2).all()
    assert (ids[:, -1] == 3).all()
    assert (ids[:, 1:-1] >= 5).all()
    # Neighbours in the stream, but for the places where a held-out block was taken out.
    assert (np.diff(ids[:, 1:-1], axis=1) == 1).mean() > 0.99


def test_an_epoch_reads_nearly_all_once_and_nothing_held_out() -> None:
    batches = _batches()
    read = np.concatenate(
        [batches.training(step).input_ids[:, 1:-1].ravel() for step in range(batches.steps_per_epoch)]
    )
    held_out = np.concatenate([batch.input_ids[:, 1:-1].ravel() for batch in batches.held_out()])
    assert len(np.unique(read)) == len(read) > 0.98 * 49_000
    assert not np.isin(held_out, read).any()
    assert len(held_out) == pytest.approx(1000, abs=150)


def test_a_masked_batch_hides_tokens_of_the_packed_one() -> None:
    batches = _batches()
    for masked, packed in zip(_masked(batches).held_out(), batches.held_out(), strict=True):
        assert np.array_equal(_original(masked), packed.input_ids)
    assert np.array_equal(_original(_masked(batches).training(7)), batches.training(7).input_ids)


def test_every_epoch_cuts_and_masks_anew() -> None:
    batches = _batches()
    masked_batches = _masked(batches)
    epochs = [
        [
            masked_batches.training(step)
            for step in range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
        ]
        for epoch in range(2)
    ]
    starts = [{int(row[1]) for batch in epoch for row in _original(batch)} for epoch in epochs]
    assert len(starts[0] & starts[1]) < 0.2 * len(starts[0])
    masked = [{int(label) for batch in epoch for label in batch.labels} for epoch in epochs]
    assert len(masked[0] & masked[1]) / len(masked[0]) == pytest.approx(0.2, abs=0.03)


def test_a_batch_does_not_depend_on_what_was_asked_before() -> None:
    forwards, anew = _batches(), _batches()
    step = forwards.steps_per_epoch + 3
    for earlier in range(step):
        forwards.training(earlier)
    assert np.array_equal(forwards.training(step).input_ids, anew.training(step).input_ids)
    assert not np.array_equal(forwards.training(step).input_ids, _batches(seed=2).training(step).input_ids)


def test_the_held_out_text_is_the_same_for_every_seed_and_length() -> None:
    def held_out(**changes: Any) -> set[int]:
        return {int(index) for batch in _batches(**changes).held_out() for index in batch.input_ids[:, 1:-1].ravel()}

    short, other, long = held_out(), held_out(seed=9), held_out(max_tokens=66, batch_tokens=66 * 8)
    assert short == other
    assert len(short & long) > 0.9 * len(long)
    first, again = (_masked(_batches()).held_out()[0].input_ids for _ in range(2))
    assert np.array_equal(first, again)
    assert len(held_out(held_out_tokens=70)) == 2 * 32


def test_too_little_text() -> None:
    with pytest.raises(DataError, match=r"300 tokens, too few for batches of 272 tokens"):
        _batches(tokens=300)


def test_too_little_held_out_text_is_no_matter_of_the_batch() -> None:
    with pytest.raises(DataError, match=r"1\.0% are held out, too few for one sequence of .* a larger held_out"):
        _batches(tokens=2_000, held_out=0.01, max_tokens=130, batch_tokens=130)
