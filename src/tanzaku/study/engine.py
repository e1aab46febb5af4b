"""Makes the runs of a study, each in a process of its own.

A process a run keeps one run's crash (running out of memory, say) from the others, and makes its peak memory its own.
A lock file a run keeps two studies, or two processes on one study, from making the same run twice; the system drops the
lock when its process dies, however it dies.
"""

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
    StudyInterrupted,
    describe_death,
    is_of_the_disk,
    run_child,
    unwritable,
)
from tanzaku.study.record import RECORD_FILE, FailedRun, RunRecord, read_record, write_record
from tanzaku.study.states import LOCK_FILE, LOG_FILE

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
) -> Iterator[StudyEvent]:
    """Make the runs one after the other; those that have a record are not made again.

    A failed run is kept, with its error, and the others go on. A run that another process is making is waited for at
    the end, and taken over if that process dies. At the `deadline` (Unix seconds), a run is asked to stop.

    Raises:
        StudyInterrupted: A run was asked to stop (Ctrl-C, SIGTERM or the deadline).
        ProcessError: A run could not be written, for a full disk for instance; no later run could.
    """
    dataset = clean_dataset(dataset)  # as the plan did, whose runs are named by its fingerprint
    total = len(runs)
    waiting = list(enumerate(runs, start=1))
    announced: set[str] = set()
    while waiting:
        busy = []
        for number, planned in waiting:
            record = _existing(planned, retry_failed=retry_failed and planned.run_id not in announced)
            if record is not None:
                yield RunEnds(planned, record, found=True)
                continue
            if planned.run_id not in announced:
                yield RunStarts(planned, number, total)
            status = _make_in_process(planned, dataset=dataset, study=study, deadline=deadline)
            if status == BUSY:
                busy.append((number, planned))
                if planned.run_id not in announced:
                    yield RunBusy(planned)
                announced.add(planned.run_id)
                continue
            if status == INTERRUPTED:
                raise StudyInterrupted
            yield RunEnds(planned, read_record(planned.folder), found=False)
        waiting = busy
        if busy:
            time.sleep(_BUSY_POLL_SECONDS)


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


def _make_in_process(planned: PlannedRun, *, dataset: Dataset, study: str, deadline: float | None) -> int:
    ended = run_child(_make, name=planned.run_id, deadline=deadline, planned=planned, dataset=dataset, study=study)
    if ended.status in (BUSY, INTERRUPTED):
        return ended.status
    if ended.status == UNWRITABLE:
        raise unwritable(planned.run_id, ended)
    if ended.status != FINISHED:
        try:
            with _lock(planned):
                _record_failure(planned, describe_death(ended.status), dataset=dataset, study=study)
        except Timeout:  # another process already continues the run
            return BUSY
    return FINISHED


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


def _make(child: Child, planned: PlannedRun, dataset: Dataset, study: str) -> int:
    try:
        with _lock(planned):
            return _run_and_record(planned, dataset, study, child.asked_to_stop)
    except Timeout:
        return BUSY


def _run_and_record(planned: PlannedRun, dataset: Dataset, study: str, should_stop: Callable[[], bool]) -> int:
    from tanzaku.study.progress import LogFile, RunProgress
    from tanzaku.study.run import run
    from tanzaku.training.evaluation import Interrupted

    if (planned.folder / RECORD_FILE).exists():  # another process has made it between our look and our lock
        return FINISHED
    log = LogFile(planned.folder / LOG_FILE)
    try:
        with RunProgress(planned.run_id) as progress:
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
