"""Batches of documents that are one row, or several windows."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tanzaku.encoders.reading import LongText
from tanzaku.encoders.tokens import TokenizedDocuments
from tanzaku.errors import EncoderError
from tanzaku.training.batches import Batch, LabelledTokens


def _split(lengths: list[int], **settings: object) -> LabelledTokens:
    """Documents of so many tokens: [CLS] is 1, [SEP] is 2, and no two other ids are equal."""
    documents, start = [], 10
    for length in lengths:
        documents.append([1, *range(start, start + length - 2), 2])
        start += length
    offsets = np.cumsum([0, *lengths], dtype=np.int64)
    tokens = TokenizedDocuments(np.concatenate(documents).astype(np.int32), offsets)
    return LabelledTokens(tokens, np.arange(len(lengths)), pad_id=0, **settings)  # type: ignore[arg-type]


def _rows(batch: Batch) -> list[list[int]]:
    """Each row without its padding."""
    return [row[mask.bool()].tolist() for row, mask in zip(batch.input_ids, batch.attention_mask, strict=True)]


def test_documents_of_one_row_have_no_numbers() -> None:
    batch = _split([5, 3, 4]).batch([2, 0])
    assert batch.documents is None
    assert batch.input_ids.tolist() == [[1, 18, 19, 2, 0], [1, 10, 11, 12, 2]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    assert batch.labels.tolist() == [2, 0]


def test_batches_are_padded_to_few_widths_and_never_beyond_the_most_tokens() -> None:
    split = _split([*range(3, 101)], max_tokens=90)
    widths = {split.batch([document]).input_ids.shape[1] for document in range(88)}  # of 3 to 90 tokens
    assert widths == {32, 64, 90}
    batch = split.batch([2, 40])
    assert batch.attention_mask.sum(dim=1).tolist() == [5, 43]
    assert (batch.input_ids[:, 43:] == 0).all()


def test_windows_are_rows_with_their_documents_number() -> None:
    batch = _split([9, 3, 6], long_text="windows", max_tokens=5).batch([1, 0, 2])
    assert batch.documents is not None
    assert batch.documents.tolist() == [0, 1, 1, 1, 2, 2]
    assert _rows(batch) == [
        [1, 19, 2],
        [1, 10, 11, 12, 2],
        [1, 13, 14, 2],
        [1, 15, 16, 2],
        [1, 22, 23, 2],
        [1, 24, 25, 2],
    ]
    assert batch.labels.tolist() == [1, 0, 2]
    assert len(batch) == 3
    assert {tensor.dtype for tensor in (batch.input_ids, batch.documents, batch.labels)} == {torch.int64}


def test_max_windows_bounds_the_rows() -> None:
    batch = _split([40, 4], long_text="windows", max_tokens=5, max_windows=2).batch([0, 1])
    assert _rows(batch) == [[1, 10, 11, 12, 2], [1, 13, 14, 15, 2], [1, 50, 51, 2]]


@pytest.mark.parametrize(
    ("settings", "cut"),
    [
        ({"max_tokens": 6}, 2),  # the tokenizer has cut the longest to as many tokens as the other has
        ({"long_text": "head+tail", "max_tokens": 6}, 1),
        ({"long_text": "head+tail", "max_tokens": 5}, 2),
        ({"long_text": "windows", "max_tokens": 5}, 0),
        ({"long_text": "windows", "max_tokens": 5, "max_windows": 2}, 1),
        ({"long_text": "windows", "max_tokens": 5, "max_windows": 3}, 0),
        ({}, 0),
    ],
)
def test_documents_that_are_read_in_part_are_counted(settings: dict[str, Any], cut: int) -> None:
    longest = 6 if settings.get("long_text", "head") == "head" else 9  # 7 tokens of text take three windows of 3
    assert _split([longest, 6, 4], **settings).partly_read == cut


def test_head_and_tail_is_one_row() -> None:
    batch = _split([40, 4], long_text="head+tail", max_tokens=6).batch([0, 1])
    assert batch.documents is None
    assert _rows(batch) == [[1, 10, 45, 46, 47, 2], [1, 50, 51, 2]]


def test_a_batch_goes_to_another_device_whole() -> None:
    batch = _split([9, 3], long_text="windows", max_tokens=5).batch([0, 1]).to(torch.device("meta"))
    assert batch.documents is not None
    assert {tensor.device.type for tensor in (batch.input_ids, batch.attention_mask, batch.labels)} == {"meta"}
    assert batch.documents.device.type == "meta"
    assert _split([3]).batch([0]).to(torch.device("meta")).documents is None


def test_windows_are_padded_to_the_length_that_is_asked_for() -> None:
    batch = _split([9, 3], long_text="windows", max_tokens=5, pad_to=7).batch([0, 1])
    assert batch.input_ids.shape == (4, 7)


@given(
    lengths=st.lists(st.integers(3, 60), max_size=12),
    batch_size=st.integers(1, 9),
    long_text=st.sampled_from(["head", "head+tail", "windows"]),
    most=st.none() | st.integers(1, 3),
)
def test_in_order_gives_every_document_once_and_few_rows_at_once(
    lengths: list[int], batch_size: int, long_text: LongText, most: int | None
) -> None:
    split = (
        _split(lengths, long_text=long_text, max_tokens=10, max_windows=most)
        if lengths
        else LabelledTokens(TokenizedDocuments(np.zeros(0, np.int32), np.zeros(1, np.int64)), np.zeros(0, np.int64), 0)
    )
    batches = list(split.in_order(batch_size))
    assert [label for batch in batches for label in batch.labels.tolist()] == list(range(len(lengths)))
    for batch in batches:
        assert len(batch.input_ids) <= batch_size or len(batch) == 1
    if long_text != "windows":
        sizes = [len(batch) for batch in batches]
        full, rest = divmod(len(lengths), batch_size)
        assert sizes == [batch_size] * full + [rest] * (rest > 0)


@pytest.mark.parametrize("long_text", ["head+tail", "windows"])
def test_what_is_cut_needs_a_length(long_text: str) -> None:
    with pytest.raises(EncoderError, match="needs to know max_tokens"):
        _split([3], long_text=long_text)
