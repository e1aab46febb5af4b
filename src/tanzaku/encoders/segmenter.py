"""MeCab on texts of any length: in pieces that overlap, joined where their words agree."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

# A path's cost grows by two numbers of at most 32,767 with each word. Where the sum passes 2**31 - 1, MeCab has no path
# and fugashi ends the process; 32,000 characters can't get there. Ordinary Japanese does after a million, digits after
# 85,000.
PIECE_CHARACTERS = 32_000
# Two segmentations that start or end apart agree after some words of ordinary text.
OVERLAP_CHARACTERS = 2_000
# A run such as あああああ is cut into pairs from one of its ends, which may be far away. Where there are so many
# different words, the segmentation does not depend on what is far away.
_DIFFERENT_WORDS = 20
# MeCab skips these before a word. It counts their bytes in 16 bits: after 65,535 of them it drops the rest of the text.
_LONG_SPACE = re.compile(r"[ \t\n\v]{100,}")


class Word(NamedTuple):
    """A word of a long text; two segmentations agree in a word where all three are equal."""

    start: int
    surface: str
    feature: str


class Segmenter:
    """Stands in for a fugashi tagger, and gives the same words.

    A text of up to `piece` characters goes to MeCab whole. A longer one goes there in pieces while its words are taken,
    so that who needs only the first words waits for the first piece alone. The next piece starts at a word some
    `overlap` characters before the end of one, and the two are joined in the middle of the longest row of words in
    which they agree. That gives the words of the whole text unless it repeats a few words for half a piece.

    Args:
        tagger: A `fugashi.GenericTagger`.
        piece: The most characters that MeCab gets at once.
        overlap: Of two pieces, in characters.
    """

    def __init__(self, tagger: Any, *, piece: int = PIECE_CHARACTERS, overlap: int = OVERLAP_CHARACTERS) -> None:
        self._tagger = tagger
        self._piece, self._overlap = piece, overlap

    def __call__(self, text: str) -> Iterable[Any]:
        """The words, each with its `surface`. A NUL, which ends a text in C, is white space."""
        text = text.replace("\0", " ")
        return self._tagger(text) if len(text) <= self._piece else self._in_pieces(_LONG_SPACE.sub(" ", text))

    def parse(self, text: str) -> str:
        """The words with spaces between them, as a tagger for `-Owakati` gives them."""
        text = text.replace("\0", " ")
        return self._tagger.parse(text) if len(text) <= self._piece else " ".join(word.surface for word in self(text))

    def _in_pieces(self, text: str) -> Iterator[Word]:
        start, words = 0, self._words(text, 0)
        while start + self._piece < len(text):
            first = self._next_first(words, start + self._piece)
            yield from words[:first]
            words, start = words[first:], words[first].start
            following = self._words(text, start)
            here, there = _join(words, following)
            yield from words[:here]
            words = following[there:]
        yield from words

    def _next_first(self, words: Sequence[Word], end: int) -> int:
        """The index of the word at which the next piece starts: near `end`, where there are different words."""
        starts = [word.start for word in words]
        latest = range(end - self._overlap, end - self._piece // 2, -self._overlap)
        firsts = [max(bisect_right(starts, place) - 1, 0) for place in latest]
        for first, place in zip(firsts, latest, strict=True):
            overlapping = words[first : bisect_right(starts, place + self._overlap)]
            if len({word.surface for word in overlapping}) >= _DIFFERENT_WORDS:
                return first
        return firsts[0]

    def _words(self, text: str, start: int) -> list[Word]:
        piece = text[start : start + self._piece]
        words, end = [], 0
        for node in self._tagger(piece):
            begin = piece.index(node.surface, end)  # white space may stand before it
            # A node's feature is read from memory that the next piece overwrites.
            words.append(Word(start + begin, node.surface, node.feature_raw))
            end = begin + len(node.surface)
        return words


def bound_mecab(word_tokenizer: Any) -> None:
    """Let transformers' `MecabTokenizer` read through a `Segmenter`; any other word tokenizer is left alone.

    A pickled tokenizer makes its tagger again, so a process that is sent one calls this, too.
    """
    tagger = getattr(word_tokenizer, "mecab", None)
    if tagger is not None and not isinstance(tagger, Segmenter):
        word_tokenizer.mecab = Segmenter(tagger)


def ipadic_words() -> Callable[[str], list[str]]:
    """A function from a text to its words by MeCab with IPADIC."""
    import fugashi
    import ipadic

    segment = Segmenter(fugashi.GenericTagger(f"{ipadic.MECAB_ARGS} -Owakati"))
    return lambda text: segment.parse(text).split()


def _join(before: Sequence[Word], after: Sequence[Word]) -> tuple[int, int]:
    """The indices of a word that both segmentations have, as far as may be from where they differ.

    Both begin at the same character; without any common word the second begins there.
    """
    places = {word: index for index, word in enumerate(after)}
    longest, row = range(0), range(0)
    for index, word in enumerate(before):
        row = range(row.start if row else index, index + 1) if word in places else range(0)
        longest = max(longest, row, key=len)
    if not longest:
        return 0, 0
    middle = longest[len(longest) // 2]
    return middle, places[before[middle]]
