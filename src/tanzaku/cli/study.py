"""`tanzaku study`: run a study, see where it stands, report on it, tune one."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from tanzaku.cli.report import report
from tanzaku.cli.threads import Threads
from tanzaku.cli.tune import TUNE_EXAMPLES, tune

if TYPE_CHECKING:
    from tanzaku.study.engine import StudyEvent
    from tanzaku.study.record import RunRecord
    from tanzaku.study.spec import RunSpec, StudySpec

app = typer.Typer(help="Run a study, see where it stands, report on it, and tune one.", no_args_is_help=True)
app.command()(report)
app.command(epilog=TUNE_EXAMPLES)(tune)

_RUN_EXAMPLES = """
Examples:

    tanzaku study run studies/thesis-table-3.2.toml

    tanzaku study run studies/thesis-table-3.2.toml --set encoder.name=./my-encoder --set encoder.max_tokens=128

    tanzaku study run studies/quickstart.toml --dry-run
"""

_Study = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study file.", show_default=False)]
_Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value of the study file; may be given several times."),
]


@app.command(epilog=_RUN_EXAMPLES)
def run(
    study: _Study,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the runs.", show_default="runs/<the study's name>")
    ] = None,
    overrides: _Overrides = None,
    retry_failed: Annotated[bool, typer.Option(help="Make runs again that failed before.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs, and make none; neither data nor encoder are read.")
    ] = False,
    threads: Threads = None,
) -> None:
    """Make the runs of a study; the same command goes on after an interruption.

    Runs that are finished are not made again, and a failed one does not stop the others. The summary goes to standard
    output, progress to standard error. The exit status is 1 where a run failed.
    """
    del threads  # settled already
    from tanzaku.study.expansion import read_study
    from tanzaku.study.recommendation import DEFAULT_CHOOSE_BY

    spec = read_study(study, overrides=overrides or ())
    out = out or Path("runs") / spec.name
    errors = Console(stderr=True, highlight=False)
    if dry_run:
        _list_runs(spec)
        return
    records = _make(spec, out, retry_failed=retry_failed, console=errors)
    _print_summary(records)
    failed = sum(record.status == "failed" for record in records)
    # A run that was made before keeps what its study said then; asked for, the report chooses as this study says.
    said = {record.spec.get("choose_by", DEFAULT_CHOOSE_BY) for record in records}
    choose_by = "" if said == {spec.choose_by} else f" --choose-by {spec.choose_by}"
    errors.print(
        f"{len(records)} runs in {out}, {failed} failed. Next: tanzaku study report {out}{choose_by}", soft_wrap=True
    )
    if failed:
        errors.print("--retry-failed makes the failed ones again, each from its last checkpoint.")
        raise typer.Exit(1)


@app.command()
def status(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Folder that `tanzaku study run` wrote.")],
) -> None:
    """Show the runs that have ended so far.

    Examples:

        tanzaku study status runs/my-study

        tanzaku study status runs/my-study | cut -f 1,2
    """
    from tanzaku.study.record import read_records

    _print_summary(read_records(runs))


def _make(spec: "StudySpec", out: Path, *, retry_failed: bool, console: Console) -> "list[RunRecord]":
    from tanzaku.data.dataset import load_dataset
    from tanzaku.study.engine import RunEnds, make_runs
    from tanzaku.study.process import StudyInterrupted

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # asked to stop: save a checkpoint, as at Ctrl-C
    dataset = load_dataset(spec.data.source)
    from tanzaku.study.plan import plan_study  # imports PyTorch: after the cheap checks

    records = []
    try:
        plan = plan_study(spec, dataset=dataset, out=out, progress=True)
    except (StudyInterrupted, KeyboardInterrupt) as interrupted:
        console.print("interrupted before the first run; the same command goes on, a pretraining from its checkpoint")
        raise typer.Exit(130) from interrupted
    try:
        for event in make_runs(plan.runs, dataset=dataset, study=spec.name, retry_failed=retry_failed):
            _say(event, console)
            if isinstance(event, RunEnds):
                records.append((event.run.run_id, event.record))
    except (StudyInterrupted, KeyboardInterrupt) as interrupted:
        console.print(f"interrupted; the same command goes on ({len(records)} of {len(plan.runs)} runs have ended)")
        raise typer.Exit(130) from interrupted
    order = {run.run_id: place for place, run in enumerate(plan.runs)}
    return [record for _, record in sorted(records, key=lambda ended: order[ended[0]])]


def _say(event: "StudyEvent", console: Console) -> None:
    from tanzaku.study.engine import RunBusy, RunEnds, RunStarts

    match event:
        case RunStarts(run=run, number=number, total=total):
            text = Text(f"run {number} of {total}: {run.run_id}", style="bold")
        case RunBusy(run=run):
            text = Text(f"  {run.run_id}: another process is making it; looked at again at the end")
        case RunEnds(run=run, record=record, found=found):
            before = "found: " if found else ""
            if record.test is None:
                text = Text(f"  {before}{run.run_id} failed: {record.error}", style="red")
            else:
                text = Text(f"  {before}{run.run_id}: test accuracy {100 * record.test.accuracy:.2f} %", style="green")
    console.print(text, soft_wrap=True)


def _list_runs(spec: "StudySpec") -> None:
    from tanzaku.study.expansion import expand

    runs = expand(spec)
    lines = [_run_line(run) for run in runs]
    for number, (run, line) in enumerate(zip(runs, lines, strict=True), start=1):
        alike = [other for other, its_line in zip(runs, lines, strict=True) if its_line == line]
        typer.echo("\t".join([str(number), " ".join([line, *_what_tells_apart(run, alike), f"seed={run.seed}"])]))


def _run_line(run: "RunSpec") -> str:
    """What most runs are told apart by."""
    rate = [f"learning_rate={run.training.learning_rate:g}"] if run.training else []
    reading = [f"{name}={value}" for name, value in run.encoder.changed().items()] if run.encoder else []
    return " ".join([run.method.label(run.method_name), *rate, *reading])


def _what_tells_apart(run: "RunSpec", alike: Sequence["RunSpec"]) -> list[str]:
    """The other settings of a run in which runs of the same line differ."""

    def settings(one: "RunSpec") -> dict[str, Any]:
        return one.method.model_dump() | (one.training.model_dump() if one.training else {})

    others = [settings(other) for other in alike]
    return [f"{name}={value}" for name, value in settings(run).items() if any(one[name] != value for one in others)]


def _print_summary(records: "list[RunRecord]") -> None:
    """A table on a terminal; tab-separated lines where another program reads."""
    columns = (
        "run",
        "test accuracy (%)",
        "95 % interval",
        "macro-F1 (%)",
        "MB",
        "training with evaluation (s)",
        "parameters",
    )
    rows = [_summary_row(record) for record in records]
    console = Console(highlight=False)
    if not console.is_terminal:
        for row in (columns, *rows):
            typer.echo("\t".join(row))
        return
    table = Table(Column(columns[0], overflow="fold"), *(Column(name, justify="right") for name in columns[1:]))
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _summary_row(record: "RunRecord") -> tuple[str, ...]:
    if record.test is None or record.costs is None:
        return (record.run_id, "failed", " ".join((record.error or "").split()), "", "", "", "")
    low, high = record.test.accuracy_interval
    return (
        record.run_id,
        f"{100 * record.test.accuracy:.2f}",
        f"{100 * low:.2f} to {100 * high:.2f}",
        f"{100 * record.test.macro_f1:.2f}",
        f"{record.costs.saved_bytes / 1e6:.2f}",
        f"{record.costs.train_seconds_with_evaluation:.1f}",
        f"{record.costs.trainable_parameters:,}",
    )
