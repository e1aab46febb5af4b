import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tanzaku.data.cleaning import clean_thesis, clean_unsigned, names_a_site


def unsigned(text: str) -> str:
    return clean_unsigned(text.splitlines(keepends=True))


def test_the_thesis_drops_breaks_tabs_and_full_width_spaces_and_strips() -> None:
    assert clean_thesis([" 題 名\n", "\n", "\u3000本\t文 です。\n", "終わり \n"]) == "題 名本文 です。終わり"


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\n\t\u3000")), min_size=1))
def test_the_thesis_keeps_everything_else(lines: list[str]) -> None:
    assert clean_thesis([f"{line}\n" for line in lines]) == "".join(lines).strip()


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("【Sports Watch】題名\n本文。\n", "題名本文。"),
        ("題名\nＰｅａｃｈｙ編集部が試した。\n", "題名編集部が試した。"),
        ("題名\n詳しくはhttp://smaxjp.example/a?b=1 へ。\n", "題名詳しくは へ。"),
        ("題名\n応募は@movie_enterをフォロー。\n", "題名応募はをフォロー。"),
        ("題名\n本文。\n■関連リンク\n・よその記事\nhttp://x.example/\n", "題名本文。"),
        ("題名\n【関連記事】\n・よその記事\n続きの本文。\n・本文の箇条書き\n", "題名続きの本文。・本文の箇条書き"),
        ("題名\n本文。\n記事執筆：山田\n", "題名本文。"),
        ("題名\n本文。（編集室／山田花子）\n", "題名本文。"),
        ("題名\n本文。\n（山田　花子）\n", "題名本文。"),
        ("題名\n「行く」（35歳）\n", "題名「行く」（35歳）"),
        ("題名\n最後（笑）。\n", "題名最後（笑）。"),
        ("題名\n本文。\nCopyright 2030 Somebody. All rights reserved.\n", "題名本文。"),
        ("題名\nADAM HOMMEの香水。\n", "題名ADAM HOMMEの香水。"),
        ("■関連記事まとめ\n本文。\n", "■関連記事まとめ本文。"),
    ],
)
def test_unsigned_drops_names_links_and_signatures_and_nothing_else(text: str, left: str) -> None:
    assert unsigned(text) == left


PIECES = st.sampled_from(
    [
        "S-MAX",
        "s",
        "-",
        "max",
        "Pea",
        "chy",
        "\n",
        "\u3000",
        "【",
        "】",
        "独女",
        "通信",
        "@",
        "http://",
        "livedoor",
        " HOMME",
        "。",
    ]
)


@settings(deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_no_name_is_left_however_it_is_broken_up(text: str) -> None:
    assert not names_a_site(unsigned(text))


@settings(deadline=None)
@given(st.text(alphabet="あい漢字。、「」ab\n", max_size=60))
def test_a_text_without_names_links_or_brackets_stays_as_the_thesis_has_it(text: str) -> None:
    lines = text.splitlines(keepends=True)
    assert clean_unsigned(lines) == clean_thesis([line.strip() for line in lines])
