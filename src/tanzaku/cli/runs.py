"""How the runs of a study are printed: tab-separated lines for programs, a table that fits the window for people."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from tanzaku.display import counted, duration, plain_console

if TYPE_CHECKING:
    from tanzaku.study.record import Costs, Scores
    from tanzaku.study.states import RunState

_COLUMNS = (
    "run",
    "status",
    "test accuracy (%)",
    "95 % interval",
    "macro-F1 (%)",
    "MB",
    "training with evaluation (s)",
    "parameters",
    "in the study file",
)
# In a window: the headings, and which columns stay where it is narrower and narrower.
_HEADINGS = ("run", "accuracy\n(%)", "95 % interval", "macro-F1\n(%)", "MB", "time", "parameters")
_NARROWER = ((0, 1, 2, 3, 4, 5, 6), (0, 1, 2, 3, 4, 5), (0, 1, 2, 4, 5), (0, 1, 4, 5))


def print_runs(states: "Sequence[RunState]") -> None:
    """Print the runs on standard output: finished runs with their results, then the state of the others."""
    console = plain_console()
    if not console.is_terminal:
        for row in (_COLUMNS, *map(_line, states)):
            typer.echo("\t".join(row))
        return
    _print_finished([state for state in states if state.listed], console)
    for status in ("failed", "running", "interrupted", "waiting"):
        _print_others(status, [state for state in states if state.listed and state.state == status], console)
    if others := [state for state in states if not state.listed]:
        console.print(
            "\nOther runs in this folder, which are not in the current study file; the report leaves them out:",
            style="bold",
            soft_wrap=True,
        )
        _print_finished(others, console)
        for status in ("failed", "running", "interrupted"):
            _print_others(status, [state for state in others if state.state == status], console)


@dataclass(frozen=True)
class _Finished:
    """The results of a finished run as text, in the order of `_HEADINGS`."""

    cells: tuple[str, ...]

    def in_two_lines(self) -> str:
        name, accuracy, interval, macro_f1, megabytes, time, _ = self.cells
        return f"{name}\n    {accuracy} % ({interval}), macro-F1 {macro_f1} %, {megabytes} MB, {time}"


def _print_finished(states: "Sequence[RunState]", console: Console) -> None:
    names = short_names([state.name for state in states])
    rows = [
        _Finished(
            (names[state.name], *_figures(test, costs), duration(costs.train_seconds_with_evaluation), parameters)
        )
        for state, test, costs in _scored(states)
        for parameters in [f"{costs.trainable_parameters:,}"]
    ]
    if not rows:
        return
    for chosen in _NARROWER:
        table = _table(rows, chosen)
        if Measurement.get(console, console.options.update(max_width=10_000), table).maximum <= console.width:
            console.print(table)
            return
    for row in rows:
        console.print(row.in_two_lines(), soft_wrap=True)


def _table(rows: Sequence[_Finished], chosen: Sequence[int]) -> Table:
    columns = (Column(_HEADINGS[index], justify="right" if index else "left", no_wrap=True) for index in chosen)
    table = Table(*columns, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(row.cells[index] for index in chosen))
    return table


def _print_others(status: str, states: "Sequence[RunState]", console: Console) -> None:
    if not states:
        return
    console.print(f"{status} ({counted(len(states), 'run')}):", style="bold red" if status == "failed" else "bold")
    for state in states:
        detail = _detail(state)
        line = f"  {state.name}{': ' if detail else ''}{detail}"
        if cell_len(line) > console.width and detail:
            console.print(f"  {state.name}", soft_wrap=True)
            console.print(Padding(Text(detail), (0, 0, 0, 4)))
        else:
            console.print(line, soft_wrap=True)


def _line(state: "RunState") -> tuple[str, ...]:
    """A run as a row of `_COLUMNS`."""
    listed = "yes" if state.listed else "no"
    for _, test, costs in _scored([state]):
        seconds, parameters = f"{costs.train_seconds_with_evaluation:.1f}", f"{costs.trainable_parameters:,}"
        return (state.name, state.state, *_figures(test, costs), seconds, parameters, listed)
    detail = _detail(state)
    return (state.name, state.state, detail, *[""] * (len(_COLUMNS) - 4), listed)


def _scored(states: "Iterable[RunState]") -> "Iterator[tuple[RunState, Scores, Costs]]":
    from tanzaku.study.record import FinishedRun

    for state in states:
        if isinstance(state.record, FinishedRun):
            yield state, state.record.test, state.record.costs


def _figures(test: "Scores", costs: "Costs") -> tuple[str, str, str, str]:
    from tanzaku.report.formats import size

    low, high = test.accuracy_interval
    interval = f"{100 * low:.2f} to {100 * high:.2f}"
    return f"{100 * test.accuracy:.2f}", interval, f"{100 * test.macro_f1:.2f}", size(costs.saved_bytes)


def _detail(state: "RunState") -> str:
    """Why the run failed, or how far it is."""
    from tanzaku.study.record import FailedRun

    if isinstance(state.record, FailedRun):
        return " ".join(state.record.error.split())
    if state.progress is None:
        return ""
    left = state.progress.seconds_left
    return f"{state.progress}{'' if left is None else f', about {duration(left)} left'}"


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Each name without the run's identity at its end, if the names remain different."""
    short = [name.rpartition("-")[0] or name for name in names]
    return {name: one if short.count(one) == 1 else name for name, one in zip(names, short, strict=True)}
