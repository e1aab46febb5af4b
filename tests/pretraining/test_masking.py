from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from tanzaku.errors import EncoderError
from tanzaku.pretraining.masking import Masker
from tests.tiny import VOCABULARY, make_encoder

ROWS, LENGTH = 200, 64


class _Vocabulary:
    """Twenty ordinary pieces, every second of which goes on with the word before it."""

    mask_token_id, unk_token_id = 4, 1
    all_special_ids = (0, 1, 2, 3, 4)

    def get_vocab(self) -> dict[str, int]:
        return {f"##{index}" if index >= 5 and index % 2 else str(index): index for index in range(25)}


def _batch(random: np.random.Generator) -> np.ndarray:
    ids = random.integers(5, 25, size=(ROWS, LENGTH))
    ids[:, 0], ids[:, -1], ids[:, 20] = 2, 3, 1
    return ids


def test_eighty_ten_ten() -> None:
    random = np.random.default_rng(0)
    ids = _batch(random)
    batch = Masker(_Vocabulary(), rate=0.2, whole_words=False)(ids, random=random)
    count = round(0.2 * ROWS * (LENGTH - 3))
    assert len(batch.positions) == count
    assert np.array_equal(batch.labels, ids.ravel()[batch.positions])
    assert not np.isin(batch.labels, [0, 1, 2, 3, 4]).any()
    seen = batch.input_ids.ravel()[batch.positions]
    # Of some 2,440 tokens; the standard deviation of a share is under 1 point. A drawn token may be the same.
    assert (seen == 4).mean() == pytest.approx(0.8, abs=0.03)
    assert (seen == batch.labels).mean() == pytest.approx(0.1 + 0.1 / 20, abs=0.03)
    others = np.delete(batch.input_ids.ravel(), batch.positions)
    assert np.array_equal(others, np.delete(ids.ravel(), batch.positions))


def test_where_nothing_is_known_unknown_tokens_are_hidden() -> None:
    masker, ids = Masker(_Vocabulary(), rate=0.2, whole_words=False), np.full((2, 8), 1)
    ids[:, 0], ids[:, -1] = 2, 3
    batch = masker(ids, random=np.random.default_rng(0))
    assert len(batch.positions) == round(0.2 * 12)
    assert (batch.labels == 1).all()
    assert not masker.knows(ids)
    ids[1, 4] = 7
    assert masker.knows(ids)


@pytest.mark.parametrize("whole_words", [False, True])
def test_a_batch_of_special_tokens_has_no_masked_one(whole_words: bool) -> None:
    batch = Masker(_Vocabulary(), rate=0.2, whole_words=whole_words)(
        np.array([[2, 3, 3], [2, 0, 3]]), random=np.random.default_rng(0)
    )
    assert len(batch.positions) == len(batch.labels) == 0
    assert batch.input_ids.tolist() == [[2, 3, 3], [2, 0, 3]]


def test_ids_without_a_piece_are_never_drawn(tmp_path: Path) -> None:
    """A word list that repeats a line has no piece at the first of both places."""
    lines = [*VOCABULARY[:5], *VOCABULARY[5:9] * 2, "##星", *VOCABULARY[9:]]
    folder = make_encoder(tmp_path)
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) < len(lines)
    ids = np.full((ROWS, LENGTH), len(lines) - 1)
    batch = Masker(tokenizer, rate=0.9, whole_words=True)(ids, random=np.random.default_rng(0))
    assert set(batch.input_ids.ravel()) == {4, *range(9, len(lines))}


def test_masked_places_are_spread_evenly() -> None:
    random = np.random.default_rng(0)
    ids = _batch(random)
    hits = np.zeros(ROWS * LENGTH)
    masker = Masker(_Vocabulary(), rate=0.3, whole_words=False)
    for _ in range(100):
        hits[masker(ids, random=random).positions] += 1
    by_place = hits.reshape(ROWS, LENGTH).mean(axis=0) / 100
    assert (by_place[[0, 20, -1]] == 0).all()
    assert np.delete(by_place, [0, 20, LENGTH - 1]) == pytest.approx(0.3, abs=0.02)


def test_whole_words_are_hidden_together() -> None:
    random = np.random.default_rng(0)
    ids = _batch(random)
    ids[:, 1], ids[:, 2] = 5, 7  # a row may begin in the middle of a word
    batch = Masker(_Vocabulary(), rate=0.2, whole_words=True)(ids, random=random)
    chosen = np.zeros(ids.size, dtype=bool)
    chosen[batch.positions] = True
    flat = ids.ravel()
    goes_on = (flat >= 5) & (flat % 2 == 1)
    joined = goes_on[1:] & (flat[:-1] >= 5)
    assert (chosen[1:][joined] == chosen[:-1][joined]).all()
    wanted = 0.2 * ROWS * (LENGTH - 3)
    assert wanted - 12 < len(batch.positions) <= wanted + 1


def test_whole_words_need_pieces_that_tell_them(tiny_encoder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    assert not any(piece.startswith("##") for piece in VOCABULARY)
    with pytest.raises(EncoderError, match="leave --whole-words out"):
        Masker(tokenizer, rate=0.2, whole_words=True)
