from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from tanzaku.errors import EncoderError
from tanzaku.pretraining.masking import Masker
from tests.tiny import VOCABULARY

ROWS, LENGTH = 200, 64


class _Vocabulary:
    """Twenty ordinary pieces, every second of which goes on with the word before it."""

    mask_token_id, unk_token_id = 4, 1
    all_special_ids = (0, 1, 2, 3, 4)

    def __len__(self) -> int:
        return 25

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [f"##{index}" if index >= 5 and index % 2 else str(index) for index in ids]


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
