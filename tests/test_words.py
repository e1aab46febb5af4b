"""The words of the report: placeholders filled, and the catalogues complete."""

import string

import pytest
from babel.messages.catalog import Catalog, Message

from tanzaku.words import Language, words_of
from tests.translations import (
    TRANSLATED,
    compiled,
    compiled_path,
    in_code,
    read_catalogue,
    translations,
    within_f_strings,
)


def messages(content: Catalog) -> dict[str | tuple[str, str], Message]:
    return {one.id if isinstance(one.id, str) else (one.id[0], one.id[1]): one for one in content if one.id}


def placeholders(text: str) -> set[str]:
    return {f"{name}:{form}" for _, name, form, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_message_of_the_code_is_translated_and_no_translation_is_unused(language: Language) -> None:
    known = messages(read_catalogue(language))
    assert set(known) == set(messages(in_code())), "run make translations"
    assert not read_catalogue(language).obsolete
    assert [one.id for one in known.values() if one.fuzzy or not all(translations(one))] == []


def test_babel_finds_every_message_of_the_code() -> None:
    assert within_f_strings() == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_have_the_placeholders_of_their_message(language: Language) -> None:
    for message in messages(read_catalogue(language)).values():
        originals = [message.id] if isinstance(message.id, str) else list(message.id)
        allowed = set.union(*map(placeholders, originals))
        needed = allowed - {"n:", "n:,"}  # a number may go without saying, as in "the arm"
        for text in translations(message):
            assert needed <= placeholders(text) <= allowed, message.id


@pytest.mark.parametrize("language", TRANSLATED)
def test_the_compiled_catalogue_is_the_readable_one(language: Language) -> None:
    assert compiled_path(language).read_bytes() == compiled(read_catalogue(language)), "run make translations"


def test_the_names_of_settings_are_among_the_messages() -> None:
    known = {one.id for one in in_code()}
    assert {"LoRA+ ratio", "head learning rate", "long text"} <= known
    assert not {"name", "revision"} & known


@pytest.mark.parametrize(
    ("number", "english", "japanese"),
    [(1, "1 run", "1 回の実行"), (0, "0 runs", "0 回の実行"), (2, "2 runs", "2 回の実行")],
)
def test_a_noun_follows_its_number(number: int, english: str, japanese: str) -> None:
    assert words_of("en").plural("{n} run", "{n} runs", number) == english
    assert words_of("ja").plural("{n} run", "{n} runs", number) == japanese


def test_a_placeholder_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        words_of("en").text("Compared with {arm}", name="LoRA")


def test_a_message_without_a_translation_stays_english() -> None:
    assert words_of("ja").text("A method of tomorrow r={rank}", rank=8) == "A method of tomorrow r=8"


def test_japanese_has_blanks_only_beside_latin_letters_and_digits() -> None:
    words = words_of("ja")
    assert words.text("Compared with {arm}", arm="フルファインチューニング") == "フルファインチューニングとの比較"
    assert words.text("Compared with {arm}", arm="LoRA r=8") == "LoRA r=8 との比較"
    assert words.text("Compared with {arm}", arm="映画 音楽").startswith("映画 音楽と")  # the name is not changed
    assert words.joined(["一つ。", "二つ。"]) == "一つ。二つ。"
    assert words_of("en").joined(["One.", "Two."]) == "One. Two."


def test_of_many_names_the_first_are_listed() -> None:
    assert words_of("en").listed(["a", "b"]) == "a, b"
    assert words_of("en").listed("abcdefg") == "a, b, c, d, e and 2 more"
    assert words_of("ja").listed("abcdefg") == "a、b、c、d、e、ほか 2 件"
    # A name with a comma in it would run into the next.
    assert words_of("en").listed(["LoRA, lr 5e-4", "Head only"]) == "LoRA, lr 5e-4; Head only"
