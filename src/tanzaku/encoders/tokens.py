"""Documents to token ids: identical to the reference tokenizer's, faster, and kept on disk."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tanzaku.errors import EncoderError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# More than any document has; a tokenizer truncates here when the whole document is asked for.
_NO_LIMIT = 2**31 - 1
# So many texts go to the tokenizer at once: enough for its threads, few enough for a smooth progress bar.
_BATCH = 64


@dataclass(frozen=True)
class TokenizedDocuments:
    """Documents as token ids, end to end.

    `ids` has the shape (total_tokens,), int32; `offsets` (documents + 1,), int64: document i is
    `ids[offsets[i] : offsets[i + 1]]`, from [CLS] to [SEP]. Both may be read-only views of a file.
    """

    ids: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        if not -len(self) <= index < len(self):
            raise IndexError(f"document {index} of {len(self)}")
        index %= len(self)
        return self.ids[self.offsets[index] : self.offsets[index + 1]]


def tokenize(
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    *,
    max_tokens: int | None,
    cache_key: str | None = None,
    progress: bool = False,
) -> TokenizedDocuments:
    """Turn each text into the ids of `tokenizer(text, truncation=True, max_length=max_tokens)`.

    Args:
        tokenizer: The encoder's tokenizer.
        texts: The documents.
        max_tokens: The most tokens a document keeps, [CLS] and [SEP] among them; None keeps all of them.
        cache_key: Any text that stands for the encoder, such as its fingerprint: the result is kept on disk under
            this key, the texts', the tokenizer's and `max_tokens`, and read from there the next time. None: no cache.
        progress: Show a bar on standard error.

    Raises:
        EncoderError: `max_tokens` leaves no room for a token between [CLS] and [SEP].
    """
    if max_tokens is not None and max_tokens < 3:
        raise EncoderError(f"max_tokens = {max_tokens} leaves no room for text between [CLS] and [SEP]; set 3 or more")
    limit = _NO_LIMIT if max_tokens is None else max_tokens
    if cache_key is None:
        return _tokenize(tokenizer, texts, limit, progress)
    from tanzaku.encoders.cache import entry_name, read_entry, write_entry

    name = entry_name(tokenizer, texts, max_tokens=max_tokens, key=cache_key)
    if (entry := read_entry(name, documents=len(texts))) is not None:
        return TokenizedDocuments(*entry)
    documents = _tokenize(tokenizer, texts, limit, progress)
    write_entry(name, documents.ids, documents.offsets)
    return documents


def _tokenize(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], max_tokens: int, progress: bool
) -> TokenizedDocuments:
    from tanzaku.encoders.words import WordIds

    words = WordIds.of(tokenizer)
    encoded: Iterable[Sequence[int]] = (
        _by_reference(tokenizer, texts, max_tokens)
        if words is None
        else (words.encode(text, max_tokens=max_tokens) for text in texts)
    )
    if progress:
        encoded = _with_bar(encoded, total=len(texts))
    documents = [np.asarray(ids, dtype=np.int32) for ids in encoded]
    offsets = np.zeros(len(documents) + 1, dtype=np.int64)
    np.cumsum([len(ids) for ids in documents], out=offsets[1:])
    return TokenizedDocuments(np.concatenate([np.zeros(0, dtype=np.int32), *documents]), offsets)


def _by_reference(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], max_tokens: int
) -> Iterator[Sequence[int]]:
    remaining = iter(texts)
    while batch := list(itertools.islice(remaining, _BATCH)):
        yield from tokenizer(
            batch,
            truncation=True,
            max_length=max_tokens,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]


def _with_bar(encoded: Iterable[Sequence[int]], *, total: int) -> Iterator[Sequence[int]]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return iter(track(encoded, description="Tokenising", total=total, console=console, disable=not console.is_terminal))
