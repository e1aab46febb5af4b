"""What makes the runs of a study, as the rest of the program sees it."""

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from tanzaku.study.planned import PlannedRun


@dataclass(frozen=True)
class Begun:
    """A run that was given to the engine is being made now."""

    run: PlannedRun


@dataclass(frozen=True)
class Over:
    """A run has a record, or is `busy`: another process is making it."""

    run: PlannedRun
    busy: bool


class Engine(Protocol):
    """Makes runs at the same time; as a context, it asks those that are left to save a checkpoint and stop."""

    capacity: int
    """How many runs it is given at the same time."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def start(self, planned: PlannedRun) -> None:
        """Give it a run; returns at once."""
        ...

    def next(self) -> Begun | Over:
        """Wait for what happens next to the runs that it was given.

        Raises:
            DeadlineOver: The deadline is over; a `StudyInterrupted`.
            StudyInterrupted: It was asked to stop (Ctrl-C or SIGTERM).
            ProcessError: A run could not be written, for a full disk for instance; no later run could.
        """
        ...
