"""A table as GitHub Markdown, and rows as CSV; every cell is escaped."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tanzaku.markdown import escape_markdown


@dataclass(frozen=True)
class Column:
    """A column's heading. Numbers are aligned to the right."""

    heading: str
    numeric: bool = False
    place: int = 0
    """In the order in which a terminal that is too narrow for the whole table shows columns."""
    group: str = ""
    """In LaTeX, a heading above this one and those of its neighbours that have the same."""
    wraps: bool = False
    """In LaTeX, whether long cells go on to a second line; such columns share the room that the others leave."""
    instead: tuple[str, ...] = ()
    """What pdfLaTeX shows, row by row, of a cell with characters that it lacks; without it, question marks."""
    narrowest: int | None = None
    """In a terminal, cells with more characters than this are wrapped where the window is narrow; None for never."""


@dataclass(frozen=True)
class Table:
    """A table of finished text; every row has a cell for every column."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    total: bool = False
    """Whether the last row is the sum of the others."""


def markdown_table(table: Table) -> str:
    """GitHub's table syntax, the columns padded so that the source reads well too."""
    headings = [escape_markdown(column.heading) for column in table.columns]
    rows = [[escape_markdown(cell) for cell in row] for row in table.rows]
    widths = [max(3, *(len(line[index]) for line in [headings, *rows])) for index in range(len(headings))]
    rule = [
        "-" * (width - 1) + ":" if column.numeric else "-" * width
        for width, column in zip(widths, table.columns, strict=True)
    ]
    lines = [_pad(line, widths, table.columns) for line in (headings, rule, *rows)]
    return "\n".join(lines) + "\n"


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV (RFC 4180, line feeds): the columns of all rows in the order of their first appearance.

    None is an empty cell; floats are written in full, so that they read back equal. Texts are quoted always: Python
    would leave a lone carriage return, such as progress bars put into error messages, without quotes.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _pad(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    padded = (
        cell.rjust(width) if column.numeric else cell.ljust(width)
        for cell, width, column in zip(cells, widths, columns, strict=True)
    )
    return f"| {' | '.join(padded)} |"
