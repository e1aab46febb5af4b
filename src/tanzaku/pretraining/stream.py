"""Text as one long stream of token ids, made once and mapped from the disk ever after."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tanzaku.encoders.cache import tokenizer_fingerprint
from tanzaku.encoders.fit import document_ends
from tanzaku.encoders.parallel import map_chunks
from tanzaku.encoders.quiet import quiet_transformers
from tanzaku.encoders.segmenter import bound_mecab
from tanzaku.encoders.words import WordIds
from tanzaku.files import atomic_folder, sha256_of_file, write_json_atomically
from tanzaku.pretraining.sources import TextSource
from tanzaku.pretraining.vocabulary import largest_id

_FORMAT = "tanzaku-stream-3"
_IDS = "ids.bin"
_MANIFEST = "manifest.json"
_NO_LIMIT = 2**62


@dataclass(frozen=True)
class TokenStream:
    """The text's documents, each followed by [SEP].

    `ids` has the shape (tokens,), uint16 where the vocabulary allows it, uint32 otherwise, and is mapped from the disk.
    """

    ids: np.ndarray
    documents: int
    characters: int
    characters_of: dict[str, int]  # by the SHA-256 of each source


def stream_key(tokenizer: Any, sources: list[TextSource], *, documents: str) -> str:
    """A name for the stream: SHA-256, in hexadecimal, over all that decides it."""
    content = [_FORMAT, tokenizer_fingerprint(tokenizer), documents, [source.sha256 for source in sources]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def read_stream(folder: Path) -> TokenStream | None:
    """The stream in `folder`; None where there is none that is whole."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        dtype = np.dtype(manifest["dtype"])
        if sha256_of_file(folder / _IDS) != manifest["sha256"]:
            return None
        ids = np.memmap(folder / _IDS, dtype=dtype, mode="r", shape=(manifest["tokens"],))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    characters = dict(manifest["characters"])
    return TokenStream(
        ids=ids, documents=manifest["documents"], characters=sum(characters.values()), characters_of=characters
    )


def write_stream(
    folder: Path,
    tokenizer: Any,
    chunks_of: Callable[[TextSource], Iterable[list[str]]],
    sources: list[TextSource],
    *,
    workers: int,
) -> TokenStream | None:
    """Tokenise the sources into `folder`, which is whole or absent; None where there is no token in them.

    Args:
        folder: The stream's own folder.
        tokenizer: Any transformers tokenizer; the ids are its own, without special tokens.
        chunks_of: Gives a source's lines as `sources.read_chunks` does.
        sources: The files, in order.
        workers: Processes.
    """
    dtype = np.dtype(np.uint16 if largest_id(tokenizer) < 2**16 else np.uint32)
    tokens = documents = 0
    characters: dict[str, int] = {}

    def lines() -> Iterable[list[str]]:
        nonlocal documents
        for source in sources:
            characters.setdefault(source.sha256, 0)
            for chunk in chunks_of(source):
                characters[source.sha256] += sum(map(len, chunk))
                documents += chunk.count("")
                yield chunk

    with atomic_folder(folder, replace=True) as staging:
        with (staging / _IDS).open("wb") as handle:
            for ids in map_chunks(lines(), maker=chunk_encoder, arguments=(tokenizer, dtype.str), workers=workers):
                handle.write(ids.tobytes())
                tokens += len(ids)
        manifest = {
            "dtype": dtype.str,
            "tokens": tokens,
            "documents": documents,
            "characters": characters,
            "sha256": sha256_of_file(staging / _IDS),
        }
        write_json_atomically(staging / _MANIFEST, manifest)
    return read_stream(folder)


def chunk_encoder(tokenizer: Any, dtype: str) -> Callable[[list[str]], np.ndarray]:
    """A function from a chunk of lines to ids (tokens,), with [SEP] for each line that is "" (a document's end)."""
    bound_mecab(getattr(tokenizer, "word_tokenizer", None))
    words = WordIds.of(tokenizer)
    _, end = document_ends(tokenizer)

    def encode(lines: list[str]) -> np.ndarray:
        ids: list[int] = []
        if words is not None:
            for line in lines:
                if line:
                    ids += words.encode(line, max_tokens=_NO_LIMIT)[1:-1]
                else:
                    ids.append(end)
        else:
            # Its warning of texts beyond the encoder's length does not matter: the stream is cut later.
            with quiet_transformers():
                for encoded in tokenizer(lines, add_special_tokens=False, return_attention_mask=False)["input_ids"]:
                    ids += encoded or [end]
        return np.asarray(ids, dtype=dtype)

    return encode
