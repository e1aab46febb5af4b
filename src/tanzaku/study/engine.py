"""Makes the runs of a study, each in a process of its own, on this machine or with Ray on several."""

import contextlib
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

from filelock import Timeout

from tanzaku.data.characters import clean_dataset
from tanzaku.data.dataset import Dataset
from tanzaku.study.engines.interface import Begun, Engine, Over
from tanzaku.study.engines.options import RayOptions
from tanzaku.study.engines.processes import ProcessEngine
from tanzaku.study.engines.waiting import Waiting
from tanzaku.study.making import Shown, lock_of
from tanzaku.study.planned import PlannedRun
from tanzaku.study.process import DeadlineOver, StudyInterrupted
from tanzaku.study.record import RECORD_FILE, RunRecord, read_record

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
    """Another process is making this run; it is waited for at the end, without further events until it is free."""

    run: PlannedRun


StudyEvent = RunStarts | RunEnds | RunBusy


def make_runs(
    runs: list[PlannedRun],
    *,
    dataset: Dataset,
    study: str,
    retry_failed: bool = False,
    deadline: float | None = None,
    jobs: int | None = None,
    ray: RayOptions | None = None,
    shown: Shown | None = None,
    begins: Callable[[PlannedRun], bool] = lambda _: True,
) -> Generator[StudyEvent, None, None]:
    """Make the runs; those that have a record are not made again.

    A failed run is kept, with its error, and the others go on. A run that another process is making is waited for at
    the end, and taken over if that process dies. At the `deadline`, the runs are asked to stop.

    Args:
        runs: In the order in which they start.
        dataset: Their documents.
        study: The study's name.
        retry_failed: Make runs again that failed before.
        deadline: Of `time.monotonic`, which is not changed if the clock is set.
        jobs: How many runs are made at the same time; they share the threads that `settled_threads` has. None is 1,
            and with Ray as many as there is room for.
        ray: Make them with Ray.
        shown: What the runs print; None takes a bar for one job and lines for several.
        begins: Called when there is a place for a run; the run is left out if this is false.

    Raises:
        DeadlineOver: The deadline is over, and the runs were asked to stop; a `StudyInterrupted`.
        StudyInterrupted: A run was asked to stop (Ctrl-C or SIGTERM).
        ProcessError: A run could not be written, for a full disk for instance; no later run could. Or Ray can't be
            used.
    """
    dataset = clean_dataset(dataset)  # as the plan did, whose runs are named by its fingerprint
    if ray is None:
        engine: Engine = ProcessEngine(jobs or 1, dataset=dataset, study=study, deadline=deadline, shown=shown)
    else:
        from tanzaku.study.engines.ray import RayEngine

        engine = RayEngine(ray, jobs=jobs, dataset=dataset, study=study, deadline=deadline)
    return _make_with(engine, runs, retry_failed=retry_failed, begins=begins, deadline=deadline)


def _make_with(
    engine: Engine,
    runs: list[PlannedRun],
    *,
    retry_failed: bool,
    begins: Callable[[PlannedRun], bool],
    deadline: float | None,
) -> Generator[StudyEvent, None, None]:
    numbers = {run.run_id: number for number, run in enumerate(runs, start=1)}
    waiting, busy = Waiting(runs), list[PlannedRun]()
    started, held = set[str](), set[str]()
    given = 0
    # When those that are to be made again had ended: another process may do the same meanwhile.
    failed = {run.run_id: _failed_at(run) for run in runs} if retry_failed else {}
    with engine:
        while waiting or busy or given:
            while given < engine.capacity and (planned := waiting.next()):
                record = _existing(planned, retry=None if planned.run_id in held else failed.get(planned.run_id))
                if record is not None:
                    waiting.settle(planned)
                    yield RunEnds(planned, record, found=True)
                    continue
                if planned.run_id in held and not _is_free(planned):
                    busy.append(planned)
                elif planned.run_id in held or begins(planned):
                    engine.start(planned)
                    given += 1
                else:
                    waiting.settle(planned)
            if given:
                match engine.next():
                    case Begun(run):
                        if run.run_id not in started:
                            yield RunStarts(run, numbers[run.run_id], len(runs))
                        started.add(run.run_id)
                    case Over(run, busy=False):
                        given -= 1
                        waiting.settle(run)
                        yield RunEnds(run, read_record(run.folder), found=False)
                    case Over(run):
                        given -= 1
                        busy.append(run)
                        held.add(run.run_id)
                        started.discard(run.run_id)  # it starts again if the other process does not end it
                        yield RunBusy(run)
            elif busy:
                _wait_for_others(deadline)
                waiting.put_back(busy)
                busy.clear()


def _wait_for_others(deadline: float | None) -> None:
    """Wait before runs are looked at again that other processes make."""
    if deadline is not None and time.monotonic() >= deadline:
        raise DeadlineOver
    try:
        time.sleep(_BUSY_POLL_SECONDS)
    except KeyboardInterrupt:
        raise StudyInterrupted from None


def _is_free(planned: PlannedRun) -> bool:
    """Whether no process is making a run."""
    with contextlib.suppress(Timeout), lock_of(planned):
        return True
    return False


def _failed_at(planned: PlannedRun) -> str | None:
    """When a run failed; None where it has not."""
    record = _existing(planned, retry=None)
    return record.ended if record is not None and record.status == "failed" else None


def _existing(planned: PlannedRun, *, retry: str | None) -> RunRecord | None:
    """A run's record; that of a run which failed at the time `retry` is removed."""
    if not (planned.folder / RECORD_FILE).exists():
        return None
    record = read_record(planned.folder)
    if record.status == "failed" and record.ended == retry:
        with contextlib.suppress(Timeout), lock_of(planned):
            (planned.folder / RECORD_FILE).unlink(missing_ok=True)
        return None
    return record
