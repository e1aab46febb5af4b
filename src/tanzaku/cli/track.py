"""`tanzaku study export`: send the runs of a study to a tracker. And the option that does it while they are made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tanzaku.display import counted, plain_console

_Folder = Path | None


@dataclass(frozen=True)
class Tracking:
    """The option for sending runs to trackers while they are made."""

    track: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TRACKER",
            help="Send parameters, metrics and records to tensorboard, tensorboard:FOLDER or mlflow:URI while the runs "
            "are made; may be given several times. TensorBoard's folder is OUT/tensorboard by default.",
        ),
    ] = None


def export(
    runs: Annotated[
        Path,
        typer.Argument(
            metavar="RUNS",
            help="Folder that `tanzaku study run` wrote, or an archive, or a folder that contains several.",
        ),
    ],
    to: Annotated[str, typer.Option(metavar="TRACKER", help="mlflow:URI, tensorboard or tensorboard:FOLDER.")],
    report: Annotated[
        _Folder, typer.Option(help="The study's report, to keep with the runs; only for mlflow.", show_default=False)
    ] = None,
    bundle: Annotated[
        _Folder, typer.Option(help="A packed bundle, to keep with the runs; only for mlflow.", show_default=False)
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Include every run in the folder, also those that were made with --set.")
    ] = False,
) -> None:
    """Send finished and failed runs to MLflow or TensorBoard, also those of earlier studies.

    Runs that the tracker already has are not sent again. In MLflow, each study is an experiment, and the report and the
    bundle are in a run of the experiment that is called report-and-bundle. TensorBoard's folder is RUNS/tensorboard by
    default.

    Examples:

    ```
    tanzaku study export runs/my-study --to mlflow:http://localhost:5000
    tanzaku study export runs/my-study --to mlflow:http://localhost:5000 --report my-report --bundle my-bundle
    tanzaku study export records/my-study --to tensorboard:my-logs
    ```
    """
    from tanzaku.study.tracking.exporting import export_runs

    folders = {name: folder for name, folder in (("report", report), ("bundle", bundle)) if folder is not None}
    exported = export_runs(runs, to, every=every, folders=folders)
    sent, there = exported.sent, exported.already_there
    plain_console(stderr=True, soft_wrap=True).print(
        f"{counted(sent, 'run')} of {runs} sent to {to}{f'; {there:,} already there' if there else ''}"
    )
