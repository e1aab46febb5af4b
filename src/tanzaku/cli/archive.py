"""`tanzaku study archive`: write a study as a few small files for a git repository."""

from pathlib import Path
from typing import Annotated

import typer

from tanzaku.cli.messages import command, warn
from tanzaku.display import counted, plain_console


def archive(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Folder that `tanzaku study run` wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the archive.", show_default="records/<the study's name>")
    ] = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Archive the runs that have ended even if others have not.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an archive that is already in the folder.")] = False,
) -> None:
    """Write a study's records and predictions as three files that are small enough for a git repository.

    study.toml is the study as it was run, runs.jsonl has one record per line, and predictions.parquet has the
    predictions of every run. `tanzaku study report` and `tanzaku study status` read the archive like the folder of
    runs. Models, logs, reports and the paths of folders on this machine are not included. The archive's path is written
    to standard output, a summary of its contents to standard error.

    Examples:

    ```
    tanzaku study archive runs/my-study
    tanzaku study archive runs/my-study --out results/my-study --force
    tanzaku study report records/my-study --out my-report
    ```
    """
    from tanzaku.study.archiving import archive_study

    made = archive_study(runs, out, unfinished=unfinished, replace=force)
    ended = made.finished + made.failed
    errors = plain_console(stderr=True, soft_wrap=True)
    failed = f", {made.failed} of them failed" if made.failed else ""
    size = f"{made.size_bytes / 1e6:.2f} MB"
    errors.print(f"{counted(ended, 'run')}{failed}, {made.with_predictions} with predictions: {size} in {made.folder}")
    if made.left_out:
        names = ", ".join(run.name for run in made.left_out)
        warn(f"left out because not ended: {counted(len(made.left_out), 'run')} ({names})")
    errors.print(f"Next: {command('study', 'report', made.folder)}")
    typer.echo(made.folder)
