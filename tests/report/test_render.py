"""Escaping: whatever a name holds, it comes out of Markdown and CSV as it went in."""

import csv
import io

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tanzaku.markdown import escape_markdown, one_line
from tanzaku.report.render import (
    Column,
    Table,
    csv_text,
    markdown_table,
)

NASTY = st.text(
    alphabet=st.one_of(st.sampled_from("|&%_#${}\\~^<>*`[]()!'\"-,.+=\n\r\t 1aあ"), st.characters()), max_size=30
)


def read_markdown(text: str, *, table: bool = False) -> str:
    """The text that a Markdown reader shows, markup that slipped through being visible as a missing character."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    inline = [token for token in tokens if token.type == "inline"]
    children = [child for token in inline for child in token.children or []]
    assert {child.type for child in children} <= {"text", "text_special"}, children
    return "".join(child.content for child in children) if not table else inline[-1].content


@settings(deadline=None)  # a busy machine is no failure
@given(NASTY)
def test_markdown_shows_the_text(text: str) -> None:
    shown = one_line(text)
    if shown:
        assert read_markdown(escape_markdown(text)) == shown


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(NASTY, min_size=2, max_size=2))
def test_a_markdown_table_keeps_its_shape(cells: list[str]) -> None:
    table = Table("caption", (Column("a|b"), Column("c", numeric=True)), (tuple(cells), ("1", "2")))
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown_table(table))
    inline = [token for token in tokens if token.type == "inline"]
    assert len(inline) == 6
    shown = ["".join(child.content for child in token.children or []) for token in inline]
    assert shown == ["a|b", "c", *(one_line(cell) for cell in cells), "1", "2"]


# A carriage return alone is read back by Python's csv only with newline="", as here.
@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(NASTY.filter(lambda text: "\0" not in text), min_size=2, max_size=2), st.floats(allow_nan=False))
def test_csv_reads_back_equal(cells: list[str], number: float) -> None:
    text = csv_text([{"a": cells[0], "b": cells[1], "number": number}, {"c": None}])
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [rows[0]["a"], rows[0]["b"]] == cells
    assert float(rows[0]["number"]) == number
    assert list(rows[0]) == ["a", "b", "number", "c"]
    assert rows[1] == {"a": "", "b": "", "number": "", "c": ""}
