"""Unigram tokenizers of `tokenizer.json` without the package tokenizers, which requires the Hub's client (40 MB).

Encoders with a SentencePiece model have them, such as XLM-RoBERTa, E5 and tanzaku-mini. The ids are those of the
package: of all ways to cut a word into pieces, the one with the highest sum of scores (Kudo 2018,
https://arxiv.org/abs/1804.10959).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from tanzaku.encoders.memory import Memory
from tanzaku.runtime.normalizing import WHITE_SPACE, UnknownPartError, normalizer_of

# How much worse a character without a piece is than every piece; SentencePiece's constant.
_UNKNOWN_PENALTY = 10.0
_WORD = re.compile(f"[^{WHITE_SPACE}]+")

# Longer ones hardly occur twice: Japanese without spaces is one word from end to end.
_LONGEST_KEPT = 16

Split = Callable[[str], Sequence[str]]


class UnigramTokenizer:
    """Turns texts into ids.

    Args:
        content: Of `tokenizer.json`, as the current package writes it.

    Raises:
        UnknownPartError: It has a part that is not known here.
        KeyError, TypeError, ValueError, IndexError, AttributeError: It is damaged.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._pieces = Pieces(content["model"])
        self._ids_of_short_word = Memory(self._pieces.ids)
        self._normalize = normalizer_of(content["normalizer"])
        self._split = _splitter_of(content["pre_tokenizer"])
        self._first, self._last = _template_of(content["post_processor"])
        self._added, self._added_ids = _added_of(content["added_tokens"])

    def encode(self, text: str, max_tokens: int | None) -> list[int]:
        """The ids with the special ones around them, `max_tokens` at most; None for all."""
        room = None if max_tokens is None else max(0, max_tokens - len(self._first) - len(self._last))
        return [*self._first, *islice(self._text_ids(text), room), *self._last]

    def _text_ids(self, text: str) -> Iterator[int]:
        end = 0
        for found in self._added.finditer(text):
            yield from self._plain_ids(text[end : found.start()])
            yield self._added_ids[found[found.lastindex or 0]]
            end = found.end()
        yield from self._plain_ids(text[end:])

    def _plain_ids(self, text: str) -> Iterator[int]:
        words = self._split(self._normalize(text)) if text else ()
        return chain.from_iterable(map(self._word_ids, words))

    def _word_ids(self, word: str) -> tuple[int, ...]:
        return self._ids_of_short_word[word] if len(word) <= _LONGEST_KEPT else self._pieces.ids(word)


class Pieces:
    """A vocabulary with scores.

    Args:
        model: What `tokenizer.json` calls so.
    """

    def __init__(self, model: Mapping[str, Any]) -> None:
        if model["type"] != "Unigram":
            raise UnknownPartError(f"a model of the type {model['type']}")
        vocabulary = model["vocab"]
        self._ids: dict[str, int] = {piece: number for number, (piece, _) in enumerate(vocabulary)}
        self._scores: dict[str, float] = dict(vocabulary)
        if model["unk_id"] is None:
            raise UnknownPartError("a vocabulary without an unknown token")
        self._unknown: int = model["unk_id"]
        self._unknown_piece = vocabulary[self._unknown][0]
        self._unknown_score: float = min(self._scores.values()) - _UNKNOWN_PENALTY
        self._bytes = None
        if model.get("byte_fallback"):
            names = [f"<0x{byte:02X}>" for byte in range(256)]
            if not self._ids.keys() >= set(names):
                raise UnknownPartError("a vocabulary that lacks some bytes")
            self._bytes = [self._ids[name] for name in names]
        self._longest: dict[str, int] = {}  # by a piece's first two characters, the characters of the longest
        for piece in self._ids:
            self._longest[piece[:2]] = max(len(piece), self._longest.get(piece[:2], 0))

    def ids(self, word: str) -> tuple[int, ...]:
        """The ids of a word's pieces; neighbours without a piece are one unknown piece."""
        found: list[int] = []
        unknown = ""
        for piece, known in self._cut(word):
            if not known:
                unknown += piece
                continue
            if unknown:
                found += self._of_unknown(unknown)
                unknown = ""
            found.append(self._ids[piece])
        return tuple(found + self._of_unknown(unknown) if unknown else found)

    def _of_unknown(self, text: str) -> list[int]:
        if text in self._ids:
            return [self._ids[text]]
        return [self._unknown] if self._bytes is None else [self._bytes[byte] for byte in text.encode()]

    def _cut(self, word: str) -> list[tuple[str, bool]]:
        """The pieces with the highest sum of scores (Viterbi's algorithm), and whether the vocabulary has them."""
        size, scores = len(word), self._scores
        best, starts, known = [0.0] * (size + 1), [-1] * (size + 1), [False] * (size + 1)
        for start, character in enumerate(word):
            end, here, score = start + 1, best[start], scores.get(character)
            is_known = score is not None
            total = here + (self._unknown_score if score is None else score)
            if starts[end] < 0 or total > best[end]:
                best[end], starts[end], known[end] = total, start, is_known
            for end in range(start + 2, min(size, start + self._longest.get(word[start : start + 2], 0)) + 1):
                score = scores.get(word[start:end])
                if score is not None and (starts[end] < 0 or here + score > best[end]):
                    best[end], starts[end], known[end] = here + score, start, True
        pieces = []
        end = size
        while end:
            piece = word[starts[end] : end]
            pieces.append((piece, known[end] and piece != self._unknown_piece))
            end = starts[end]
        return pieces[::-1]


def _splitter_of(settings: Mapping[str, Any] | None) -> Split:
    """The function from a normalized text to the words that are cut into pieces."""
    if settings is None:
        raise UnknownPartError("no way to split texts into words")
    parts = settings["pretokenizers"] if settings["type"] == "Sequence" else [settings]
    spaces = parts[0]["type"] == "WhitespaceSplit"
    rest = parts[1:] if spaces else parts
    if [one["type"] for one in rest] != ["Metaspace"] or rest[0]["prepend_scheme"] not in ("always", "never"):
        raise UnknownPartError("its way to split texts into words")
    mark, cut = str(rest[0]["replacement"]), bool(rest[0]["split"])
    prefix = mark if rest[0]["prepend_scheme"] == "always" else ""
    words = re.compile(f"{re.escape(mark)}[^{re.escape(mark)}]*|[^{re.escape(mark)}]+")

    def split(text: str) -> list[str]:
        found: list[str] = []
        for part in _WORD.findall(text) if spaces else [text] if text else []:
            marked = part.replace(" ", mark)
            marked = marked if marked.startswith(mark) else prefix + marked
            found += words.findall(marked) if cut else [marked]
        return found

    return split


def _template_of(settings: Mapping[str, Any] | None) -> tuple[list[int], list[int]]:
    """The ids before and after a text."""
    if settings is None:
        return [], []
    if settings["type"] != "TemplateProcessing":
        raise UnknownPartError(f"a post-processor of the type {settings['type']}")
    around: tuple[list[int], list[int]] = ([], [])
    place = 0
    for one in settings["single"]:
        if "Sequence" in one:
            place += 1
        else:
            around[place].extend(settings["special_tokens"][one["SpecialToken"]["id"]]["ids"])
    return around


def _added_of(tokens: Sequence[Mapping[str, Any]]) -> tuple[re.Pattern[str], dict[str, int]]:
    """What finds the tokens that stand for themselves in a text, each as the pattern's only group; and their ids."""
    if any(one["normalized"] or one["single_word"] for one in tokens):
        raise UnknownPartError("tokens that are looked for in normalized texts, or only as whole words")
    space = f"[{WHITE_SPACE}]*"
    # Only from where white space begins: from each of its places, a long stretch would take quadratic time. A token
    # before it may have taken it all.
    space_before = f"(?:(?<![{WHITE_SPACE}])[{WHITE_SPACE}]+)?"
    # Of several that begin at one place, the longest counts.
    longest_first = sorted(tokens, key=lambda one: -len(one["content"]))
    patterns = [
        (space_before if one["lstrip"] else "") + f"({re.escape(one['content'])})" + (space if one["rstrip"] else "")
        for one in longest_first
    ]
    return re.compile("|".join(patterns) or "(?!)"), {one["content"]: one["id"] for one in tokens}
