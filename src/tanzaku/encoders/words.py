"""A fast way through transformers' Japanese BERT tokenizer: the ids of each word are looked up once."""

from typing import Any

from transformers import BertJapaneseTokenizer

# Each entry takes about 200 bytes; a corpus of a million documents has some hundred thousand different words.
_MAX_KEPT_WORDS = 1_000_000


class WordIds:
    """Encodes as `BertJapaneseTokenizer` does, from the same segmenter, with a memory of each word's ids.

    The reference cuts every occurrence of every word into pieces anew, which takes more time than MeCab does. A
    word's pieces depend on nothing but the word, so they are kept.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._added = tuple(tokenizer.added_tokens_encoder)
        self._special = tokenizer.all_special_tokens
        self._first, self._last = tokenizer.cls_token_id, tokenizer.sep_token_id
        self._ids_of_word: dict[str, list[int]] = {}

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
        """The ids from [CLS] to [SEP], `max_tokens` at most."""
        # A text that spells out a special token, such as "[SEP]", is cut at it; that is left to the reference.
        if any(token in text for token in self._added):
            return self._tokenizer(text, truncation=True, max_length=max_tokens)["input_ids"]
        ids = [self._first]
        for word in self._tokenizer.word_tokenizer.tokenize(text, never_split=self._special):
            known = self._ids_of_word.get(word)
            ids += self._learn(word) if known is None else known
            if len(ids) >= max_tokens:
                break
        return [*ids[: max_tokens - 1], self._last]

    def _learn(self, word: str) -> list[int]:
        ids = self._tokenizer.convert_tokens_to_ids(self._tokenizer.subword_tokenizer.tokenize(word))
        if len(self._ids_of_word) < _MAX_KEPT_WORDS:
            self._ids_of_word[word] = ids
        return ids
