"""`tanzaku study report`: tables and figures from the records of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from tanzaku.report.arms import Section
    from tanzaku.report.render import Table
    from tanzaku.report.write import Report


def report(
    runs: Annotated[Path, typer.Argument(help="The folder that `tanzaku study run` wrote; every record below counts.")],
    out: Annotated[Path | None, typer.Option(help="Where the report goes; without it, RUNS/report.")] = None,
) -> None:
    """Write the tables (Markdown, LaTeX, CSV) and figures of a study, from its records alone.

    The main table goes to standard output, the paths of the files to standard error.
    """
    from rich.console import Console

    from tanzaku.report.write import write_report

    written = write_report(runs, out or runs / "report")
    _print_tables(written, Console(highlight=False))
    for path in written.paths:
        typer.echo(str(path), err=True)


def _print_tables(written: Report, console: Console) -> None:
    """Plain Markdown where the output is read by a program, a table drawn to the window's width on a terminal."""
    from tanzaku.report.document import count_text, notes, section_heading
    from tanzaku.report.render import markdown_table
    from tanzaku.report.tables import results_table

    for number, section in enumerate(written.sections, start=1):
        if console.is_terminal:
            console.print(section_heading(section, number=number), markup=False, style="bold")
            for table in _fitting(section, console):
                _draw(table, console)
            for note in notes(section):
                console.print(note.replace("**", ""), markup=False)
        elif len(written.sections) > 1:
            typer.echo(f"## {section_heading(section, number=number)}\n\n{markdown_table(results_table(section))}")
        else:
            typer.echo(markdown_table(results_table(section)), nl=False)
    if console.is_terminal:
        console.print(count_text(written.records), markup=False)


def _fitting(section: Section, console: Console) -> list[Table]:
    """The results in one table if the terminal is wide enough, in two otherwise."""
    from tanzaku.report import texts
    from tanzaku.report.tables import results_table

    results = results_table(section)
    needed = sum(
        3 + max(len(cell) for cell in (*(row[index] for row in results.rows), _longest_word(column.heading)))
        for index, column in enumerate(results.columns)
    )
    if needed < console.width:
        return [results]
    halves: tuple[tuple[Literal["quality", "cost"], str], ...] = (
        ("quality", texts.RESULTS_QUALITY),
        ("cost", texts.RESULTS_COST),
    )
    return [results.half(group, caption=caption) for group, caption in halves]


def _longest_word(text: str) -> str:
    return max(text.split(), key=len)


def _draw(table: Table, console: Console) -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    from tanzaku.report.render import one_line

    drawn = RichTable(title=table.caption, box=box.SIMPLE_HEAD, title_justify="left")
    for column in table.columns:
        drawn.add_column(Text(column.heading), justify="right" if column.numeric else "left")
    for row in table.rows:
        drawn.add_row(*(Text(one_line(cell)) for cell in row))
    console.print(drawn)
