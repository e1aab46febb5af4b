"""`tanzaku study report`: tables and figures from the records of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tanzaku.cli.choosing import Choosing
from tanzaku.cli.messages import warn

if TYPE_CHECKING:
    from rich.console import Console

    from tanzaku.report.write import Report
    from tanzaku.words import Words


_Runs = Annotated[
    Path,
    typer.Argument(
        metavar="RUNS", help="Folder that `tanzaku study run` wrote, or an archive, or a folder that contains several."
    ),
]


def report(
    runs: _Runs,
    choosing: Choosing,
    out: Annotated[Path | None, typer.Option(help="Folder for the report. Default: RUNS/report.")] = None,
    language: Annotated[Literal["en", "ja"], typer.Option(help="Language of the report and of the summary.")] = "en",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help='The runs\' data, or "sample": show the beginnings of documents that the best models get wrong.',
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Include every run in the folder, also those that were made with --set.")
    ] = False,
) -> None:
    """Recommend an arm and write the report of a study, only from its records. The main file is report.html.

    The same folder gets the tables as Markdown, LaTeX and CSV, and the figures as SVG, PNG and PDF. The recommended arm
    is the smallest whose validation accuracy (or macro-F1) is within the margin of the best; the test set shows whether
    that is also true for new documents. The main table is written to standard output, the recommendation and the path
    of report.html to standard error.

    Examples:

    ```
    tanzaku study report runs/my-study
    tanzaku study report runs/my-study --margin 1 --language ja --data data/my-data
    ```
    """
    from tanzaku.data.loading import load_dataset
    from tanzaku.display import plain_console
    from tanzaku.report.write import write_report
    from tanzaku.words import words_of

    dataset = load_dataset(data) if data is not None else None
    written = write_report(
        runs,
        out,
        margin=choosing.margin / 100,
        language=language,
        dataset=dataset,
        every=every,
        choose_by=choosing.choose_by,
    )
    words = words_of(language)
    _print_tables(written, plain_console(), words)
    _print_recommendation(written, plain_console(stderr=True), words)


def _print_recommendation(written: Report, console: Console, words: Words) -> None:
    """What is recommended, what is missing, what to do next and where the report is, on standard error."""
    from tanzaku.data.raw import listed
    from tanzaku.display import counted
    from tanzaku.report.commands import pack_command
    from tanzaku.report.document import missing_text, no_model_text, section_heading
    from tanzaku.report.sentences import recommendation_lines

    whole = not console.is_terminal  # a program may read lines, people get them wrapped between words
    for number, evidence in enumerate(written.evidence, start=1):
        if len(written.evidence) > 1:
            heading = section_heading(written.sections[number - 1], number=number, words=words)
            console.print(heading, soft_wrap=whole, style="bold")
        for line in recommendation_lines([evidence], words=words):
            console.print(line, soft_wrap=whole)
    if written.unfinished:
        warn(missing_text(written.unfinished, words=words))
    if written.left_out:
        names = [folder.name for folder in written.left_out]
        because = "is left out because it is" if len(names) == 1 else "are left out because they are"
        warn(
            f"{counted(len(names), 'run')} {because} not in the study file ({listed(names)}). --all includes every "
            "run in the folder."
        )
    if written.recommended_run is None:
        pass
    elif command := pack_command(written.recommended_run):
        next_command = words.text("Next: {command}, then tanzaku classify BUNDLE TEXT", command=command)
        console.print(next_command, soft_wrap=True)
    else:
        console.print(no_model_text(words=words), soft_wrap=whole)
    page = written.paths[0]
    console.print(words.text("Tables and figures: {folder}", folder=page.parent), soft_wrap=True)
    console.print(words.text("Report: {page}", page=page), soft_wrap=True)


def _print_tables(written: Report, console: Console, words: Words) -> None:
    """Print a table that fits the window on a terminal, and Markdown otherwise."""
    from tanzaku.cli.tables import print_table
    from tanzaku.report.document import count_text, section_heading
    from tanzaku.report.notes import result_notes
    from tanzaku.report.render import markdown_table
    from tanzaku.report.tables import results_table

    for number, (section, evidence) in enumerate(zip(written.sections, written.evidence, strict=True), start=1):
        results = results_table(section, evidence, words=words)
        if console.is_terminal:
            console.print(section_heading(section, number=number, words=words), style="bold")
            print_table(results, console, words)
            for note in result_notes(section, evidence, words=words):
                console.print(note)
        elif len(written.sections) > 1:
            typer.echo(f"## {section_heading(section, number=number, words=words)}\n\n{markdown_table(results)}")
        else:
            typer.echo(markdown_table(results), nl=False)
    if console.is_terminal:
        console.print(count_text(written.records, words=words))
