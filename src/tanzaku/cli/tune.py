"""`tanzaku study tune`: search for the settings of an arm on the validation set."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from tanzaku.cli.engines import Engines
from tanzaku.cli.messages import command
from tanzaku.cli.threads import Threads
from tanzaku.display import plain_console

if TYPE_CHECKING:
    from tanzaku.study.spec import StudySpec
    from tanzaku.study.tune.record import TrialRecord, TuningRecord
    from tanzaku.study.tune.search import SearchEnds, SearchEvent


def tune(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study file.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the search.", show_default="runs/<the study's name>-tune")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a value of the study file; may be given several times."
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Total number of trials, including those of earlier calls.", show_default="30"),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after this many minutes and rank the trials so far.")
    ] = None,
    *,
    engines: Engines,
    threads: Threads = None,
) -> None:
    """Search for the learning rate, rank, alpha, targets and schedule of one arm, using only the validation set.

    The search space is set in `[tune]` of the study file (see docs/tuning.md); the test set is never read. Trials that
    are worse than the others are ended early. Run the same command again to resume after an interruption. The ranked
    trials are written to standard output, progress to standard error, and the best settings to a study file,
    tuned.toml. With --jobs N, trials are proposed in rounds of N; without it, one after the other, also with Ray. Needs
    Optuna: pip install optuna.

    Examples:

    ```
    tanzaku study tune studies/quickstart.toml --set tune.arm=3 --trials 20
    tanzaku study run runs/quickstart-tune/tuned.toml
    tanzaku study tune my-study.toml --minutes 60 --jobs 2 --set tune.pruner=none --set "tune.space.rank=[4,16,64]"
    ```
    """
    del threads  # settled already
    from tanzaku.study.expansion import read_study

    budget = {"trials": trials, "minutes": minutes}
    budgets = [f"tune.{name}={value}" for name, value in budget.items() if value is not None]
    spec = read_study(study, overrides=[*(overrides or ()), *budgets], check_arms=False)
    ended = _search(spec, out or Path("runs") / f"{spec.name}-tune", plain_console(stderr=True), engines)
    _print_ranking(ended.record)
    if ended.tuned is None:
        raise typer.Exit(1)


def _search(spec: StudySpec, out: Path, console: Console, engines: Engines) -> SearchEnds:
    from tanzaku.extras import require_extra

    require_extra("tune", purpose="the search")
    ray = engines.ray()  # refuse what does not go together
    from tanzaku.data.loading import load_dataset

    dataset = load_dataset(spec.data.source, test=False)
    from tanzaku.study.process import StudyInterrupted
    from tanzaku.study.tune.search import SearchEnds, search  # imports PyTorch: after the cheap checks

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # save a checkpoint before stopping, as on Ctrl-C
    try:
        jobs = engines.jobs or 1
        for event in search(spec, dataset=dataset, out=out, progress=True, jobs=jobs, ray=ray):
            _say(event, console)
    except (StudyInterrupted, KeyboardInterrupt) as interrupted:
        console.print(f"interrupted; run the same command again to resume. Ended trials are in {out}", soft_wrap=True)
        raise typer.Exit(130) from interrupted
    assert isinstance(event, SearchEnds)
    return event


def _say(event: SearchEvent, console: Console) -> None:
    from tanzaku.study.tune.search import SearchEnds, SearchStarts, TrialEnds, TrialStarts

    match event:
        case SearchStarts(space=space, ended=ended):
            before = f"; {ended} trials ended earlier" if ended else ""
            text = Text(f"searching {_settings(space)}{before}")
        case TrialStarts(proposal=proposal, total=total):
            text = Text(f"trial {proposal.number + 1} of {total}: {_settings(proposal.settings)}", style="bold")
        case TrialEnds(trial=trial, best=best):
            text = Text(f"  {_outcome(trial)}; best so far {_percent(best)}", style=_STYLES[trial.status])
        case SearchEnds(record=record, tuned=tuned):
            text = Text(_summary(record, tuned))
    console.print(text, soft_wrap=True)


_STYLES = {"finished": "green", "pruned": "yellow", "failed": "red"}


def _outcome(trial: TrialRecord) -> str:
    if trial.status == "failed":
        return f"failed: {' '.join((trial.error or '').split())}"
    ended = "" if trial.status == "finished" else f"pruned after {len(trial.history)} epochs: "
    return f"{ended}validation accuracy {_percent(trial)}"


def _summary(record: TuningRecord, tuned: Path | None) -> str:
    counts = {status: sum(trial.status == status for trial in record.trials) for status in _STYLES}
    outcomes = ", ".join(f"{count} {status}" for status, count in counts.items())
    if tuned is None:
        if not record.trials:
            return "No trial has ended in this time. Run the same command again to continue, or give more --minutes."
        return f"{outcomes}: no trial has finished, so none is recommended; try more --trials or another space."
    return f"{outcomes}. Next: {command('study', 'run', tuned)}"


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in settings.items())


def _text(value: Any) -> str:
    match value:
        case {"low": low, "high": high}:
            return f"{low:g} to {high:g}"
        case float():
            return f"{value:.4g}"
        case str():
            return value
        case [*items] if all(isinstance(item, str) for item in items):
            return "+".join(items)
        case [*items]:
            return "|".join(map(_text, items))
    return json.dumps(value, ensure_ascii=False)


def _percent(trial: TrialRecord | None) -> str:
    return "–" if trial is None or trial.val_accuracy is None else f"{100 * trial.val_accuracy:.2f} %"


_FIGURES = ("place", "trial", "validation accuracy (%)", "loss", "epoch", "seconds")


def _print_ranking(record: TuningRecord) -> None:
    """A table on a terminal; otherwise tab-separated lines with a column for each setting."""
    console = plain_console()
    ranking = list(enumerate(record.ranking, start=1))
    if not console.is_terminal:
        typer.echo("\t".join((*_FIGURES, *record.space, "ended")))
        for place, trial in ranking:
            settings = (_text(trial.settings[name]) for name in record.space)
            typer.echo("\t".join((*_figures(place, trial), *settings, trial.status)))
        return
    figures = (Column(name, justify="right") for name in _FIGURES)
    table = Table(*figures, Column("settings"), Column("ended"), box=box.SIMPLE_HEAD)
    for place, trial in ranking:
        table.add_row(*_figures(place, trial), _settings(trial.settings), trial.status)
    if Measurement.get(console, console.options.update(max_width=10_000), table).maximum <= console.width:
        console.print(table)
        return
    for place, trial in ranking:
        *_, loss, epoch, seconds = _figures(place, trial)
        more = [f"{name} {value}" for name, value in (("loss", loss), ("epoch", epoch), ("seconds", seconds)) if value]
        console.print(Text(f"{place}. trial {trial.number}: {_outcome(trial)}", style="bold"), soft_wrap=True)
        console.print(Padding(Text(", ".join(more)), (0, 0, 0, 4)))
        console.print(Padding(Text(_settings(trial.settings)), (0, 0, 0, 4)))


def _figures(place: int, trial: TrialRecord) -> tuple[str, ...]:
    return (
        str(place),
        str(trial.number),
        "" if trial.val_accuracy is None else f"{100 * trial.val_accuracy:.2f}",
        "" if trial.val_loss is None else f"{trial.val_loss:.4f}",
        "" if trial.best_epoch is None else str(trial.best_epoch),
        f"{trial.seconds:.1f}",
    )
