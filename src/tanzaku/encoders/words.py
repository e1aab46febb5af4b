"""A fast way through transformers' Japanese BERT tokenizer: the ids of each word are looked up once."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from operator import attrgetter
from typing import Any

from transformers import BertJapaneseTokenizer
from transformers.models.bert_japanese.tokenization_bert_japanese import MecabTokenizer, SudachiTokenizer

from tanzaku.encoders.memory import Memory

_surface = attrgetter("surface")
_SUDACHI_CHARACTERS = 12_000  # of at most four bytes
_SENTENCE_ENDS = "。！？!?\n"


class WordIds:
    """Encodes as `BertJapaneseTokenizer` does, from the same segmenter, with a memory of each word's ids.

    The reference cuts every occurrence of every word into pieces again, which takes more time than MeCab does. A
    word's pieces depend on nothing but the word, so they are kept. What is left is MeCab's time, mostly.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._added = tuple(tokenizer.added_tokens_encoder)
        self._first, self._last = tokenizer.cls_token_id, tokenizer.sep_token_id
        self._words = _segmenter(tokenizer)
        self._ids_of_word = Memory(_word_encoder(tokenizer))

    @classmethod
    def of(cls, tokenizer: Any) -> "WordIds | None":
        """The fast way for this tokenizer; None where it is another class, or set to work in another way."""
        usable = (
            type(tokenizer) is BertJapaneseTokenizer
            and tokenizer.do_word_tokenize
            and tokenizer.do_subword_tokenize
            and tokenizer.subword_tokenizer_type in {"wordpiece", "character"}
            and tokenizer.truncation_side == "right"
            and not tokenizer.split_special_tokens
        )
        return cls(tokenizer) if usable else None

    def encode(self, text: str, *, max_tokens: int) -> list[int]:
        """The ids from [CLS] to [SEP], `max_tokens` at most; a very long text is segmented only as far as needed."""
        # A text that spells out a special token, such as "[SEP]", is cut at it; that is left to the reference.
        if any(token in text for token in self._added):
            reference: list[int] = self._tokenizer(text, truncation=True, max_length=max_tokens)["input_ids"]
            return reference
        ids = chain.from_iterable(map(self._ids_of_word.__getitem__, self._words(text)))
        return [self._first, *islice(ids, max_tokens - 2), self._last]


def _segmenter(tokenizer: Any) -> Callable[[str], Iterable[str]]:
    """The words of a text as MeCab has them; lowering, where there is any, is left to `_word_encoder`."""
    segmenter = tokenizer.word_tokenizer
    if type(segmenter) is SudachiTokenizer:
        segment = partial(segmenter.tokenize, never_split=tokenizer.all_special_tokens)
        return lambda text: chain.from_iterable(map(segment, in_pieces(text, normalize=segmenter.normalize_text)))
    if type(segmenter) is not MecabTokenizer:
        return lambda text: segmenter.tokenize(text, never_split=tokenizer.all_special_tokens)
    if segmenter.normalize_text:
        return lambda text: map(_surface, segmenter.mecab(unicodedata.normalize("NFKC", text)))
    return lambda text: map(_surface, segmenter.mecab(text))


def in_pieces(text: str, *, normalize: bool) -> Iterator[str]:
    """A text in pieces that Sudachi takes, which refuses more than 49,149 bytes; cut after a sentence if there is one.

    Args:
        text: Of any length.
        normalize: As NFKC, which the segmenter applies anyway, and which may make a text longer.
    """
    text = unicodedata.normalize("NFKC", text) if normalize else text
    start = 0
    while len(text) - start > _SUDACHI_CHARACTERS:
        end = start + _SUDACHI_CHARACTERS
        ends = [text.rfind(mark, start + 1, end) for mark in _SENTENCE_ENDS]
        end = max(ends) + 1 if max(ends) > start else end
        yield text[start:end]
        start = end
    yield text[start:]


def _word_encoder(tokenizer: Any) -> Callable[[str], tuple[int, ...]]:
    """A function from a word to the ids of its pieces."""
    segmenter, pieces = tokenizer.word_tokenizer, tokenizer.subword_tokenizer
    lowers = type(segmenter) is MecabTokenizer and segmenter.do_lower_case
    kept = {*segmenter.never_split, *tokenizer.all_special_tokens} if lowers else set()
    vocabulary = tokenizer.vocab
    ids: dict[str, int] = {**vocabulary, **tokenizer.added_tokens_encoder}
    unknown = vocabulary.get(tokenizer.unk_token)
    # WordPiece prefers the longest piece, which is the word itself where the vocabulary has it.
    longest_whole = pieces.max_input_chars_per_word if tokenizer.subword_tokenizer_type == "wordpiece" else 0

    def encode(word: str) -> tuple[int, ...]:
        if lowers and word not in kept:
            word = word.lower()
        if len(word) <= longest_whole and word in vocabulary and word.split() == [word]:
            return (ids[word],)
        return tuple(ids.get(piece, unknown) for piece in pieces.tokenize(word))

    return encode
