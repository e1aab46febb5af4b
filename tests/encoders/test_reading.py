"""How long documents are cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanzaku.encoders.reading import count_windows, pieces, tokenized_length
from tanzaku.errors import EncoderError

CLS, SEP = 2, 3


def _document(words: int) -> np.ndarray:
    """[CLS], so many different ids, [SEP]."""
    return np.array([CLS, *range(10, 10 + words), SEP], dtype=np.int32)


@given(words=st.integers(0, 2000), max_tokens=st.integers(3, 130))
def test_windows_put_together_are_the_document(words: int, max_tokens: int) -> None:
    document = _document(words)
    windows = pieces(document, long_text="windows", max_tokens=max_tokens)
    assert all(window[0] == CLS and window[-1] == SEP for window in windows)
    together = np.concatenate([document[:1], *(window[1:-1] for window in windows), document[-1:]])
    assert together.tolist() == document.tolist()
    lengths = [len(window) for window in windows]
    assert max(lengths) <= max_tokens
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) > 2 or words == 0
    # As few as can be: one less would have to be longer than allowed.
    assert (len(windows) - 1) * (max_tokens - 2) < max(words, 1)


@given(words=st.integers(0, 500), max_tokens=st.integers(3, 60), most=st.none() | st.integers(1, 9))
def test_windows_are_counted_without_cutting(words: int, max_tokens: int, most: int | None) -> None:
    windows = pieces(_document(words), long_text="windows", max_tokens=max_tokens, max_windows=most)
    counts = count_windows(np.array([words + 2]), max_tokens=max_tokens, max_windows=most)
    assert counts.tolist() == [len(windows)]


@given(words=st.integers(0, 500), max_tokens=st.integers(3, 60), most=st.integers(1, 9))
def test_the_first_windows_are_kept_full(words: int, max_tokens: int, most: int) -> None:
    windows = pieces(_document(words), long_text="windows", max_tokens=max_tokens, max_windows=most)
    kept = np.concatenate([window[1:-1] for window in windows])
    assert kept.tolist() == _document(words)[1:-1][: most * (max_tokens - 2)].tolist()


@given(words=st.integers(0, 500), max_tokens=st.integers(3, 60))
def test_head_and_tail_fill_the_row(words: int, max_tokens: int) -> None:
    document = _document(words)
    (row,) = pieces(document, long_text="head+tail", max_tokens=max_tokens)
    assert len(row) == min(len(document), max_tokens)
    text, whole = row[1:-1].tolist(), document[1:-1].tolist()
    heads = [head for head in range(len(text) + 1) if text == whole[:head] + whole[len(whole) - (len(text) - head) :]]
    assert heads, "the row is no head with a tail"
    assert (row[0], row[-1]) == (CLS, SEP)


def test_head_and_tail_are_those_of_sun_et_al() -> None:
    (row,) = pieces(_document(2000), long_text="head+tail", max_tokens=512)
    assert row.tolist() == [CLS, *range(10, 10 + 128), *range(2010 - 382, 2010), SEP]


@pytest.mark.parametrize("long_text", ["head", "head+tail", "windows"])
def test_a_document_that_fits_stays_as_it_is(long_text: str) -> None:
    document = _document(6)
    (row,) = pieces(document, long_text=long_text, max_tokens=8)  # type: ignore[arg-type]
    assert row is document


def test_only_what_is_cut_later_is_tokenized_whole() -> None:
    assert tokenized_length("head", max_tokens=64) == 64
    assert tokenized_length("head+tail", max_tokens=64) is None
    assert tokenized_length("windows", max_tokens=64) is None


@pytest.mark.parametrize("max_tokens", [None, 2])
def test_there_must_be_room(max_tokens: int | None) -> None:
    with pytest.raises(EncoderError, match="leaves no room"):
        pieces(_document(6), long_text="windows", max_tokens=max_tokens)


def test_another_way_names_those_there_are() -> None:
    with pytest.raises(EncoderError, match=r"'tail' is not known; choose one of head, head\+tail, windows"):
        pieces(_document(6), long_text="tail", max_tokens=8)  # type: ignore[arg-type]
