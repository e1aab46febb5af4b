"""MeCab's words in pieces are those of the whole text, whatever its length."""

from functools import cache
from itertools import islice
from typing import Any

import fugashi
import ipadic
import pytest
import unidic_lite
from hypothesis import given, settings
from hypothesis import strategies as st

from tanzaku.data.loading import load_dataset
from tanzaku.encoders.segmenter import OVERLAP_CHARACTERS, PIECE_CHARACTERS, Segmenter, bound_mecab
from tests.checkpoints import sentences

FOLDERS = {"ipadic": ipadic.DICDIR, "unidic_lite": unidic_lite.DICDIR}


@cache
def _tagger(dictionary: str) -> Any:
    folder = FOLDERS[dictionary]
    return fugashi.GenericTagger(f'-d "{folder}" -r "{folder}/mecabrc"')


def _surfaces(words: Any) -> list[str]:
    return [word.surface for word in words]


def test_no_path_through_a_piece_can_cost_too_much() -> None:
    """Word and connection costs are 16-bit numbers; MeCab's largest path cost is 2^31 - 1."""
    assert (PIECE_CHARACTERS + 1) * 2 * 2**15 < 2**31 - 1
    assert PIECE_CHARACTERS > 2 * OVERLAP_CHARACTERS


@pytest.mark.parametrize("dictionary", FOLDERS)
def test_a_long_text_has_the_words_of_the_whole(dictionary: str) -> None:
    sample = load_dataset("sample")
    text = "".join((*sample.train.texts, *sample.val.texts, *sample.test.texts))
    assert len(text) > 2 * PIECE_CHARACTERS
    tagger = _tagger(dictionary)
    assert _surfaces(Segmenter(tagger)(text)) == _surfaces(tagger(text))


def test_separated_by_spaces_they_are_those_of_the_whole_too() -> None:
    tagger = fugashi.GenericTagger(f"{ipadic.MECAB_ARGS} -Owakati")
    text = "".join(sentences())
    segment = Segmenter(tagger, piece=2_000, overlap=200)
    assert segment.parse(text).split() == tagger.parse(text).split()
    assert segment.parse("山\0海").split() == ["山", "海"]


units = st.sampled_from(
    ["あ", "アン", "すもも", "あい", "ー", "-", "1", "a", "。", "、", "\n", " ", "　", "😀", "モヤ", "のに"]
)
runs = st.builds(lambda unit, times: unit * times, units, st.sampled_from([1, 2, 3, 7, 40, 200]))
ordinary = st.builds("".join, st.lists(st.sampled_from(sentences()), min_size=1, max_size=12))


@pytest.mark.parametrize("dictionary", FOLDERS)
@given(parts=st.lists(ordinary | runs, min_size=10, max_size=40))
@settings(max_examples=20, deadline=None)
def test_any_text_without_runs_of_half_a_piece_has_the_words_of_the_whole(dictionary: str, parts: list[str]) -> None:
    text = "".join(parts)
    tagger = _tagger(dictionary)
    assert _surfaces(Segmenter(tagger, piece=2_000, overlap=200)(text)) == _surfaces(tagger(text))


# Each ends the process where MeCab gets it whole, or makes it drop what follows.
_TOO_MUCH = {"digits": "1" * 90_000, "spaces": " " * 65_535, "lines": "\n" * 70_000, "zero": "\0"}


@pytest.mark.parametrize("middle", _TOO_MUCH.values(), ids=_TOO_MUCH.keys())
def test_what_is_too_much_for_mecab_is_segmented_to_its_end(middle: str) -> None:
    surfaces = _surfaces(Segmenter(_tagger("ipadic"))(f"山と{middle}海に行く。"))
    assert surfaces[:2] == ["山", "と"]
    assert surfaces[-4:] == ["海", "に", "行く", "。"]
    assert "".join(surfaces) == f"山と{middle}海に行く。".replace("\0", "").replace(" ", "").replace("\n", "")


def test_only_the_pieces_that_are_needed_are_segmented() -> None:
    seen: list[str] = []

    def tagger(text: str) -> Any:
        seen.append(text)
        return _tagger("ipadic")(text)

    segment = Segmenter(tagger, piece=2_000, overlap=200)
    text = "".join(sentences()) * 2
    assert _surfaces(islice(segment(text), 600)) == _surfaces(_tagger("ipadic")(text))[:600]
    assert list(map(len, seen)) == [2_000]
    seen.clear()
    list(segment(text))
    assert max(map(len, seen)) == 2_000
    assert sum(map(len, seen)) < 1.3 * len(text)  # the work grows with the length


def test_a_tokenizer_is_bound_once_and_others_are_left_alone() -> None:
    class Words:
        mecab = _tagger("ipadic")

    words = Words()
    bound_mecab(words)
    once = words.mecab
    assert isinstance(once, Segmenter)
    bound_mecab(words)
    assert words.mecab is once
    bound_mecab(None)
