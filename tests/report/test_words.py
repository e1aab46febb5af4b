"""Words with their placeholders filled."""

import pytest

from tanzaku.report.words import filled, words_of


@pytest.mark.parametrize(
    ("text", "number", "told"),
    [
        ("{value:run|runs}", 1, "1 run"),
        ("{value:run|runs}", 0, "0 runs"),
        ("{value:run|runs}", 1024, "1024 runs"),
        ("{value:,run|runs}", 1024, "1,024 runs"),
        ("{value:g}", 0.5, "0.5"),
        ("{value:,}", 1024, "1,024"),
    ],
)
def test_a_noun_follows_its_number(text: str, number: float, told: str) -> None:
    assert filled(text, value=number) == told


def test_a_placeholder_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        filled("{value:run|runs}", values=1)


def test_japanese_has_blanks_beside_latin_letters_and_digits_only() -> None:
    words = words_of("ja")
    assert words("results.beside", arm="フルファインチューニング") == "フルファインチューニングとの比較"
    assert words("results.beside", arm="LoRA r=8") == "LoRA r=8 との比較"
    assert words("results.beside", arm="映画 音楽").startswith("映画 音楽と")  # the name is not changed
    assert words.joined(["一つ。", "二つ。"]) == "一つ。二つ。"
    assert words_of("en").joined(["One.", "Two."]) == "One. Two."
