"""From text files to tokenizer and token stream, each made once and kept in the work folder by content."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tanzaku.encoders.load import EncoderSource, load_tokenizer
from tanzaku.errors import DataError, EncoderError
from tanzaku.pretraining.options import PretrainOptions
from tanzaku.pretraining.sources import TextSource, read_chunks
from tanzaku.pretraining.stream import TokenStream, read_stream, stream_key, write_stream
from tanzaku.pretraining.vocabulary import (
    count_words,
    make_tokenizer,
    read_tokenizer,
    train_vocabulary,
    vocabulary_key,
)
from tanzaku.threads import settled_threads

# Less text than this is read before further processes have started.
_WORTH_PROCESSES_BYTES = 2_000_000

VOCABULARIES = "vocabularies"
"""The folder in the work folder that has files which read like text."""


@dataclass(frozen=True)
class Reading:
    """Text is being read: `done` of `total` bytes on disk (tokens, for the neighbours), for `purpose`."""

    purpose: str
    done: int
    total: int


Report = Callable[[Any], None]


def prepare_tokenizer(
    sources: Sequence[TextSource], *, options: PretrainOptions, source: EncoderSource | None, work: Path, report: Report
) -> Any:
    """The encoder's tokenizer, or a new one trained on the text.

    Raises:
        EncoderError: The encoder's tokenizer can't be loaded, or has no [CLS], [SEP] or [MASK].
        DataError: The text can't be read, or is too small for the vocabulary.
    """
    if source is not None:
        tokenizer = load_tokenizer(source)
        if None in (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id):
            raise EncoderError(
                f"encoder {source.name!r}: its tokenizer lacks a [CLS], [SEP] or [MASK] token; "
                "choose a masked-language-model encoder of BERT's family"
            )
        return tokenizer
    key = vocabulary_key(
        sha256s=[text.sha256 for text in sources],
        size=options.vocabulary_size,
        character_coverage=options.character_coverage,
    )
    folder = work / VOCABULARIES / key
    if (folder / "tokenizer_config.json").is_file():
        return read_tokenizer(folder)
    workers = _workers(sources, options.workers)
    chunks = _chunks(sources, "vocabulary", options.documents, report)
    counts: Counter[str] = count_words(chunks, workers=workers)
    pieces = train_vocabulary(counts, size=options.vocabulary_size, character_coverage=options.character_coverage)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return make_tokenizer(pieces, folder)


def prepare_stream(
    tokenizer: Any,
    sources: Sequence[TextSource],
    *,
    documents: Literal["blank-line", "line"],
    workers: int | None,
    work: Path,
    report: Report,
) -> TokenStream:
    """The text as a token stream.

    Args:
        tokenizer: Any transformers tokenizer.
        sources: The text files, in order.
        documents: What ends a document.
        workers: Tokenising processes; None for as many as threads.
        work: Streams are kept below it.
        report: Called with `Reading` events.

    Raises:
        DataError: The text can't be read, or has no token.
    """
    folder = work / "tokens" / stream_key(tokenizer, list(sources), documents=documents)
    stream = read_stream(folder)
    if stream is None:
        reader = _Reader(sources, "tokens", documents, report)
        processes = _workers(sources, workers)
        stream = write_stream(folder, tokenizer, reader.chunks_of, list(sources), workers=processes)
    if stream is None:
        raise DataError("the text has no token; give text files with running text")
    return stream


class _Reader:
    """Reads sources one after the other, and reports how far it is."""

    def __init__(self, sources: Sequence[TextSource], purpose: str, documents: str, report: Report) -> None:
        self._purpose, self._report = purpose, report
        self._every_line = documents == "line"
        self._done, self._total = 0, sum(source.size for source in sources)

    def chunks_of(self, source: TextSource) -> Iterator[list[str]]:
        return read_chunks(source, every_line=self._every_line, progress=self._add)

    def _add(self, count: int) -> None:
        self._done += count
        self._report(Reading(self._purpose, self._done, self._total))


def _chunks(sources: Sequence[TextSource], purpose: str, documents: str, report: Report) -> Iterator[list[str]]:
    reader = _Reader(sources, purpose, documents, report)
    for source in sources:
        yield from reader.chunks_of(source)


def _workers(sources: Sequence[TextSource], workers: int | None) -> int:
    if sum(source.size for source in sources) < _WORTH_PROCESSES_BYTES:
        return 1
    return workers or settled_threads()
