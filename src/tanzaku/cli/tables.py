"""Tables of a report on a terminal, as much of them as fits the window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rich import box
from rich.cells import cell_len
from rich.table import Table as RichTable
from rich.text import Text

from tanzaku.markdown import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from tanzaku.report.render import Table
    from tanzaku.words import Words

_AROUND = 3  # a blank on either side of a column, and one between columns
_IMPORTANT = 4  # the last place of what a result is: accuracy, what identifies the arm, interval, size
_NAME_WIDTH = 24  # of the names at least, before the most important results give way


def print_table(table: Table, console: Console, words: Words) -> None:
    """Print the most important columns of a table that fit the window, and name the others."""
    widths = _widths(table, width=console.width)
    drawn = RichTable(box=box.SIMPLE_HEAD)
    for place, width in widths.items():
        column = table.columns[place]
        justify: Literal["left", "right"] = "right" if column.numeric else "left"
        drawn.add_column(Text(column.heading), justify=justify, width=width, overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(one_line(row[place])) for place in widths))
    console.print(drawn, soft_wrap=False)
    if missing := [column.heading for place, column in enumerate(table.columns) if place not in widths]:
        console.print(words.text("In report.html, and in a wider window: {columns}.", columns=", ".join(missing)))


def _widths(table: Table, *, width: int) -> dict[int, int]:
    """The columns that fit, the most important first, with their widths.

    Names in the first column take several lines if that lets the most important results stay, and so do cells that may
    be wrapped; every other cell stays whole.
    """
    whole = [_whole_width(table, place) for place in range(len(table.columns))]
    widths = [min(whole[place], column.narrowest or whole[place]) for place, column in enumerate(table.columns)]
    first, *order = sorted(range(len(whole)), key=lambda place: table.columns[place].place)
    important = sum(widths[place] + _AROUND for place in order if table.columns[place].place <= _IMPORTANT)
    free = width - 2
    widths[first] = min(whole[first], max(_NAME_WIDTH, free - important) - _AROUND)
    shown, free = [first], free - widths[first] - _AROUND
    for place in order:
        if widths[place] + _AROUND <= free:
            shown.append(place)
            free -= widths[place] + _AROUND
    for place in shown:  # what is left goes to columns that would be wrapped
        more = max(0, min(free, whole[place] - widths[place]))
        widths[place] += more
        free -= more
    return {place: widths[place] for place in sorted(shown)}


def _whole_width(table: Table, place: int) -> int:
    """A column's longest cell or word of its heading."""
    return max(map(cell_len, (*(row[place] for row in table.rows), *table.columns[place].heading.split())))
