"""Runs on this machine, each in a process of its own, one after the other or several at the same time.

A process a run keeps one run's crash (running out of memory, say) from the others, and makes its peak memory its own.
"""

from collections import deque
from types import TracebackType
from typing import Any, Self

from tanzaku.data.dataset import Dataset
from tanzaku.study.engines.interface import Begun, Over
from tanzaku.study.making import Shown, conclude, make_run
from tanzaku.study.planned import PlannedRun
from tanzaku.study.process import StartedChild, StudyInterrupted, first_to_end
from tanzaku.threads import threads_of_each


class ProcessEngine:
    """See `Engine`.

    Args:
        jobs: How many runs are made at the same time; they share the threads that `settled_threads` has.
        dataset: Their documents.
        study: The study's name.
        deadline: Ask the runs to stop then; of `time.monotonic`.
        shown: What the runs print; None takes a bar for one job and lines for several.
    """

    def __init__(
        self, jobs: int, *, dataset: Dataset, study: str, deadline: float | None = None, shown: Shown | None = None
    ) -> None:
        self.capacity = jobs
        self._facts: dict[str, Any] = {"dataset": dataset, "study": study}
        self._shown: Shown = shown or ("lines" if jobs > 1 else "bar")
        self._threads = threads_of_each(jobs)
        self._deadline = deadline
        self._begun: deque[PlannedRun] = deque()
        self._runs: dict[StartedChild, PlannedRun] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._runs:
            child.stop()
        for child in self._runs:
            child.join()

    def start(self, planned: PlannedRun) -> None:
        """Start a run's process."""
        arguments = self._facts | {"planned": planned, "shown": self._shown}
        child = StartedChild(make_run, arguments, name=planned.run_id, threads=self._threads)
        self._runs[child] = planned
        self._begun.append(planned)

    def next(self) -> Begun | Over:
        """Wait for what happens next; see `Engine`."""
        if self._begun:
            return Begun(self._begun.popleft())
        try:
            child = first_to_end(list(self._runs), deadline=self._deadline)
        except KeyboardInterrupt:
            raise StudyInterrupted from None
        planned = self._runs.pop(child)
        return Over(planned, busy=not conclude(planned, child.join(), **self._facts))
