"""The baseline reads whole texts, whatever is in them."""

import pytest

from tanzaku.methods.tfidf_svm import TfidfSvm


# Each ends the text for MeCab.
@pytest.mark.parametrize("middle", ["\0", " " * 70_000])
def test_words_after_what_mecab_can_not_read_count(middle: str) -> None:
    texts = [f"第一号{middle}雲がある。", f"第一号{middle}魚がある。"] * 2
    method = TfidfSvm()
    fitted = method.fit(texts, [0, 1, 0, 1], labels=2, seed=0)
    assert {"雲", "魚"} <= set(fitted[0].vocabulary_)
    assert method.scores(fitted, texts).argmax(axis=1).tolist() == [0, 1, 0, 1]
