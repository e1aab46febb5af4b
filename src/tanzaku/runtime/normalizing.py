"""The normalizers of `tokenizer.json` without the package tokenizers: those of SentencePiece's models."""

from __future__ import annotations

import base64
import re
import sys
import unicodedata
from array import array
from collections.abc import Callable, Iterator, Mapping
from functools import partial, reduce
from typing import Any, Literal, cast

Normalize = Callable[[str], str]

# Unicode's white space, which differs from that of `str.strip` and `re`.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
# Of patterns, whose language differs from Python's, those that SentencePiece's models have.
_PATTERNS = {" {2,}": re.compile(" {2,}")}
_FORMS = ("NFC", "NFD", "NFKC", "NFKD")
# A character with its marks is looked up as a whole if it takes less than this in UTF-8.
_LONGEST_CLUSTER = 6
# With the categories Mn, Mc and Me, what is displayed together with the character before it.
_OTHER_MARKS = frozenset("\u0e33\u0eb3\u200c\u200d\uff9e\uff9f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")
# Signs that belong to the character behind them, such as those before Arabic numbers.
_PREPENDED = frozenset(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\U000110bd\U000110cd\U000111c2\U000111c3"
    "\U0001193f\U00011941\U00011a3a\U00011a84\U00011a85\U00011a86\U00011a87\U00011a88\U00011a89\U00011d46\U00011f02"
)
_CONTROLS = ("Cc", "Cf", "Zl", "Zp")


class UnknownPartError(Exception):
    """A tokenizer has a part that only the package tokenizers computes."""


def normalizer_of(settings: Mapping[str, Any] | None) -> Normalize:
    """The function that `tokenizer.json` describes.

    Raises:
        UnknownPartError: It is not known here.
    """
    if settings is None:
        return str
    kind = settings["type"]
    if kind == "Sequence":
        steps = [normalizer_of(one) for one in settings["normalizers"]]
        return lambda text: reduce(lambda changed, step: step(changed), steps, text)
    if kind == "Precompiled":
        return CharacterMap(base64.b64decode(settings["precompiled_charsmap"], validate=True))
    if kind in _FORMS:
        return partial(unicodedata.normalize, cast(Literal["NFC", "NFD", "NFKC", "NFKD"], kind))
    if kind == "Strip":
        return partial(_strip, left=bool(settings["strip_left"]), right=bool(settings["strip_right"]))
    if kind == "Replace":
        return _replacer_of(settings["pattern"], str(settings["content"]))
    raise UnknownPartError(f"a normalizer of the type {kind}")


def _strip(text: str, *, left: bool, right: bool) -> str:
    text = text.lstrip(WHITE_SPACE) if left else text
    return text.rstrip(WHITE_SPACE) if right else text


def _replacer_of(pattern: Mapping[str, str], content: str) -> Normalize:
    if "String" in pattern:
        return lambda text: text.replace(pattern["String"], content)
    known = _PATTERNS.get(pattern["Regex"])
    if known is None:
        raise UnknownPartError(f"the pattern {pattern['Regex']!r}")
    return lambda text: known.sub(lambda _: content, text)


class CharacterMap:
    """What SentencePiece puts in the place of characters, such as NFKC with its own additions.

    Args:
        data: A trie in a double array (Aoe 1989, https://doi.org/10.1109/32.31365) as the library Darts-clone has it,
            behind its length, and the texts that its entries point at.

    Raises:
        ValueError, IndexError: The data are damaged.
    """

    def __init__(self, data: bytes) -> None:
        size = int.from_bytes(data[:4], "little")
        if size % 4 or not 4 <= size <= len(data) - 4:
            raise ValueError("the map of characters has a wrong length")
        self._units = array("I", data[4 : 4 + size])
        if sys.byteorder == "big":
            self._units.byteswap()
        self._texts = data[4 + size :]
        self._table = _Table(self._of_character)
        self._is_mark = _Marks()

    def __call__(self, text: str) -> str:
        """The text with all its characters replaced."""
        if "\r\n" not in text and not any(map(self._is_mark.__getitem__, set(text))):
            return text.translate(self._table)
        return "".join(self._of_cluster(cluster) for cluster in self._clusters(text))

    def _of_cluster(self, cluster: str) -> str:
        if len(cluster) > 1 and len(cluster.encode()) < _LONGEST_CLUSTER:
            found = self._look_up(cluster)
            if found is not None:
                return found
        return cluster.translate(self._table)

    def _of_character(self, number: int) -> str:
        character = chr(number)
        found = self._look_up(character)
        return character if found is None else found

    def _look_up(self, text: str) -> str | None:
        """The text of the shortest entry that `text` begins with."""
        place = _offset(self._units[0])
        for byte in text.encode():
            place ^= byte
            unit = self._units[place]
            if byte == 0 or unit & 0x800000FF != byte:  # the label, and the mark of a value
                return None
            place ^= _offset(unit)
            if unit >> 8 & 1:
                start = self._units[place] & 0x7FFFFFFF
                return self._texts[start : self._texts.index(b"\0", start)].decode()
        return None

    def _clusters(self, text: str) -> Iterator[str]:
        """Characters with the marks behind them, as Unicode's grapheme clusters (Standard Annex 29)."""
        start = 0
        for end in range(1, len(text) + 1):
            if end < len(text) and self._belongs(text[end - 1], text[end]):
                continue
            yield text[start:end]
            start = end

    def _belongs(self, before: str, character: str) -> bool:
        """Whether a character is in the cluster of the one before."""
        if character == "\n":
            return before == "\r"
        if before in _PREPENDED:
            return not self._is_control(character)
        return self._is_mark[character] and not self._is_control(before)

    def _is_control(self, character: str) -> bool:
        kept = self._is_mark[character] or character in _PREPENDED
        return not kept and unicodedata.category(character) in _CONTROLS


class _Table(dict[int, str]):
    """Characters' replacements, each found when it is first needed."""

    def __init__(self, find: Callable[[int], str]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, number: int) -> str:
        found = self[number] = self._find(number)
        return found


class _Marks(dict[str, bool]):
    def __missing__(self, character: str) -> bool:
        found = self[character] = unicodedata.category(character)[0] == "M" or character in _OTHER_MARKS
        return found


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & 0x200) >> 6)
