"""Makes the runs of a study, each in a process of its own, one after the other or several at the same time.

A process a run keeps one run's crash (running out of memory, say) from the others, and makes its peak memory its own.
A lock file a run keeps two studies, or two processes on one study, from making the same run twice; the system drops the
lock when its process dies, however it dies.
"""

import contextlib
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from filelock import FileLock, Timeout

from tanzaku.data.characters import clean_dataset
from tanzaku.data.dataset import Dataset
from tanzaku.errors import TanzakuError
from tanzaku.files import write_atomically
from tanzaku.study.planned import PlannedRun
from tanzaku.study.process import (
    BUSY,
    FINISHED,
    INTERRUPTED,
    UNWRITABLE,
    Child,
    StartedChild,
    StudyInterrupted,
    describe_death,
    first_to_end,
    is_of_the_disk,
    unwritable,
)
from tanzaku.study.record import RECORD_FILE, FailedRun, RunRecord, read_record, write_record
from tanzaku.study.states import LOCK_FILE, LOG_FILE
from tanzaku.threads import settled_threads

_BUSY_POLL_SECONDS = 2.0


@dataclass(frozen=True)
class RunStarts:
    """A run is about to be made."""

    run: PlannedRun
    number: int
    total: int


@dataclass(frozen=True)
class RunEnds:
    """A run has a record: made now, or `found` from before."""

    run: PlannedRun
    record: RunRecord
    found: bool


@dataclass(frozen=True)
class RunBusy:
    """Another process is making this run; it is looked at again at the end."""

    run: PlannedRun


StudyEvent = RunStarts | RunEnds | RunBusy


def make_runs(
    runs: list[PlannedRun],
    *,
    dataset: Dataset,
    study: str,
    retry_failed: bool = False,
    deadline: float | None = None,
    jobs: int = 1,
) -> Iterator[StudyEvent]:
    """Make the runs; those that have a record are not made again.

    A failed run is kept, with its error, and the others go on. A run that another process is making is waited for at
    the end, and taken over if that process dies. At the `deadline` (Unix seconds), the runs are asked to stop.

    Args:
        runs: In the order in which they start.
        dataset: Their documents.
        study: The study's name.
        retry_failed: Make runs again that failed before.
        deadline: In Unix seconds.
        jobs: How many runs are made at the same time; they share the threads that `settled_threads` has.

    Raises:
        StudyInterrupted: A run was asked to stop (Ctrl-C, SIGTERM or the deadline).
        ProcessError: A run could not be written, for a full disk for instance; no later run could.
    """
    dataset = clean_dataset(dataset)  # as the plan did, whose runs are named by its fingerprint
    waiting, busy = deque(enumerate(runs, start=1)), deque[tuple[int, PlannedRun]]()
    announced: set[str] = set()
    with _Crew(jobs, dataset=dataset, study=study, deadline=deadline) as crew:
        while waiting or busy or crew.runs:
            while waiting and len(crew.runs) < jobs:
                number, planned = waiting.popleft()
                record = _existing(planned, retry_failed=retry_failed and planned.run_id not in announced)
                if record is not None:
                    yield RunEnds(planned, record, found=True)
                    continue
                if planned.run_id not in announced:
                    yield RunStarts(planned, number, len(runs))
                crew.start(number, planned)
            if crew.runs:
                number, planned, is_busy = crew.next_that_ends()
                if not is_busy:
                    yield RunEnds(planned, read_record(planned.folder), found=False)
                    continue
                busy.append((number, planned))
                if planned.run_id not in announced:
                    yield RunBusy(planned)
                announced.add(planned.run_id)
            elif not waiting and busy:
                time.sleep(_BUSY_POLL_SECONDS)
                waiting, busy = busy, waiting


class _Crew:
    """The processes that make runs at the same time; as a context, it asks those that are left to stop."""

    def __init__(self, jobs: int, *, dataset: Dataset, study: str, deadline: float | None) -> None:
        self.runs: dict[StartedChild, tuple[int, PlannedRun]] = {}
        self._facts: dict[str, Any] = {"dataset": dataset, "study": study}
        self._several = jobs > 1
        self._threads = None if jobs == 1 else max(1, settled_threads() // jobs)
        self._deadline = deadline

    def __enter__(self) -> "_Crew":
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.runs:
            child.stop()
        for child in self.runs:
            child.join()

    def start(self, number: int, planned: PlannedRun) -> None:
        """Start a run's process."""
        arguments = self._facts | {"planned": planned, "several": self._several}
        child = StartedChild(_make, arguments, name=planned.run_id, threads=self._threads)
        self.runs[child] = (number, planned)

    def next_that_ends(self) -> tuple[int, PlannedRun, bool]:
        """Wait for a run's end: its number and plan, and whether another process is making it.

        Raises:
            StudyInterrupted: It was asked to stop.
            ProcessError: It could not be written.
        """
        try:
            child = first_to_end(list(self.runs), deadline=self._deadline)
        except KeyboardInterrupt:
            raise StudyInterrupted from None
        number, planned = self.runs.pop(child)
        ended = child.join()
        if ended.status == INTERRUPTED:
            raise StudyInterrupted
        if ended.status == UNWRITABLE:
            raise unwritable(planned.run_id, ended)
        return number, planned, ended.status == BUSY or not self._is_recorded(planned, ended.status)

    def _is_recorded(self, planned: PlannedRun, status: int) -> bool:
        """Record that a process died; False where another process already continues its run."""
        if status == FINISHED:
            return True
        try:
            with _lock(planned):
                _record_failure(planned, describe_death(status), **self._facts)
        except Timeout:
            return False
        return True


def _existing(planned: PlannedRun, *, retry_failed: bool) -> RunRecord | None:
    if not (planned.folder / RECORD_FILE).exists():
        return None
    record = read_record(planned.folder)
    if record.status == "failed" and retry_failed:
        with contextlib.suppress(Timeout), _lock(planned):
            (planned.folder / RECORD_FILE).unlink(missing_ok=True)
        return None
    return record


def _lock(planned: PlannedRun) -> FileLock:
    planned.folder.mkdir(parents=True, exist_ok=True)
    return FileLock(planned.folder / LOCK_FILE, timeout=0)


def _record_failure(planned: PlannedRun, error: str, *, dataset: Dataset, study: str) -> None:
    """Under the run's lock. What happens after a run has its record does not undo it."""
    from tanzaku.provenance import now
    from tanzaku.study.environment import describe_environment
    from tanzaku.study.run import data_facts

    if (planned.folder / RECORD_FILE).exists():
        return
    record = FailedRun(
        run_id=planned.run_id,
        study=study,
        error=error,
        started=now(),
        ended=now(),
        spec=planned.spec.model_dump(mode="json"),
        method_details=planned.spec.method.details(),
        data=data_facts(dataset),
        environment=describe_environment(),
    )
    write_record(record, planned.folder)


def _make(child: Child, planned: PlannedRun, dataset: Dataset, study: str, several: bool) -> int:
    try:
        with _lock(planned):
            return _run_and_record(planned, dataset, study, child.asked_to_stop, several=several)
    except Timeout:
        return BUSY


def _run_and_record(
    planned: PlannedRun, dataset: Dataset, study: str, should_stop: Callable[[], bool], *, several: bool
) -> int:
    from tanzaku.study.progress import LogFile, RunProgress
    from tanzaku.study.run import run
    from tanzaku.training.events import Interrupted

    if (planned.folder / RECORD_FILE).exists():  # another process has made it between our look and our lock
        return FINISHED
    log = LogFile(planned.folder / LOG_FILE)
    try:
        with RunProgress(planned.run_id, in_lines=several) as progress:
            run(
                planned,
                dataset=dataset,
                study=study,
                listeners=(progress, log),
                should_stop=should_stop,
            )
    except Interrupted:
        return INTERRUPTED
    except (TanzakuError, FloatingPointError) as error:
        _record_failure(planned, str(error), dataset=dataset, study=study)
    except Exception as error:
        if is_of_the_disk(error):
            raise
        write_atomically(planned.folder / "traceback.txt", traceback.format_exc())
        _record_failure(planned, f"{type(error).__name__}: {error}", dataset=dataset, study=study)
    finally:
        log.close()
    return FINISHED
