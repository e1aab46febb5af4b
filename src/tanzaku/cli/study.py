"""`tanzaku study`: run a study, show its progress, report on it, archive it, tune it."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from tanzaku.cli.archive import archive, restore
from tanzaku.cli.commands import Commands
from tanzaku.cli.engines import StudyEngines
from tanzaku.cli.live import LiveRuns
from tanzaku.cli.messages import command
from tanzaku.cli.options import with_options
from tanzaku.cli.report import report
from tanzaku.cli.runs import print_runs
from tanzaku.cli.schema import schema
from tanzaku.cli.threads import Threads
from tanzaku.cli.track import Tracking, export
from tanzaku.cli.tune import tune
from tanzaku.display import counted, duration, plain_console

if TYPE_CHECKING:
    from tanzaku.study.engine import StudyEvent
    from tanzaku.study.record import RunRecord
    from tanzaku.study.running import StudyStarts
    from tanzaku.study.spec import StudySpec
    from tanzaku.study.states import RunState

app = typer.Typer(
    cls=Commands,
    help="Run a study, show its progress, report on it, archive and restore it, and tune it.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

_Study = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study file.", show_default=False)]
_Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value of the study file; may be given several times."),
]


@app.command()
@with_options
def run(
    study: _Study,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the runs.", show_default="runs/<the study's name>")
    ] = None,
    overrides: _Overrides = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Repeat runs that failed before.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list the runs, without reading data or encoder.")
    ] = False,
    *,
    engines: StudyEngines,
    tracking: Tracking,
    threads: Threads = None,
) -> None:
    """Run a study; run the same command again to resume after an interruption.

    Finished runs are not repeated, and a failed run does not stop the others. The summary is written to standard
    output, progress to standard error. The exit status is 1 if a run failed.

    Examples:

    ```
    tanzaku study run studies/thesis-table-3.2.toml
    tanzaku study run studies/thesis-table-3.2.toml --set encoder.name=./my-encoder --set encoder.max_tokens=128
    tanzaku study run studies/quickstart.toml --jobs 2
    tanzaku study run studies/quickstart.toml --engine ray --address ray-head:6379 --cpus-per-run 2
    tanzaku study run studies/quickstart.toml --track tensorboard --track mlflow:http://localhost:5000
    tanzaku study run studies/quickstart.toml --dry-run
    ```
    """
    del threads  # settled already
    from tanzaku.study.expansion import parse_study, read_content
    from tanzaku.study.listing import RUNS_FOLDER

    engines.ray()  # refuse what does not go together
    content = read_content(study)  # once, since it may be a pipe
    spec = parse_study(content, overrides=overrides or (), where=str(study))
    out = out or RUNS_FOLDER / spec.name
    errors = plain_console(stderr=True)
    if dry_run:
        _list_runs(spec)
        return
    settings = {"overrides": overrides or (), "retry_failed": retry_failed, "track": tracking.track or ()}
    made = _make(content, out, engines=engines, settings=settings, console=errors)
    print_runs(made.states)
    _conclude(spec, made, out, errors)


def _conclude(spec: "StudySpec", made: "_Made", out: Path, errors: Console) -> None:
    """Print what has failed and what to do next; exit with status 1 if a run failed."""
    failed = sum(state.state == "failed" for state in made.states)
    # Earlier runs keep the metric of their study, so the command for the report gives the metric of this one.
    recorded = {state.record.spec["choose_by"] for state in made.states if state.record}
    choose_by = [] if recorded == {spec.choose_by} else ["--choose-by", spec.choose_by]
    every = [] if made.are_the_studys else ["--all"]
    report_command = command("study", "report", out, *choose_by, *every)
    count = counted(len(made.states), "run")
    errors.print(f"{count} in {out}, {failed} failed. Next: {report_command}", soft_wrap=True)
    if not made.are_the_studys:
        errors.print(
            f"{out} also contains the study without --set, whose report only includes these runs with --all. "
            "To keep them separate, give another folder with --out.",
            soft_wrap=True,
        )
    if failed:
        errors.print("--retry-failed repeats the failed runs, each from its last checkpoint.")
        raise typer.Exit(1)


@app.command()
@with_options
def status(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Folder that `tanzaku study run` wrote, or an archive.")],
) -> None:
    """Show the progress of a study: its finished, failed, running and waiting runs, and the remaining time.

    Examples:

    ```
    tanzaku study status runs/my-study
    tanzaku study status runs/my-study | cut -f 1-3
    ```
    """
    from tanzaku.study.states import run_states, study_seconds_left

    states = run_states(runs)
    print_runs(states)
    ours = [state for state in states if state.listed]
    ended = [state.record for state in ours if state.record]
    left = _left(study_seconds_left(runs)) if len(ended) < len(ours) else ""
    errors = plain_console(stderr=True, soft_wrap=True)
    errors.print(f"{_ended(len(ended), len(ours))}{left}")


@dataclass(frozen=True)
class _Made:
    """The runs of one call, in their order; `are_the_studys` is True if the folder's report includes them."""

    states: "list[RunState]"
    are_the_studys: bool


app.command()(with_options(report))
app.command()(with_options(archive))
app.command()(with_options(restore))
app.command()(with_options(export))
app.command()(with_options(tune))
app.command()(with_options(schema))


def _ended(ended: int, runs: int) -> str:
    return f"{ended} of {counted(runs, 'run')} {'has' if runs == 1 else 'have'} ended"


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"; about {duration(seconds)} left for the whole study"


def _make(
    study: dict[str, Any], out: Path, *, engines: StudyEngines, settings: dict[str, Any], console: Console
) -> _Made:
    from tanzaku.study.process import StudyInterrupted
    from tanzaku.study.running import run_study
    from tanzaku.study.states import RunState

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # save a checkpoint before stopping, as on Ctrl-C
    several = engines.engine == "ray" or (engines.jobs or 1) > 1
    with LiveRuns(console, enabled=several) as live:
        watch = _Watch(console, live, jobs=None if engines.engine == "ray" else engines.jobs or 1)
        try:
            run_study(
                study,
                out=out,
                jobs=engines.jobs,
                ray=engines.ray(),
                shown="nothing" if live.enabled else None,
                processes_per_run=engines.processes_per_run,
                listener=watch.listen,
                **settings,
            )
        except (StudyInterrupted, KeyboardInterrupt) as interrupted:
            console.print(watch.interrupted(out), soft_wrap=True)
            raise typer.Exit(130) from interrupted
    records, starts = watch.records, watch.started[0]
    states = [RunState(run.name, records[run.name].status, records[run.name]) for run in starts.runs]
    are_the_studys = {run.name for run in starts.runs} <= {run.name for run in starts.listed.runs}
    return _Made(states, are_the_studys)


class _Watch:
    """Prints what happens to a study's runs, and remembers how they ended.

    Args:
        jobs: How many runs are made at the same time; None where it is as many as have begun.
    """

    def __init__(self, console: Console, live: LiveRuns, *, jobs: int | None) -> None:
        self.started: list[StudyStarts] = []
        self.records: dict[str, RunRecord] = {}
        self._console, self._live, self._jobs = console, live, jobs

    def listen(self, event: "StudyStarts | StudyEvent") -> None:
        """Take an event of `run_study`."""
        from tanzaku.study.engine import RunEnds
        from tanzaku.study.running import StudyStarts

        if isinstance(event, StudyStarts):
            self.started.append(event)
            self._live.begin([run.name for run in event.runs], left=self._left)
            return
        if isinstance(event, RunEnds):
            self.records[event.run.run_id] = event.record
        self._live.hear(event)
        _say(event, self._console, left=self._left)

    def interrupted(self, out: Path) -> str:
        """The message if the study in this folder was asked to stop; runs may have ended that it did not hear of."""
        from tanzaku.study.record import RECORD_FILE

        if self.started:
            ended = sum((out / run.name / RECORD_FILE).is_file() for run in self.started[0].runs)
            told = _ended(ended, len(self.started[0].runs))
            return f"interrupted; run the same command again to resume ({told})"
        return "interrupted before the first run; run the same command again to resume"

    def _left(self) -> str:
        from tanzaku.study.states import seconds_left

        waiting = [run for run in self.started[0].runs if run.name not in self.records]
        records, jobs = list(self.records.values()), self._jobs or max(1, len(self._live.running))
        return _left(seconds_left(records, waiting, jobs=jobs, running=self._live.progress()))


def _say(event: "StudyEvent", console: Console, *, left: Callable[[], str]) -> None:
    from tanzaku.study.engine import RunBusy, RunEnds, RunStarts
    from tanzaku.study.record import FailedRun

    match event:
        case RunStarts(run=run, number=number, total=total):
            text = Text.assemble((f"run {number} of {total}: {run.run_id}", "bold"), left())
        case RunBusy(run=run):
            text = Text(f"  {run.run_id}: another process is making this run; waiting for it at the end")
        case RunEnds(run=run, record=record, found=found):
            before = "already finished: " if found else ""
            if isinstance(record, FailedRun):
                text = Text(f"  {before}{run.run_id} failed: {record.error}", style="red")
            else:
                text = Text(f"  {before}{run.run_id}: test accuracy {100 * record.test.accuracy:.2f} %", style="green")
    console.print(text, soft_wrap=True)


def _list_runs(spec: "StudySpec") -> None:
    from tanzaku.study.expansion import expand
    from tanzaku.study.naming import Namer, arms_of_runs

    runs = expand(spec)
    arms = arms_of_runs(runs)
    namer = Namer(arms)
    for index, (run, arm) in enumerate(zip(runs, arms, strict=True), start=1):
        seed = "every seed" if run.method.deterministic else f"seed {run.seed}"
        typer.echo(f"{index}\t{namer.full(arm)}, {seed}")
