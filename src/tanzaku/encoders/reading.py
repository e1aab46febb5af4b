"""How a document becomes what the classifier sees: which of its tokens are read, and what of their states is kept.

Of a document that has more tokens than the encoder takes at once, there are three ways to read: its head, its head and
its tail, or all of it in windows. The first is the tokenizer's truncation; the other two cut the whole document's ids,
which are cached once for every length, when a batch is made. The poolings are computed in `tanzaku.encoders.pooled`.
"""

from typing import Literal, get_args

import numpy as np

from tanzaku.errors import EncoderError

LongText = Literal["head", "head+tail", "windows"]
LONG_TEXTS: tuple[LongText, ...] = get_args(LongText)
Pooling = Literal["cls", "mean", "mean+max"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)

# Of 510 tokens Sun et al. 2019 (arXiv 1905.05583, section 5.3.1) kept the first 128 and the last 382, chosen by
# experiment on English reviews and Chinese news; no measurement on Japanese speaks for another share.
HEAD_SHARE = 128 / 510
# [CLS] and [SEP].
_ENDS = 2


def tokenized_length(long_text: LongText, *, max_tokens: int | None) -> int | None:
    """The `max_tokens` that `tokenize` needs so that `pieces` finds what it cuts: None for the whole document."""
    return max_tokens if long_text == "head" else None


def pieces(
    ids: np.ndarray, *, long_text: LongText, max_tokens: int | None, max_windows: int | None = None
) -> list[np.ndarray]:
    """The rows that stand for one document.

    Args:
        ids: (tokens,) int32, from [CLS] to [SEP]; for "head" as truncated by the tokenizer, else the whole document.
        long_text: "head": the document as it is. "head+tail": one row of its first and last tokens. "windows": as few
            rows as hold it, without overlap, whose lengths differ by one at most.
        max_tokens: The most tokens of a row, [CLS] and [SEP] among them; "head" does not need it.
        max_windows: Read no more than the document's first so many full windows; None reads all of it.

    Returns:
        One row or, for "windows", one or more: (at most max_tokens,), each from [CLS] to [SEP].

    Raises:
        EncoderError: `long_text` is none of the three, or `max_tokens` leaves no room for text.
    """
    if long_text == "head":
        return [ids]
    if long_text not in LONG_TEXTS:
        raise EncoderError(f"long_text = {long_text!r} is not known; choose one of {', '.join(LONG_TEXTS)}")
    if max_tokens is None or max_tokens <= _ENDS:
        raise EncoderError(f"max_tokens = {max_tokens} leaves no room for text between [CLS] and [SEP]; set 3 or more")
    if len(ids) <= max_tokens:
        return [ids]
    if long_text == "head+tail":
        return [_head_and_tail(ids, max_tokens)]
    return _windows(ids, max_tokens, max_windows)


def count_windows(lengths: np.ndarray, *, max_tokens: int, max_windows: int | None = None) -> np.ndarray:
    """How many windows `pieces` makes of documents of these lengths (documents,), [CLS] and [SEP] included."""
    room = max_tokens - _ENDS
    counts: np.ndarray = np.maximum(1, -((_ENDS - lengths) // room))  # the ceiling of text / room
    if max_windows is not None:
        counts = np.minimum(counts, max_windows)
    return counts


def _head_and_tail(ids: np.ndarray, max_tokens: int) -> np.ndarray:
    room = max_tokens - _ENDS
    head = round(room * HEAD_SHARE)
    return np.concatenate([ids[: 1 + head], ids[len(ids) - 1 - (room - head) :]])


def _windows(ids: np.ndarray, max_tokens: int, max_windows: int | None) -> list[np.ndarray]:
    text = ids[1:-1]
    if max_windows is not None:
        text = text[: max_windows * (max_tokens - _ENDS)]
    count = -(-len(text) // (max_tokens - _ENDS))
    return [np.concatenate([ids[:1], part, ids[-1:]]) for part in np.array_split(text, count)]
