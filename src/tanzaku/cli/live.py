"""A table of the runs that are being made, on a terminal; it stays below the lines that are printed meanwhile."""

from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tanzaku.cli.runs import short_names
from tanzaku.display import duration

if TYPE_CHECKING:
    from tanzaku.study.engine import StudyEvent
    from tanzaku.study.states import Progress

_MOST_ROWS = 16
_ROWS_ELSEWHERE = 6  # of the terminal, for lines above the table


class LiveRuns:
    """The table: how many runs are running, waiting and done, and the step and the time left of each running one.

    What it shows of a run, it reads in the run's log: so it is the same whatever makes the run.

    Args:
        console: Of the lines that are printed meanwhile.
        enabled: Whether there is a table at all; there is none unless the console is a terminal.
    """

    def __init__(self, console: Console, *, enabled: bool) -> None:
        self.enabled = enabled and console.is_terminal
        self._console = console
        self._live: Live | None = None
        self._waiting: list[str] = []
        self._running: dict[str, Path] = {}
        self._done = 0
        self._left: Callable[[], str] = lambda: ""

    def __enter__(self) -> "LiveRuns":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    @property
    def running(self) -> list[str]:
        """The names of the runs that are being made."""
        return list(self._running)

    def progress(self) -> "dict[str, Progress]":
        """By name, how far the runs are that are being made and have made a step."""
        from tanzaku.study.states import progress_of

        found = {name: progress_of(folder) for name, folder in dict(self._running).items()}
        return {name: progress for name, progress in found.items() if progress}

    def begin(self, names: Iterable[str], *, left: Callable[[], str]) -> None:
        """Show a table for runs of these names as soon as one starts; `left` says how long the study will take."""
        self._waiting, self._left = list(names), left

    def hear(self, event: "StudyEvent") -> None:
        """Take notice of a run that starts, ends, or is made by another process."""
        from tanzaku.study.engine import RunEnds, RunStarts

        name = event.run.run_id
        self._running.pop(name, None)
        if isinstance(event, RunStarts):
            self._running[name] = event.run.folder
        if isinstance(event, RunStarts | RunEnds) and name in self._waiting:
            self._waiting.remove(name)
        self._done += isinstance(event, RunEnds)
        if self.enabled and self._running and self._live is None:  # after the finished ones were listed
            self._live = Live(get_renderable=self.table, console=self._console, refresh_per_second=1, transient=True)
            self._live.start()

    def table(self) -> Group:
        """As it is now."""
        running, progress_of = dict(self._running), self.progress()
        counts = f"{len(running)} running, {len(self._waiting)} waiting, {self._done} done"
        rows = Table(box=None, show_header=False, pad_edge=False)
        rows.add_column(no_wrap=True, overflow="ellipsis")
        rows.add_column(no_wrap=True)
        rows.add_column(no_wrap=True, justify="right")
        names = short_names(list(running))
        most = max(1, min(_MOST_ROWS, self._console.height - _ROWS_ELSEWHERE))
        for name in list(running)[:most]:
            progress = progress_of.get(name)
            left = duration(progress.seconds_left) if progress and progress.seconds_left is not None else ""
            rows.add_row(f"  {names[name]}", str(progress or ""), left)
        more = [Text(f"  and {len(running) - most} more")] if len(running) > most else []
        return Group(Text(f"{counts}{self._left()}", style="bold"), rows, *more)
