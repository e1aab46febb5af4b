"""Documents to token ids: identical to the reference tokenizer's, faster, and kept on disk."""

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tanzaku.display import plain_console
from tanzaku.errors import EncoderError, ProcessError, TanzakuWarning
from tanzaku.threads import settled_threads

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# More than any document has; a tokenizer truncates here when the whole document is asked for.
_NO_LIMIT = 2**31 - 1
# So many texts go to the tokenizer at once: enough for its threads, few enough for a smooth progress bar.
_BATCH = 64
# One core takes some four seconds for so many characters of Japanese; another process takes two until it begins.
_WORTH_PROCESSES_CHARACTERS = 4_000_000
_Encoded = tuple[np.ndarray, np.ndarray]


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

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def followed_by(self, others: "TokenizedDocuments") -> "TokenizedDocuments":
        """These documents and then the others."""
        offsets = np.concatenate([self.offsets, self.offsets[-1] + others.offsets[1:]])
        return TokenizedDocuments(np.concatenate([self.ids, others.ids]), offsets)


def tokenize(
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    *,
    max_tokens: int | None,
    cache_key: str | None = None,
    progress: bool = False,
) -> TokenizedDocuments:
    """Turn each text into the ids of `tokenizer(text, truncation=True, max_length=max_tokens)`.

    Many texts go through one process a core, with the same result; where no process can be started, through this one.

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


def text_encoder(tokenizer: "PreTrainedTokenizerBase", max_tokens: int) -> Callable[[list[str]], _Encoded]:
    """A function from some texts to their ids, end to end, and the number of each text's ids."""
    from tanzaku.encoders.segmenter import bound_mecab
    from tanzaku.encoders.words import WordIds

    bound_mecab(getattr(tokenizer, "word_tokenizer", None))
    words = WordIds.of(tokenizer)

    def encode(texts: list[str]) -> _Encoded:
        if words is None:
            encoded = tokenizer(
                texts,
                truncation=True,
                max_length=max_tokens,
                padding=False,
                return_attention_mask=False,
                return_token_type_ids=False,
            )["input_ids"]
        else:
            encoded = [words.encode(text, max_tokens=max_tokens) for text in texts]
        ids = np.fromiter(itertools.chain.from_iterable(encoded), dtype=np.int32)
        return ids, np.array([len(document) for document in encoded], dtype=np.int64)

    return encode


def _tokenize(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], max_tokens: int, progress: bool
) -> TokenizedDocuments:
    workers = _workers(tokenizer, texts)
    try:
        return _collect(tokenizer, texts, max_tokens, progress, workers=workers)
    except ProcessError as error:
        if workers == 1:
            raise
        warnings.warn(f"tokenizing in one process: {error}", TanzakuWarning, stacklevel=3)
        return _collect(tokenizer, texts, max_tokens, progress, workers=1)


def _collect(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], max_tokens: int, progress: bool, *, workers: int
) -> TokenizedDocuments:
    chunks = (list(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH))
    ids, lengths = [np.zeros(0, dtype=np.int32)], [np.zeros(1, dtype=np.int64)]
    with _bar(len(texts), shown=progress) as advance:
        for some_ids, some_lengths in _encode(chunks, tokenizer, max_tokens, workers=workers):
            ids.append(some_ids)
            lengths.append(some_lengths)
            advance(len(some_lengths))
    documents = sum(map(len, lengths)) - 1
    if documents != len(texts):
        raise ProcessError(f"{documents:,} of {len(texts):,} texts came back from the tokenizing processes")
    return TokenizedDocuments(np.concatenate(ids), np.cumsum(np.concatenate(lengths)))


def _encode(
    chunks: Iterator[list[str]], tokenizer: "PreTrainedTokenizerBase", max_tokens: int, *, workers: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if workers == 1:
        return map(text_encoder(tokenizer, max_tokens), chunks)
    from tanzaku.encoders.parallel import map_chunks  # what manages processes takes time to import

    return map_chunks(chunks, maker=text_encoder, arguments=(tokenizer, max_tokens), workers=workers)


def _workers(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> int:
    """One process, unless the texts are long and the tokenizer (other than the Rust ones) knows no threads."""
    if tokenizer.is_fast or sum(map(len, texts)) < _WORTH_PROCESSES_CHARACTERS:
        return 1
    return max(1, min(settled_threads(), len(texts) // _BATCH))


@contextmanager
def _bar(total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal; gives the function that moves it by some documents."""
    if not shown:
        yield lambda _: None
        return
    from rich.progress import Progress

    console = plain_console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("Tokenising", total=total)
        yield lambda documents: bar.advance(task, documents)
