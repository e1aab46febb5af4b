"""The baseline reads whole texts, whatever is in them."""

import numpy as np
import pytest

from tanzaku.methods.tfidf_svm import TfidfSvm
from tests.tiny import make_documents


# Each ends the text for MeCab.
@pytest.mark.parametrize("middle", ["\0", " " * 70_000])
def test_words_after_what_mecab_can_not_read_count(middle: str) -> None:
    texts = [f"第一号{middle}雲がある。", f"第一号{middle}魚がある。"] * 2
    method = TfidfSvm()
    fitted = method.fit(texts, [0, 1, 0, 1], labels=2, seed=0)
    assert {"雲", "魚"} <= set(fitted[0].vocabulary_)
    assert method.scores(fitted, texts).argmax(axis=1).tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("analyzer", ["mecab", "character"])
@pytest.mark.parametrize("labels", [2, 3])
def test_contributions_add_up_to_the_scores(analyzer: str, labels: int) -> None:
    """With runs of white space and repeated words, whose terms count once with their logarithm."""
    documents = make_documents(30, seed=1, names=("空", "海", "山")[:labels])
    classes = [("空", "海", "山").index(label) for label in documents.labels]
    method = TfidfSvm.model_validate({"analyzer": analyzer, "longest_ngram": 3})
    fitted = method.fit(documents.texts, classes, labels=labels, seed=0)
    offsets = fitted[-1].intercept_ if labels > 2 else np.array([-1, 1]) * fitted[-1].intercept_
    for text in (documents.texts[0], "空が  見る\n\n空が見る、空  ", "未知語", ""):
        parts = method.contributions(fitted, text)
        total = sum((part.scores for part in parts), start=offsets)
        np.testing.assert_allclose(total, method.scores(fitted, [text])[0], atol=1e-5)
        assert all(0 <= part.start <= part.end <= len(text) for part in parts)
    if analyzer == "character":  # white space of several characters is one, also where a single one follows
        text = "題名\n\n本文です 終わり"
        places = [text[part.start : part.end] for part in method.contributions(fitted, text)]
        assert places == ["題", "名", "\n\n", *"本文です", " ", *"終わり"]
    (first,) = [part for part in method.contributions(fitted, "空") if part.end]
    assert ("空"[first.start : first.end], int(first.scores.argmax())) == ("空", 0)


@pytest.mark.parametrize("labels", [2, 3, 4])
def test_a_class_without_weight_is_never_predicted_and_texts_without_weight_do_not_count(labels: int) -> None:
    texts = ["空が青い", "海が広い", "山が高い", "川が長い"][:labels] * 3 + ["空が高い", "海が青い", "空が長い", "空"]
    classes = [*list(range(labels)) * 3, 0, 1, 0, 0]  # of different sizes, so that the offsets differ
    method = TfidfSvm.model_validate({"analyzer": "character"})
    for none in range(labels):
        weights = [float(one != none) for one in classes]
        fitted = method.fit(texts, classes, labels=labels, seed=0, weights=weights)
        scores = method.scores(fitted, texts)
        assert scores.shape == (len(texts), labels)
        assert [found for found, one in zip(scores.argmax(axis=1), classes, strict=True) if one != none] == [
            one for one in classes if one != none
        ]
        assert none not in scores.argmax(axis=1)
        rest = [one for one in range(labels) if one != none]
        if len(rest) > 1:  # as if the class were not there
            rows = [row for row, one in enumerate(classes) if one != none]
            apart = method.fit(
                [texts[row] for row in rows], [rest.index(classes[row]) for row in rows], labels=len(rest), seed=0
            )
            # The terms are those of all texts, so the frequencies differ a little.
            offsets = apart[-1].intercept_ if len(rest) > 2 else np.array([-1, 1]) * apart[-1].intercept_
            np.testing.assert_allclose(fitted[-1].intercept_[rest], offsets, atol=0.1)
            assert len(rest) == 2 or np.ptp(offsets) > 0.15
            np.testing.assert_allclose(scores[:, rest], method.scores(apart, texts), atol=0.3)
    wrong = [*classes[:-1], (classes[-1] + 1) % labels]
    fitted = method.fit(texts, wrong, labels=labels, seed=0, weights=[1.0] * (len(texts) - 1) + [0.0])
    assert method.scores(fitted, texts).argmax(axis=1).tolist() == classes
