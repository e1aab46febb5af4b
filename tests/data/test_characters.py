"""What becomes of characters that are no text."""

import sys
import unicodedata
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanzaku.data.characters import clean_dataset, clean_text, is_empty
from tanzaku.data.dataset import Dataset, Documents
from tanzaku.errors import DataError, TanzakuWarning

ALL = [chr(number) for number in range(sys.maxunicode + 1) if not 0xD800 <= number <= 0xDFFF]
# Signs that stand before or over Arabic and Kaithi numbers, and Egyptian hieroglyphs' arrangement: they can be seen.
VISIBLE = {*map(chr, range(0x600, 0x606)), "\u06dd", "\u070f", "\u0890", "\u0891", "\u08e2", "\U000110bd", "\U000110cd"}
VISIBLE |= set(map(chr, range(0x13430, 0x13440)))
# One of Unicode's joined emoji for each sign below U+1F000 that they hold.
_SEQUENCES: tuple[tuple[str, ...], ...] = (
    ("1f3f4", "2620-fe0f"),
    ("1f3c3", "2640-fe0f", "27a1-fe0f"),
    ("1f3c3-1f3fd", "2642-fe0f"),
    ("1f9d1", "2695-fe0f"),
    ("1f9d1", "2696-fe0f"),
    ("1f9d1", "2708-fe0f"),
    ("1f3f3-fe0f", "26a7-fe0f"),
    ("26d3-fe0f", "1f4a5"),
    ("26f9-fe0f", "2640-fe0f"),
    ("1f469", "2764-fe0f", "1f48b", "1f468"),
    ("1f408", "2b1b"),
    ("1f642", "2194-fe0f"),
    ("1f642", "2195-fe0f"),
)
JOINED = tuple(
    "\u200d".join("".join(chr(int(code, 16)) for code in part.split("-")) for part in one) for one in _SEQUENCES
)
SELECTORS = {*map(chr, range(0xFE00, 0xFE10)), *map(chr, range(0xE0100, 0xE01F0))}


def test_every_control_separates() -> None:
    controls = [character for character in ALL if unicodedata.category(character) == "Cc"]
    assert len(controls) == 65
    assert {clean_text(f"東{character}京").split() == ["東", "京"] for character in controls} == {True}
    white = [character for character in controls if clean_text(f"東{character}京") == f"東{character}京"]
    assert white == ["\t", "\n", "\v", "\f", "\r"]


def test_every_format_character_and_selector_inside_a_word_is_dropped() -> None:
    formats = {character for character in ALL if unicodedata.category(character) == "Cf"} - VISIBLE
    separating = {"\ufff9", "\ufffa", "\ufffb"}
    assert {character for character in formats | SELECTORS if clean_text(f"東{character}京") != "東京"} == separating
    assert {clean_text(f"東{character}京") for character in separating} == {"東 京"}


def test_all_else_stays() -> None:
    others = [one for one in ALL if unicodedata.category(one) not in {"Cc", "Cf"} and one not in SELECTORS]
    changed = [character for character in others if clean_text(f"東{character}京") != f"東{character}京"]
    # The grapheme joiner, blank letters, Mongolian selectors, the empty Braille pattern, and what is reserved.
    known = "\u034f\u115f\u1160\u180b\u180c\u180d\u180f\u2065\u2800\u3164\uffa0"
    assert [character for character in changed if character < "\U000e0000"] == list(known)


@pytest.mark.parametrize("text", ["👨‍👩‍👧 と ❤️‍🔥", "1️⃣ ©️ ☎︎", "👍🏽", "㊙️", *JOINED])
def test_emoji_stay_as_they_are_spelled(text: str) -> None:
    assert clean_text(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("葛\U000e0100城", "葛城"),  # the shape of a kanji
        ("新\u200bし\u00adい\ufeff", "新しい"),
        ("\u202eabc\u202c", "abc"),
        ("あ\u200d❤\ufe0f\u200d", "あ❤\ufe0f"),
        ("❤\ufe0f\ufe0f", "❤\ufe0f"),
        ("\ufe0f\u200d😀", "😀"),
        ("20\u200d24", "2024"),
        ("→\u200d→", "→→"),
        ("❤\u200d1", "❤1"),
        ("1\ufe0f\u200d😀", "1\ufe0f😀"),
        ("➡\u200d➡", "➡➡"),
        ("√\u200d■\u200d#\u200d©", "√■#©"),
        ("a\0\0b\r\n", "a  b\r\n"),
    ],
)
def test_strays_go(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


odd = st.text(st.sampled_from("東a1→❤😀\0\x85\n \u200b\u200d\ufe0f\ufe0e\ufe00\ufeff\u2800\ufff9\U000e0100"))


@given(text=odd)
def test_a_second_time_changes_nothing_and_what_can_be_seen_stays(text: str) -> None:
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned
    seen = "東a1→❤😀"
    assert [one for one in cleaned if one in seen] == [one for one in text if one in seen]
    assert is_empty(text) == (not any(one in seen for one in text))


def _dataset(*texts: str, published: bool = False) -> Dataset:
    documents = Documents(texts, ("a",) * len(texts))
    return Dataset("mine", documents, Documents(("x",), ("a",)), Documents((), ()), ("a",), published=published)


def test_a_data_set_is_cleaned_with_a_warning_that_counts() -> None:
    given = _dataset("a\0b\0", "c", "\u200b", "d\u200be\u202a", "")
    with pytest.warns(
        TanzakuWarning,
        match=r"^mine: 3 of 6 texts hold control or invisible characters, of which 2 became spaces \(U\+0000\) and "
        r"3 were left out \(U\+200B, U\+202A\); 1 of these texts are now empty\.$",
    ):
        cleaned = clean_dataset(given)
    assert cleaned == _dataset("a b ", "c", "", "de", "")
    assert cleaned.fingerprint == _dataset("a b ", "c", "", "de", "").fingerprint


def test_clean_and_published_data_sets_stay_without_a_word() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for dataset in (_dataset("a b\r\n", "❤️"), _dataset("a\0b\u200b", published=True)):
            assert clean_dataset(dataset) is dataset


@pytest.mark.parametrize("published", [True, False])
def test_half_a_surrogate_pair_is_refused_with_its_row(published: bool) -> None:
    with pytest.raises(DataError, match=r"^train row 2 holds half a surrogate pair \('\\ud800'\)"):
        clean_dataset(_dataset("a", "b\ud800", published=published))
