"""The ids of `BertJapaneseTokenizer` without transformers: MeCab, and the pieces of a vocabulary."""

from __future__ import annotations

import importlib
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tanzaku.encoders.memory import Memory
from tanzaku.encoders.segmenter import Segmenter
from tanzaku.errors import BundleError
from tanzaku.runtime.settings import Dictionary, MecabSettings

# The names by which pip knows the dictionaries' packages.
DICTIONARY_PACKAGES: dict[Dictionary, str] = {"ipadic": "ipadic", "unidic_lite": "unidic-lite", "unidic": "unidic"}


class MecabTokenizer:
    """Turns texts into ids. Each word's pieces are looked up once, as in `tanzaku.encoders.words`.

    Args:
        settings: Of the bundle.
        vocabulary: `vocab.txt`, an entry a line.

    Raises:
        BundleError: fugashi or the dictionary is missing, or the vocabulary can't be read.
    """

    def __init__(self, settings: MecabSettings, vocabulary: Path) -> None:
        self._settings = settings
        self._vocabulary = _read_vocabulary(vocabulary)
        for token in (settings.unknown, settings.first, settings.last):
            if token not in self._vocabulary and token not in settings.special:
                raise BundleError(f"{vocabulary} lacks {token!r}, which the bundle names; export the bundle again")
        self._ids = {**self._vocabulary, **settings.special}
        self._segment = Segmenter(_tagger(settings.dictionary))
        # Of several special tokens that begin at one place, the longest counts.
        special = sorted(settings.special, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, special))) if special else None
        self._ids_of_word = Memory(self._encode_word)

    def encode(self, text: str, max_tokens: int | None) -> list[int]:
        """The ids from [CLS] to [SEP], `max_tokens` at most; None for all."""
        ids = self._text_ids(text)
        room = None if max_tokens is None else max_tokens - 2
        return [self._ids[self._settings.first], *islice(ids, room), self._ids[self._settings.last]]

    def _text_ids(self, text: str) -> Iterator[int]:
        if self._special is None or not self._special.search(text):
            yield from self._plain_ids(text)
            return
        end = 0
        for found in self._special.finditer(text):
            yield from self._plain_ids(text[end : found.start()])
            yield self._ids[found[0]]
            end = found.end()
        yield from self._plain_ids(text[end:])

    def _plain_ids(self, text: str) -> Iterator[int]:
        if self._settings.normalize:
            text = unicodedata.normalize("NFKC", text)
        return chain.from_iterable(self._ids_of_word[word.surface] for word in self._segment(text))

    def _encode_word(self, word: str) -> tuple[int, ...]:
        if self._settings.lowercase and word not in self._settings.special:
            word = word.lower()
        cut = _characters if self._settings.pieces == "character" else self._word_pieces
        unknown = self._vocabulary.get(self._settings.unknown, self._ids[self._settings.unknown])
        return tuple(self._ids.get(piece, unknown) for piece in cut(word))

    def _word_pieces(self, word: str) -> Iterator[str]:
        """The longest entries from left to right; those inside a word begin with ##."""
        for part in word.split():
            pieces = self._cut(part) if len(part) <= self._settings.longest_word else None
            yield from [self._settings.unknown] if pieces is None else pieces

    def _cut(self, part: str) -> list[str] | None:
        pieces: list[str] = []
        start = 0
        while start < len(part):
            mark = "##" if start else ""
            ends = range(len(part), start, -1)
            end = next((end for end in ends if mark + part[start:end] in self._vocabulary), None)
            if end is None:
                return None
            pieces.append(mark + part[start:end])
            start = end
        return pieces


def _characters(word: str) -> str:
    return unicodedata.normalize("NFKC", word)


def _tagger(dictionary: Dictionary) -> Any:
    with naming_packages(dictionary):
        import fugashi

        folder = importlib.import_module(dictionary).DICDIR
    try:
        return fugashi.GenericTagger(f'-d "{folder}" -r "{folder}/mecabrc"')
    except RuntimeError as error:  # the package unidic has no dictionary until it is downloaded
        package = DICTIONARY_PACKAGES[dictionary]
        again = f"pip install --force-reinstall {package}"
        remedy = "python -m unidic download" if dictionary == "unidic" else again
        raise BundleError(f"MeCab can't open the dictionary {dictionary} in {folder}; run: {remedy}") from error


@contextmanager
def naming_packages(dictionary: Dictionary) -> Iterator[None]:
    """Say what to install where MeCab or the dictionary is missing.

    Raises:
        BundleError: One of the two is.
    """
    try:
        yield
    except ImportError as error:
        extra = " (the extra 'runtime-mecab')" if dictionary == "ipadic" else ""
        raise BundleError(
            f"the bundle segments words with MeCab and {dictionary}, and {error.name} is not installed; install them "
            f"with: pip install fugashi {DICTIONARY_PACKAGES[dictionary]}{extra}"
        ) from error


def _read_vocabulary(path: Path) -> dict[str, int]:
    try:
        with path.open(encoding="utf-8") as lines:
            return {line.rstrip("\n"): number for number, line in enumerate(lines)}
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} can't be read as a vocabulary ({error}); export the bundle again") from error
