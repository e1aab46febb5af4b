"""Makes the runs of a study, each in a process of its own.

A process a run keeps one run's crash (running out of memory, say) from the others, and makes its peak memory its own.
A lock file a run keeps two studies, or two processes on one study, from making the same run twice; the system drops the
lock when its process dies, however it dies.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from tanzaku.data.dataset import Dataset
from tanzaku.errors import TanzakuError
from tanzaku.files import write_atomically
from tanzaku.study.record import RECORD_FILE, RunRecord, read_record, write_record
from tanzaku.study.spec import RunSpec

if TYPE_CHECKING:
    from tanzaku.encoders.load import EncoderSource

_FINISHED, _BUSY, _INTERRUPTED = 0, 75, 130
_BUSY_POLL_SECONDS = 2.0
_PRELOADED = ["torch", "transformers", "peft", "sklearn.svm", "statsmodels.stats.proportion", "tanzaku.study.run"]


class StudyInterrupted(Exception):  # noqa: N818 - somebody asked for it, so it is no error
    """The study was asked to stop; the same command goes on with it."""


@dataclass(frozen=True)
class PlannedRun:
    """A run with everything it needs, and the folder it writes to."""

    spec: RunSpec
    folder: Path
    encoder: "EncoderSource | None"

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.folder.name


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
    runs: list[PlannedRun], *, dataset: Dataset, study: str, retry_failed: bool = False
) -> Iterator[StudyEvent]:
    """Make the runs one after the other; those that have a record are not made again.

    A failed run is kept, with its error, and the others go on. A run that another process is making is waited for at
    the end, and taken over if that process dies.

    Raises:
        StudyInterrupted: A run was asked to stop (Ctrl-C or SIGTERM).
    """
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
            status = _make_in_process(planned, dataset=dataset, study=study)
            if status == _BUSY:
                busy.append((number, planned))
                if planned.run_id not in announced:
                    yield RunBusy(planned)
                announced.add(planned.run_id)
                continue
            if status == _INTERRUPTED:
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
    return FileLock(planned.folder / "lock", timeout=0)


def _make_in_process(planned: PlannedRun, *, dataset: Dataset, study: str) -> int:
    context = _process_context()
    process = context.Process(
        target=_child, kwargs={"planned": planned, "dataset": dataset, "study": study}, name=planned.run_id
    )
    process.start()
    try:
        process.join()
    except KeyboardInterrupt:
        # The terminal sent it to the child as well, or nobody did: either way it now saves a checkpoint and ends.
        process.terminate()
        process.join()
        return _INTERRUPTED
    if process.exitcode not in (_FINISHED, _BUSY, _INTERRUPTED):
        _record_death(planned, process.exitcode, dataset=dataset, study=study)
    return process.exitcode if process.exitcode in (_BUSY, _INTERRUPTED) else _FINISHED


def _process_context() -> Any:
    """Fork from a server process that has imported everything heavy and done nothing else, where there is fork."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def _record_death(planned: PlannedRun, status: int | None, *, dataset: Dataset, study: str) -> None:
    if status is not None and status < 0:
        name = signal.Signals(-status).name
        error = f"the process was ended by {name}" + (
            "; usually the machine had run out of memory: a smaller batch_size or max_tokens needs less"
            if name == "SIGKILL"
            else ""
        )
    else:
        error = f"the process ended with status {status}"
    _record_failure(planned, error, dataset=dataset, study=study)


def _record_failure(planned: PlannedRun, error: str, *, dataset: Dataset, study: str) -> None:
    from tanzaku.provenance import now
    from tanzaku.study.environment import describe_environment
    from tanzaku.study.run import data_facts

    record = RunRecord(
        run_id=planned.run_id,
        study=study,
        status="failed",
        error=error,
        started=now(),
        ended=now(),
        spec=planned.spec.model_dump(mode="json"),
        method_details=planned.spec.method.details(),
        data=data_facts(dataset),
        environment=describe_environment(),
    )
    write_record(record, planned.folder)


def _child(planned: PlannedRun, dataset: Dataset, study: str) -> None:
    _die_with_parent()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with _lock(planned):
            status = _run_and_record(planned, dataset, study, stop.is_set)
    except Timeout:
        status = _BUSY
    sys.exit(status)


def _run_and_record(planned: PlannedRun, dataset: Dataset, study: str, should_stop: Callable[[], bool]) -> int:
    from tanzaku.study.progress import LogFile, RunProgress
    from tanzaku.study.run import run
    from tanzaku.training.loop import Interrupted

    if (planned.folder / RECORD_FILE).exists():  # another process has made it between our look and our lock
        return _FINISHED
    log = LogFile(planned.folder / "log.jsonl")
    try:
        with RunProgress(planned.run_id) as progress:
            run(
                planned.spec,
                dataset=dataset,
                encoder=planned.encoder,
                folder=planned.folder,
                study=study,
                listeners=(progress, log),
                should_stop=should_stop,
            )
    except Interrupted:
        return _INTERRUPTED
    except (TanzakuError, FloatingPointError) as error:
        _record_failure(planned, str(error), dataset=dataset, study=study)
    except Exception as error:
        write_atomically(planned.folder / "traceback.txt", traceback.format_exc())
        _record_failure(planned, f"{type(error).__name__}: {error}", dataset=dataset, study=study)
    finally:
        log.close()
    return _FINISHED


def _die_with_parent() -> None:
    """End this process when the one that started it is gone: a killed study must not go on computing unseen."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
