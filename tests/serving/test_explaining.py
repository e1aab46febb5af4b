"""Phrases of a text, which an explanation weighs."""

import pytest

from tanzaku.serving.explaining import cut_phrases


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
