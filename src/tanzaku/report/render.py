"""A table as GitHub Markdown and as LaTeX with booktabs, and rows as CSV; every cell is escaped."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# Only what Markdown would read as markup inside a table cell; escaping every dot would make the source unreadable.
_MARKDOWN_ESCAPED = frozenset("\\`*_[]|~$<&")
_HEADING_CHARACTERS = 9  # a line of a heading in LaTeX
# At the start of a line these would begin a list, a heading, a rule or a quotation.
_MARKDOWN_BLOCK = re.compile(r"^(?:[>=]|[#+-]+(?=\s|$)|\d+[.)](?=\s|$))")
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",
    "]": "{]}",
    "α": r"$\alpha$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "–": "--",
    "“": "``",
    "”": "''",
}

# Pairs that TeX would set as one other character, such as a dash for two hyphens.
_LATEX_LIGATURE = re.compile(r"(?<=-)(?=-)|(?<=')(?=')|(?<=,)(?=,)")


@dataclass(frozen=True)
class Column:
    """A column's heading; `group` says in which half of a split table it stands."""

    heading: str
    numeric: bool = False
    group: Literal["both", "quality", "cost"] = "both"


@dataclass(frozen=True)
class Table:
    """A table of finished text; every row has a cell for every column."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]

    def half(self, group: Literal["quality", "cost"], *, caption: str) -> Table:
        """The columns of one group, and those of both."""
        kept = [index for index, column in enumerate(self.columns) if column.group in ("both", group)]
        return Table(
            caption=caption,
            columns=tuple(self.columns[index] for index in kept),
            rows=tuple(tuple(row[index] for index in kept) for row in self.rows),
        )


def one_line(text: str) -> str:
    """`text` without line breaks, control characters and lone surrogates, its white space run together."""
    printable = "".join(character if _is_text(character) else " " for character in text)
    return " ".join(printable.split())


def escape_markdown(text: str) -> str:
    """`text` on one line, shown as it is by GitHub, inside a table too."""
    escaped = "".join(f"\\{character}" if character in _MARKDOWN_ESCAPED else character for character in one_line(text))
    return _MARKDOWN_BLOCK.sub(lambda match: f"{match[0][:-1]}\\{match[0][-1]}", escaped)


def escape_latex(text: str) -> str:
    """`text` on one line, for LaTeX's text mode; characters outside Latin-1 need LuaLaTeX and a font that has them."""
    parts = _LATEX_LIGATURE.split(one_line(text))
    return "{}".join("".join(_LATEX.get(character, character) for character in part) for part in parts)


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


def latex_table(table: Table, *, label: str) -> str:
    """A `table` environment with booktabs' rules, no wider than the text (`graphicx`'s `\\resizebox`)."""
    alignment = "".join("r" if column.numeric else "l" for column in table.columns)
    lines = [
        r"\begin{table}[htbp]",
        r"  \centering",
        rf"  \caption{{{escape_latex(table.caption)}}}",
        rf"  \label{{{label}}}",
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"  \begin{{tabular}}{{{alignment}}}",
        r"    \toprule",
        "    " + " & ".join(map(_latex_heading, table.columns)) + r" \\",
        r"    \midrule",
        *(f"    {_latex_row(row)}" for row in table.rows),
        r"    \bottomrule",
        r"  \end{tabular}}",
        r"\end{table}",
    ]
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


def _latex_heading(column: Column) -> str:
    """Long headings on several lines: on one, they would make the table too wide to read when it is fitted."""
    lines = textwrap.wrap(one_line(column.heading), _HEADING_CHARACTERS, break_long_words=False)
    if len(lines) < 2:
        return escape_latex(column.heading)
    side = "r" if column.numeric else "l"
    stacked = r" \\ ".join(map(escape_latex, lines))
    return rf"\shortstack[{side}]{{{stacked}}}"


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(escape_latex(cell) for cell in cells) + r" \\"


def _is_text(character: str) -> bool:
    # The second range is the surrogates, which UTF-8 can't hold.
    return character >= " " and not "\x7f" <= character <= "\x9f" and not "\ud800" <= character <= "\udfff"
