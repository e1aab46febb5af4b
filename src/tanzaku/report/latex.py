"""A table as LaTeX with booktabs that fits a text width of 14 cm at 9 pt; every cell is escaped."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from itertools import groupby, pairwise

from tanzaku.markdown import one_line
from tanzaku.report.render import Table

WIDTH = 396.0  # TeX points, 14 cm and a little less
_GAP = 8.0  # between two columns: twice \tabcolsep
_LEAST_NAME = 75.0  # of the column that takes the room which the others leave
_SLACK = 1.04  # the widths of characters are rounded
_MOST_LINES = 46  # of 9 pt that one page has room for; a longer table may break across pages
_HEADING_WIDTH = 33.0  # a line of a heading, where its words allow it
# A word, or a part of a Japanese one that has no blanks: before a kanji after kana, and before katakana.
_PART = re.compile(r" ?(?:(?![ぁ-ヿ][一-龥]|[^ァ-ヿ\s][ァ-ヿ])\S)*\S")
_LONGEST_PIECE = 18  # characters without a break in a column that wraps

# Widths in points at 9 pt, of Latin Modern Roman.
_NARROW, _DIGIT, _LETTER, _CAPITAL, _BROAD, _FULL = 3.1, 4.75, 4.9, 6.6, 8.2, 9.25

PREAMBLE = r"""% Tables of `tanzaku study report`, for \input: they need the packages array, booktabs and longtable,
% a text width of 14 cm, and with pdfLaTeX \usepackage[T1]{fontenc}. pdfLaTeX shows names that it has no
% characters for as numbers or question marks.
\providecommand{\tanzakutext}[2]{\ifdefined\Umathcode#1\else\ifdefined\kanjiskip#1\else#2\fi\fi}
"""

_NO_BREAK = "\u00a0"
_COMMANDS = {
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
    "*": "{*}",  # first in a row, it would belong to the row's end above: \\*
    "[": "{[}",
    "]": "{]}",
    _NO_BREAK: "~",
    "α": r"$\alpha$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "⋆": r"$\star$",
    "–": "--",
    "—": "---",
    "‘": "{`}",
    "’": "{'}",
    "“": "``",
    "”": "''",
    "…": r"\dots{}",
}
# What pdfLaTeX has in the encoding T1, besides ASCII: Latin-1 without the soft hyphen, and most of Latin Extended-A.
_LATIN = frozenset(map(chr, (*range(0xA1, 0xAD), *range(0xAE, 0x17F)))) - frozenset("ĦħĸĿŀŉŦŧ")

# Pairs that TeX would set as one other character, such as a dash for two hyphens.
_LIGATURE = re.compile(r"(?<=-)(?=-)|(?<=')(?=')|(?<=,)(?=,)")
_BREAK_AFTER = frozenset("_/+.:=")


def escape_latex(text: str, *, instead: str | None = None, breakable: bool = False) -> str:
    """`text` on one line, for LaTeX's text mode.

    Args:
        text: Anything.
        instead: What pdfLaTeX shows of a text with characters that it lacks; without it, a question mark for each
            stretch of them.
        breakable: Whether lines may also end after full-width characters, inside long words and after such signs as
            the underscore.
    """
    flat = _one_line(text)
    if instead is not None and not all(map(_in_pdflatex, flat)):
        return rf"\tanzakutext{{{_escape(flat, breakable)}}}{{{_escape(instead, breakable)}}}"
    parts = []
    for known, characters in groupby(flat, key=_in_pdflatex):
        part = _escape("".join(characters), breakable)
        parts.append(part if known else rf"\tanzakutext{{{part}}}{{?}}")
    return "".join(parts)


def latex_table(table: Table, *, label: str) -> str:
    """A `table` environment with booktabs' rules; a `longtable` where the rows don't fit one page."""
    widths = _wrapping_widths(table)
    caption = rf"\caption{{{escape_latex(table.caption, breakable=True)}}}"
    separation = rf"\setlength{{\tabcolsep}}{{{_GAP / 2:g}pt}}"
    alignment = _alignment(table, widths)
    heading = [r"\toprule", *_heading_lines(table), r"\midrule"]
    rows = [_row(table, place) for place in range(len(table.rows))]
    if table.total:
        rows.insert(-1, r"\midrule")
    if _lines(table, widths) > _MOST_LINES:
        body = [rf"{caption}\label{{{label}}}\\", *heading, r"\endfirsthead", *heading, r"\endhead"]
        lines = [
            r"\begingroup",
            r"\fontsize{9}{11}\selectfont",
            rf"{separation}\setlength{{\LTcapwidth}}{{\linewidth}}",
            rf"\begin{{longtable}}{{{alignment}}}",
            *(f"  {line}" for line in [*body, r"\bottomrule", r"\endfoot", *rows]),
            r"\end{longtable}",
            r"\endgroup",
        ]
        return "\n".join(lines) + "\n"
    lines = [
        r"\begin{table}[htbp]",
        r"  \centering",
        r"  \setlength{\belowcaptionskip}{5pt}",
        f"  {caption}",
        rf"  \label{{{label}}}",
        r"  \fontsize{9}{11}\selectfont",
        f"  {separation}",
        rf"  \begin{{tabular}}{{{alignment}}}",
        *(f"    {line}" for line in [*heading, *rows, r"\bottomrule"]),
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _alignment(table: Table, widths: dict[int, float]) -> str:
    columns = []
    for place, column in enumerate(table.columns):
        if place in widths:
            columns.append(rf">{{\raggedright\arraybackslash\hangindent=0.8em}}p{{{widths[place]:.0f}pt}}")
        else:
            columns.append("r" if column.numeric else "l")
    return f"@{{}}{''.join(columns)}@{{}}"


def _heading_lines(table: Table) -> list[str]:
    """A line of the groups' headings with a rule below each, where there are groups; then the columns' own."""
    lines, columns = [], table.columns
    if any(column.group for column in columns):
        cells, rules, place = [], [], 1
        for group, members in groupby(columns, key=lambda column: column.group):
            count = len(list(members))
            cells.append(rf"\multicolumn{{{count}}}{{c}}{{{escape_latex(group)}}}" if group else " & " * (count - 1))
            rules += [rf"\cmidrule(lr){{{place}-{place + count - 1}}}"] if group else []
            place += count
        lines = [" & ".join(cells) + r" \\", " ".join(rules)]
    return [*lines, " & ".join(_heading(table, place) for place in range(len(columns))) + r" \\"]


def _heading(table: Table, place: int) -> str:
    """Long headings on several lines, so that they don't make the column wider than its numbers."""
    column = table.columns[place]
    lines = [escape_latex(line) for line in _heading_parts(table, place)]
    if len(lines) == 1:
        return lines[0]
    side = "r" if column.numeric else "l"
    stacked = r" \\ ".join(lines)
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{stacked}\end{{tabular}}"


def _heading_parts(table: Table, place: int) -> list[str]:
    column, lines = table.columns[place], list[str]()
    most = _LEAST_NAME if column.wraps else math.inf  # a column that wraps is never narrower
    room = max([_HEADING_WIDTH, *(min(_text_width(row[place]), most) for row in table.rows)])
    narrow = one_line(column.heading).replace("（", " (").replace("）", ")")  # by a character's width each
    for word in _PART.findall(narrow):
        if lines and _text_width(lines[-1] + word) <= room:
            lines[-1] += word
        else:
            lines.append(word.lstrip())
    return lines or [""]


def _row(table: Table, place: int) -> str:
    cells = (
        escape_latex(
            cell,
            instead=column.instead[place] if place < len(column.instead) else None,
            breakable=column.wraps,
        )
        for column, cell in zip(table.columns, table.rows[place], strict=True)
    )
    return " & ".join(cells) + r" \\"


def _wrapping_widths(table: Table) -> dict[int, float]:
    """Of the columns that must wrap, in points, by their place; those whose cells fit as they are have none."""
    natural = [max(map(_text_width, _cells_and_heading(table, place))) for place in range(len(table.columns))]
    wrapping = {place: natural[place] for place, column in enumerate(table.columns) if column.wraps}
    fixed = sum(width for place, width in enumerate(natural) if place not in wrapping)
    room = WIDTH - _GAP * (len(table.columns) - 1) - fixed
    # The narrow ones stay as they are as long as each of the others gets an equal share of what is left.
    for place, width in sorted(wrapping.items(), key=lambda one: one[1]):
        if width * _SLACK > room / len(wrapping):
            break
        room -= width
        del wrapping[place]
    total = sum(math.sqrt(width) for width in wrapping.values())
    return {place: max(_LEAST_NAME, room * math.sqrt(width) / total) for place, width in wrapping.items()}


def _cells_and_heading(table: Table, place: int) -> Iterable[str]:
    yield from (row[place] for row in table.rows)
    yield from _heading_parts(table, place)


def _lines(table: Table, widths: dict[int, float]) -> int:
    """About how many lines the rows take."""
    return sum(
        max([1, *(math.ceil(1.1 * _text_width(row[place]) / width) for place, width in widths.items())])
        for row in table.rows
    )


def _one_line(text: str) -> str:
    """As `one_line`, with its no-break spaces."""
    return _NO_BREAK.join(map(one_line, text.split(_NO_BREAK)))


def _text_width(text: str) -> float:
    return _SLACK * sum(map(_character_width, _one_line(text)))


def _character_width(character: str) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return _FULL
    if character in "ijl.,:;|!'()[] \u00a0-tfr":
        return _NARROW
    if character in "mwMW%@−±×":
        return _BROAD
    if character.isdigit():
        return _DIGIT
    return _CAPITAL if character.isupper() else _LETTER


def _in_pdflatex(character: str) -> bool:
    return character.isascii() or character in _COMMANDS or character in _LATIN


def _escape(text: str, breakable: bool) -> str:
    if breakable:
        return r"\allowbreak{}".join(_escape(piece, False) for piece in _pieces(text))
    parts = _LIGATURE.split(text)
    return "{}".join("".join(_COMMANDS.get(character, character) for character in part) for part in parts)


def _pieces(text: str) -> list[str]:
    """The text in pieces between which a line may end, besides at white space and hyphens."""
    pieces, begun = [], ""
    for character, following in pairwise(f"{text} "):
        begun += character
        since_blank = len(begun) - 1 - max(begun.rfind(" "), begun.rfind("-"))
        wide = unicodedata.east_asian_width(character) in "WF"
        broken = wide or character in _BREAK_AFTER or since_blank >= _LONGEST_PIECE
        # Never before a blank, a digit (as in "0.5") or a closing mark.
        if broken and (following.isalpha() or (wide and following.isalnum())):
            pieces.append(begun)
            begun = ""
    return [*pieces, begun]
