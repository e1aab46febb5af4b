"""Documents as rows of a graph's inputs: cut to the encoder's length, padded, and which rows belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tanzaku.encoders.reading import pieces
from tanzaku.runtime.settings import ReadingSettings

# [CLS], a pair of tokens and [SEP]: what a graph that counts pairs needs at least.
_NARROWEST = 4


@dataclass(frozen=True)
class Rows:
    """Padded rows.

    `input_ids` and `attention_mask` are (rows, tokens) int64. `averages` is (documents, rows) float32: a document's
    features are the sum of its rows' features with these weights, which are equal and add up to 1.
    """

    input_ids: np.ndarray
    attention_mask: np.ndarray
    averages: np.ndarray


def make_rows(documents: Sequence[np.ndarray], reading: ReadingSettings) -> Rows:
    """The rows of documents (each (tokens,) int32, as the tokenizer gives them for this reading)."""
    cut = [
        pieces(ids, long_text=reading.long_text, max_tokens=reading.max_tokens, max_windows=reading.max_windows)
        for ids in documents
    ]
    rows = [row for parts in cut for row in parts]
    width = max(_NARROWEST, *map(len, rows))
    input_ids = np.full((len(rows), width), reading.pad_id, dtype=np.int64)
    attention_mask = np.zeros((len(rows), width), dtype=np.int64)
    for place, row in enumerate(rows):
        input_ids[place, : len(row)] = row
        attention_mask[place, : len(row)] = 1
    averages = np.zeros((len(cut), len(rows)), dtype=np.float32)
    end = 0
    for document, parts in enumerate(cut):
        averages[document, end : end + len(parts)] = 1 / len(parts)
        end += len(parts)
    return Rows(input_ids, attention_mask, averages)


def batches_by_length(lengths: Sequence[int], *, budget: int) -> Iterator[list[int]]:
    """Rows from the longest to the shortest, so many a batch that rows times the longest one's length fit `budget`."""
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    start = 0
    while start < len(order):
        rows = order[start : start + max(1, budget // lengths[order[start]])]
        yield rows
        start += len(rows)
