"""`tanzaku study report`: tables and figures from the records of a study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from tanzaku.report.render import Table
    from tanzaku.report.write import Report


def report(
    runs: Annotated[Path, typer.Argument(help="The folder that `tanzaku study run` wrote; every record below counts.")],
    out: Annotated[Path | None, typer.Option(help="Where the report goes; without it, RUNS/report.")] = None,
    margin: Annotated[
        float,
        typer.Option(min=0, max=100, help="Percentage points that the recommended arm may be worse than the best."),
    ] = 0.5,
    choose_by: Annotated[
        Literal["accuracy", "macro_f1"] | None,
        typer.Option(help="What of the validation set arms are chosen by.", show_default="what the study file said"),
    ] = None,
    language: Annotated[Literal["en", "ja"], typer.Option(help="Of report.html and tables.tex.")] = "en",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help='The runs\' data, or "sample": show how the documents begin that the best models get wrong.',
        ),
    ] = None,
) -> None:
    """Recommend an arm, and write the report of a study from its records alone: report.html is for reading.

    The same folder gets the tables as Markdown, LaTeX and CSV, and the figures as SVG, PNG and PDF. The recommended arm
    is the smallest whose validation accuracy (or macro-F1) is within the margin of the best; the test set says whether
    that holds. The main table goes to standard output, the recommendation and the paths of the files to standard error.

    Examples:

        tanzaku study report runs/my-study

        tanzaku study report runs/my-study --margin 1 --language ja --data data/my-data
    """
    from rich.console import Console

    from tanzaku.data.dataset import load_dataset
    from tanzaku.report.commands import pack_command
    from tanzaku.report.sentences import recommendation_lines
    from tanzaku.report.words import words_of
    from tanzaku.report.write import write_report

    dataset = load_dataset(data) if data is not None else None
    written = write_report(
        runs, out or runs / "report", margin=margin / 100, language=language, dataset=dataset, choose_by=choose_by
    )
    _print_tables(written, Console(highlight=False))
    for line in recommendation_lines(written.evidence):
        typer.echo(line, err=True)
    for path in written.paths:
        typer.echo(str(path), err=True)
    if written.recommended_run is None:
        return
    if command := pack_command(written.recommended_run):
        typer.echo(f"Next: {command}, and tanzaku classify BUNDLE TEXT", err=True)
    else:
        typer.echo(words_of("en")("recommended.no_model"), err=True)


def _print_tables(written: Report, console: Console) -> None:
    """Plain Markdown where the output is read by a program, a table drawn to the window's width on a terminal."""
    from tanzaku.report.document import count_text, notes, section_heading
    from tanzaku.report.render import markdown_table
    from tanzaku.report.tables import results_table

    for number, (section, evidence) in enumerate(zip(written.sections, written.evidence, strict=True), start=1):
        results = results_table(section, evidence)
        if console.is_terminal:
            console.print(section_heading(section, number=number), markup=False, style="bold")
            for table in _fitting(results, width=console.width):
                _draw(table, console)
            for note in notes(section, evidence):
                console.print(note.replace("**", ""), markup=False)
        elif len(written.sections) > 1:
            typer.echo(f"## {section_heading(section, number=number)}\n\n{markdown_table(results)}")
        else:
            typer.echo(markdown_table(results), nl=False)
    if console.is_terminal:
        console.print(count_text(written.records), markup=False)


def _fitting(table: Table, *, width: int) -> list[Table]:
    """The table in as many parts as it takes to show every cell whole; each begins with the columns of all parts."""
    shared = [index for index, column in enumerate(table.columns) if column.group == "both"]
    room = width - 2 - sum(_needed_width(table, index) for index in shared)
    parts: list[list[int]] = [[]]
    for index in (index for index in range(len(table.columns)) if index not in shared):
        taken = sum(_needed_width(table, other) for other in parts[-1])
        if parts[-1] and taken + _needed_width(table, index) > room:
            parts.append([])
        parts[-1].append(index)
    return [
        replace(
            table,
            columns=tuple(table.columns[index] for index in (*shared, *part)),
            rows=tuple(tuple(row[index] for index in (*shared, *part)) for row in table.rows),
        )
        for part in parts
    ]


def _needed_width(table: Table, index: int) -> int:
    """A column's longest cell or word of its heading, with a blank on either side and one between columns."""
    return 3 + max(map(len, (*(row[index] for row in table.rows), *table.columns[index].heading.split())))


def _draw(table: Table, console: Console) -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    from tanzaku.report.render import one_line

    drawn = RichTable(box=box.SIMPLE_HEAD)
    for index, column in enumerate(table.columns):
        justify: Literal["left", "right"] = "right" if column.numeric else "left"
        drawn.add_column(Text(column.heading), justify=justify, width=_needed_width(table, index) - 3)
    for row in table.rows:
        drawn.add_row(*(Text(one_line(cell)) for cell in row))
    console.print(drawn)
