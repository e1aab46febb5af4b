"""`tanzaku study archive` and `tanzaku study restore`: a study as a few small files for a git repository, and back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tanzaku.cli.messages import command, warn
from tanzaku.display import counted, plain_console

if TYPE_CHECKING:
    from tanzaku.study.spec import StudySpec


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


def restore(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="Folder that `tanzaku study archive` wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the runs.", show_default="runs/<the study's name>")
    ] = None,
) -> None:
    """Write an archive's runs as a folder of runs, so that `tanzaku study run` continues the study.

    Together with `tanzaku study archive --unfinished`, this moves a study to another machine, where the runs that have
    ended are not repeated. An archive has no models, so restored runs are reported but can't be packed. Runs that
    have begun in the folder are not replaced. The folder's path is written to standard output.

    Examples:

    ```
    tanzaku study restore records/my-study
    tanzaku study run records/my-study/study.toml --set data.source=data/my-data
    tanzaku study archive runs/my-study --force
    ```
    """
    from tanzaku.study.archive import ARCHIVED_STUDY_FILE
    from tanzaku.study.archiving import restore_study
    from tanzaku.study.expansion import read_study

    made = restore_study(archive, out)
    errors = plain_console(stderr=True, soft_wrap=True)
    errors.print(f"{counted(len(made.restored), 'run')} restored in {made.folder}")
    if made.kept:
        errors.print(f"not replaced, since they have begun in this folder: {counted(len(made.kept), 'run')}")
    errors.print(f"Next: {command('study', 'run', archive / ARCHIVED_STUDY_FILE, '--out', made.folder)}")
    remedies = _local_remedies(read_study(archive / ARCHIVED_STUDY_FILE, check_arms=False))
    if remedies:
        errors.print("Archives don't store paths of folders, so say where this machine has them:")
        errors.print("\n".join(f"  {remedy}" for remedy in remedies))
    typer.echo(made.folder)


def _local_remedies(study: "StudySpec") -> list[str]:
    """What to add to the command that continues an archived study, for each thing that is or may be a local file."""
    from tanzaku.data.dataset import SAMPLE
    from tanzaku.encoders.source import EMBEDDED_NAME
    from tanzaku.study.archive import ARCHIVED_STUDY_FILE, texts_of

    remedies = []
    if study.data.source != SAMPLE and not Path(study.data.source).exists():
        remedies.append(f"--set data.source=FOLDER for the data, {study.data.source}")
    encoder = (study.encoder or {}).get("name", EMBEDDED_NAME)
    if encoder != EMBEDDED_NAME and not Path(str(encoder)).is_dir():
        remedies.append(f"--set encoder.name=FOLDER if the encoder, {encoder}, was in a local folder")
    for setting, value in dict.fromkeys(texts_of([study.training, *study.arms])):
        if setting in ("teacher", "texts", "vectors_from") and value != EMBEDDED_NAME and not Path(value).exists():
            remedies.append(f"{setting} in {ARCHIVED_STUDY_FILE} if {value} was a local file or folder")
    return remedies
