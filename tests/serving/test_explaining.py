"""Phrases of a text, which an explanation weighs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tanzaku.data.characters import clean_places, clean_text
from tanzaku.methods import METHODS, TextMethod
from tanzaku.serving.explaining import cut_phrases, spans_before_cleaning
from tanzaku.ship.scorers import TextScorer


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("届いた商品が壊れていた。返品したい。", ["届いた", "商品が", "壊れていた。", "返品したい。"]),
        ("「無料」と書いてある！", ["「無料」", "と", "書いてある！"]),
        ("店で、買って、返した。", ["店で、", "買って、", "返した。"]),
        ("「高い。」「遅い。」「もう頼まない。」", ["「高い。」", "「遅い。」", "「もう頼まない。」"]),
        ("。。。海 山", ["。。。", "海", " 山"]),
        ("", []),
    ],
)
def test_phrases_end_with_punctuation_and_cover_the_text(text: str, phrases: list[str]) -> None:
    found = [text[start:end] for start, end in cut_phrases(text)]
    assert found == phrases
    assert "".join(found) == text


# Ones that are left out, become spaces, or stay only in emoji.
_TEXTS = st.text(st.sampled_from("海が行く。、\n a\u200b\xad\0\x07\u200d\ufe0f\ufe0e\u3164❤👩🔥#"), max_size=30)


@given(_TEXTS)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_phrases_cover_the_text_as_it_was_sent(text: str) -> None:
    cleaned = clean_text(text)
    spans = cut_phrases(cleaned)
    found = spans_before_cleaning(text, spans)
    assert "".join(text[start:end] for start, end in found) == (text if cleaned else "")
    places = clean_places(text)
    assert len(places) == len(cleaned)
    assert all(text[place] == one or one == " " for place, one in zip(places, cleaned, strict=True))
    for (start, end), (first, last) in zip(spans, found, strict=True):
        assert all(first <= place < last for place in places[start:end])


def test_only_sums_over_terms_are_explained_exactly() -> None:
    text_methods = {name: method() for name, method in METHODS.items() if issubclass(method, TextMethod)}
    exact = {name for name, method in text_methods.items() if TextScorer(method, None).has_contributions}
    assert set(text_methods) == {"static", "tfidf-svm"}
    assert exact == {"tfidf-svm"}
