"""The stream that the memory of classifying is measured on."""

from collections import Counter

from benchmarks import streaming
from benchmarks.tokenizing import japanese_tokenizer


def test_texts_differ_and_their_words_do_not() -> None:
    texts = list(streaming._short_texts(3000))
    assert len(set(texts)) == 3000
    segment = japanese_tokenizer().word_tokenizer.tokenize
    words = Counter(word for text in texts for word in segment(text))
    assert len(words) < 100
    # Beyond the ten nouns only combinations could be new, and there are none.
    assert {word for text in streaming._short_texts(300) for word in segment(text)} <= set(words)
