"""Texts to token ids, as the encoder's own tokenizer gives them, without transformers."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tanzaku.encoders.segmenter import ipadic_words
from tanzaku.encoders.tokens import TokenizedDocuments
from tanzaku.errors import BundleError
from tanzaku.extras import require_extra
from tanzaku.runtime.mecab import MecabTokenizer, naming_packages
from tanzaku.runtime.normalizing import UnknownPartError
from tanzaku.runtime.settings import (
    TOKENIZER_FILE,
    VOCABULARY_FILE,
    JsonSettings,
    MecabSettings,
    TermSettings,
    TokenizerSettings,
)
from tanzaku.runtime.unigram import UnigramTokenizer

Tokenize = Callable[[Sequence[str], int | None], TokenizedDocuments]

# As scikit-learn's character analyzer does before it counts.
_WHITE_SPACE = re.compile(r"\s\s+")
_NO_WORD = ""
# What is raised where a file lacks keys, or has values of other types.
_DAMAGES = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, re.error)


def open_tokenizer(settings: MecabSettings | JsonSettings, folder: Path) -> Tokenize:
    """A function from texts and `max_tokens` (None: no limit) to their ids.

    Args:
        settings: Of the bundle.
        folder: With the tokenizer's files.

    Raises:
        BundleError: A package is missing, or a file damaged.
    """
    if isinstance(settings, MecabSettings):
        mecab = MecabTokenizer(settings, folder / VOCABULARY_FILE)
        return lambda texts, max_tokens: _documents([mecab.encode(text, max_tokens) for text in texts])
    return _open_json(folder / TOKENIZER_FILE)


def extra_for(settings: TokenizerSettings, folder: Path) -> str:
    """The extra of pyproject.toml with the packages that reading texts needs.

    Args:
        settings: Of the bundle.
        folder: With the tokenizer's files.
    """
    if isinstance(settings, JsonSettings):
        try:
            UnigramTokenizer(json.loads((folder / TOKENIZER_FILE).read_text(encoding="utf-8")))
        except UnknownPartError:
            return "runtime-tokenizers"
        return "runtime"
    reads_words = isinstance(settings, MecabSettings) or settings.analyzer == "mecab"
    return "runtime-mecab" if reads_words else "runtime"


def open_words(settings: TermSettings) -> Callable[[Sequence[str]], np.ndarray]:
    """A function from texts to their words or characters, (documents, words) of strings; "" fills shorter rows."""
    cut: Callable[[str], list[str]] = _cut_characters
    if settings.analyzer == "mecab":
        with naming_packages("ipadic"):
            cut = ipadic_words()

    def words(texts: Sequence[str]) -> np.ndarray:
        rows = [cut(text) for text in texts]
        # The graph counts terms of up to `longest_ngram` words, and needs rows that have room for one.
        width = max(settings.longest_ngram, *map(len, rows)) if rows else settings.longest_ngram
        table = np.full((len(rows), width), _NO_WORD, dtype=object)
        for place, row in enumerate(rows):
            table[place, : len(row)] = row
        return table

    return words


def _cut_characters(text: str) -> list[str]:
    return list(_WHITE_SPACE.sub(" ", text))


def _open_json(path: Path) -> Tokenize:
    """By our own reader where it knows all parts of the tokenizer, which needs nothing else to be installed."""
    try:
        own = UnigramTokenizer(json.loads(path.read_text(encoding="utf-8")))
    except UnknownPartError:
        return _open_with_package(path)
    except _DAMAGES as error:
        raise _damaged(path, error) from error

    def tokenize(texts: Sequence[str], max_tokens: int | None) -> TokenizedDocuments:
        try:
            return _documents([own.encode(text, max_tokens) for text in texts])
        except _DAMAGES as error:  # parts of the file are only read when a text needs them
            raise _damaged(path, error) from error

    return tokenize


def _open_with_package(path: Path) -> Tokenize:
    require_extra("runtime-tokenizers", purpose="classifying with this encoder's tokenizer")
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises nothing more specific
        raise _damaged(path, error) from error
    tokenizer.no_padding()

    def tokenize(texts: Sequence[str], max_tokens: int | None) -> TokenizedDocuments:
        if max_tokens is None:
            tokenizer.no_truncation()
        else:
            tokenizer.enable_truncation(max_length=max_tokens)
        try:
            return _documents([encoding.ids for encoding in tokenizer.encode_batch(list(texts))])
        except Exception as error:  # likewise, and some damages only show when a text needs the damaged part
            raise _damaged(path, error) from error

    return tokenize


def _damaged(path: Path, error: Exception) -> BundleError:
    return BundleError(f"{path} can't be read as a tokenizer ({error}); export the bundle again")


def _documents(ids: Sequence[Sequence[int]]) -> TokenizedDocuments:
    lengths = np.cumsum([0, *map(len, ids)], dtype=np.int64)
    return TokenizedDocuments(np.fromiter(itertools.chain.from_iterable(ids), dtype=np.int32), lengths)
