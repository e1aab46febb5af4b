"""LaTeX: whatever a name holds, it is set as it is or has a stand-in, and a table fits its width."""

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tanzaku.markdown import one_line
from tanzaku.report.latex import _LATIN, PREAMBLE, escape_latex, latex_table
from tanzaku.report.render import Column, Table
from tests.report.test_render import NASTY
from tests.typesetting import preambles, typeset

_COMMANDS = {
    "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">",
    "textbar": "|", "textquotedbl": '"', "textasciigrave": "`", "dots": "…",
}  # fmt: skip
_MATHEMATICS = {r"$\alpha$": "α", r"$\pm$": "±", r"$\times$": "×", r"$\star$": "⋆", "$-$": "−"}


def read_latex(text: str) -> str:
    """What LuaLaTeX sets, for the commands that `escape_latex` writes; an active character by itself is an error."""
    for command, character in _MATHEMATICS.items():
        text = text.replace(command, character)
    text = re.sub(r"\\tanzakutext\{([^\\{}]+)\}\{\?\}", r"\1", text)
    shown, place = "", 0
    text = text.replace("~", "\u00a0")  # it is written only where lines must not break
    tokens = re.compile(
        r"\\([a-z]+)\{\}|\\([&%$#_{}])|\{([\[\]*])\}|(\{\})|(---)|(--)|(``)|('')|\{(['`])\}|([^\\&%$#_{}~^<>\"`*])"
    )
    while place < len(text):
        match = tokens.match(text, place)
        assert match, f"{text[place:]!r} is active"
        command, special, bracket, _, long_dash, dash, opening, closing, quote, plain = match.groups()
        shown += _COMMANDS[command] if command else ""
        shown += special or bracket or plain or ""
        shown += "—" * bool(long_dash) + "–" * bool(dash) + "“" * bool(opening) + "”" * bool(closing)
        shown += {"'": "’", "`": "‘"}[quote] if quote else ""
        place = match.end()
    return shown


@given(NASTY)
def test_latex_shows_the_text(text: str) -> None:
    assert one_line(read_latex(escape_latex(text))) == one_line(text)


def test_a_star_that_begins_a_row_is_not_of_the_row_end_above() -> None:
    table = Table("c", (Column("a"),), (("first",), ("*second",)))
    assert not re.search(r"\\\\\s*[*\[]", latex_table(table, label="tab:x"))


@given(st.text(alphabet="ab_/.+-日本0 ", max_size=60))
def test_a_text_that_may_break_is_the_same_text(text: str) -> None:
    written = escape_latex(text, breakable=True)
    assert read_latex(written.replace(r"\allowbreak{}", "")) == one_line(text)
    # Nowhere more than so many letters in one.
    assert max(map(len, re.findall(r"[ab]+", written)), default=0) <= 19


@given(st.lists(NASTY, min_size=2, max_size=2))
def test_a_table_has_a_cell_for_every_column(cells: list[str]) -> None:
    table = Table("100 % & more", (Column("a"), Column("b", numeric=True)), (tuple(cells),))
    lines = latex_table(table, label="tab:x").splitlines()
    row = lines[lines.index(r"    \midrule") + 1]
    assert len(re.findall(r"(?<!\\)&", row)) == 1
    assert row.endswith(r" \\")
    assert r"  \caption{100 \% \& more}" in lines
    assert r"  \begin{tabular}{@{}lr@{}}" in lines


def test_a_name_that_pdflatex_lacks_has_a_stand_in() -> None:
    columns = (Column("Class", instead=("class 1", "class 2")), Column("n", numeric=True))
    text = latex_table(Table("映画 and more", columns, (("sports", "1"), ("家電_A", "2"))), label="tab:x")
    assert r"\tanzakutext{家電\_A}{class 2} & 2 \\" in text
    assert "sports & 1" in text
    assert r"\caption{\tanzakutext{映\allowbreak{}画}{?} and more}" in text


def test_only_columns_that_need_it_wrap() -> None:
    columns = (Column("Arm", wraps=True), *(Column("Figure", numeric=True) for _ in range(6)))
    short = latex_table(Table("", columns, (("LoRA", *["12.34"] * 6),)), label="tab:x")
    long = latex_table(Table("", columns, (("LoRA with very long words " * 8, *["12.34"] * 6),)), label="tab:x")
    assert r"{@{}lrrrrrr@{}}" in short
    assert re.search(r"p\{\d+pt\}rrrrrr@", long)


def test_a_heading_is_on_one_line_where_its_column_is_wide_enough() -> None:
    column = Column("95 % interval", numeric=True)
    wide = latex_table(Table("", (column,), (("−21.19 to −16.08",),)), label="tab:x")
    narrow = latex_table(Table("", (column,), (("0.1",),)), label="tab:x")
    assert r"    95 \% interval \\" in wide.splitlines()
    assert r"95 \% \\ interval" in narrow


def test_a_rule_is_above_the_sum() -> None:
    rows = (("a", "1"), ("b", "2"), ("All", "3"))
    table = Table("", (Column("Class"), Column("Documents", numeric=True)), rows, total=True)
    lines = latex_table(table, label="tab:x").splitlines()
    assert lines[lines.index(r"    All & 3 \\") - 1] == r"    \midrule"
    assert lines[lines.index(r"    b & 2 \\") - 1] == r"    a & 1 \\"


def test_a_group_of_columns_has_a_heading_and_a_rule() -> None:
    columns = (
        Column("a", numeric=True),
        Column("b", numeric=True, group="both"),
        Column("c", numeric=True, group="both"),
        Column("d", numeric=True),
    )
    lines = latex_table(Table("", columns, (("1", "2", "3", "4"),)), label="tab:x").splitlines()
    assert r"     & \multicolumn{2}{c}{both} &  \\" in lines
    assert r"    \cmidrule(lr){2-3}" in lines


def test_a_table_longer_than_a_page_may_break(tmp_path: Path) -> None:
    numbers = tuple(f"class {number + 1}" for number in range(120))
    columns = (Column("Class", wraps=True, instead=numbers), Column("Documents", numeric=True))
    rows = tuple((f"クラス {number}", str(7000 + number)) for number in range(120))
    table = latex_table(Table("All classes", columns, rows), label="tab:x")
    assert r"\begin{longtable}" in table
    assert r"\begin{longtable}" not in latex_table(Table("", columns, rows[:40]), label="tab:x")
    made = typeset("pdflatex", preambles()[0], [_with_commands(table)], folder=tmp_path)
    assert [line for line in made.lines if re.fullmatch(r"class \d+ 7\d\d\d", line)] == [
        f"class {number + 1} {7000 + number}" for number in range(120)
    ]
    assert sum(line == "Class Documents" for line in made.lines) >= 3  # the heading again on every page


def test_what_is_called_known_to_pdflatex_is(tmp_path: Path) -> None:
    signs = "".join(map(chr, range(0x21, 0x7F))) + "α±×−⋆–—‘’“”…"
    text = "\n\n".join([escape_latex(" ".join(signs)), escape_latex(" ".join(sorted(_LATIN)))])
    made = typeset("pdflatex", preambles()[0], [_with_commands(text)], folder=tmp_path)
    assert made.missing == []
    shown = set("".join(made.lines))
    assert {"é", "ß", "ł", "ő", "±", "×", "−", "–", "“", "<", "_", "~", '"'} <= shown


def test_pdflatex_shows_what_was_written(tmp_path: Path) -> None:
    texts = ["1 | 2 _ 3 % 4 # 5 & 6", "“x” – −0.5", "a--b ''c'' \\d {e}", "<0.0001 ~ ^ [f] `g`"]
    written = "\n\n".join(map(escape_latex, texts))
    made = typeset("pdflatex", preambles()[0], [_with_commands(written)], folder=tmp_path)
    shown = [line.replace("’", "'").replace(" ", "") for line in made.lines[: len(texts)]]
    assert shown == [text.replace(" ", "") for text in texts]


def _with_commands(text: str) -> str:
    return PREAMBLE + text


def test_no_break_spaces_stay() -> None:
    assert escape_latex("LoRA r=8,  lr\u00a05e-4", breakable=True) == "LoRA r=8, lr~5e-4"


def test_the_heading_of_a_wide_column_is_on_one_line() -> None:
    table = Table("c", (Column("These runs", wraps=True),), (("a long cell " * 20,),))
    assert "These runs" in latex_table(table, label="tab:x")
