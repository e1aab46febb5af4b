"""One run in a process that was started for it: its lock, its log, and a record however it ends.

The lock file keeps two studies, or two processes on one study, from making the same run twice; the system drops the
lock when its process dies, however it dies.
"""

import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from tanzaku.data.dataset import Dataset
from tanzaku.errors import TanzakuError
from tanzaku.files import remove_unfinished, write_atomically
from tanzaku.study.planned import PlannedRun, PlannedTextRun
from tanzaku.study.process import (
    BUSY,
    FINISHED,
    INTERRUPTED,
    UNWRITABLE,
    Child,
    Ended,
    StudyInterrupted,
    describe_death,
    is_of_the_disk,
    unwritable,
)
from tanzaku.study.record import LOG_FILE, RECORD_FILE, FailedRun, write_record
from tanzaku.study.states import LOCK_FILE, study_seconds_left

Shown = Literal["bar", "lines", "nothing"]
"""What a run prints of its progress on standard error: a bar on a terminal, only lines, or nothing."""


_LOOK_SECONDS = 0.5  # far longer than whoever looks at the state of a run holds its lock


def lock_of(planned: PlannedRun) -> FileLock:
    """The lock of a run, which whoever makes it holds; taking it fails with `Timeout` where another does."""
    planned.folder.mkdir(parents=True, exist_ok=True)
    return FileLock(planned.folder / LOCK_FILE, timeout=_LOOK_SECONDS)


def make_run(child: Child, planned: PlannedRun, dataset: Dataset, study: str, shown: Shown) -> int:
    """Make a run and record how it ended: the work of a `StartedChild`. Gives its status."""
    if isinstance(planned, PlannedTextRun):
        child.end_when_asked()
        shown = "nothing"  # a bar has no steps to show, and would leave the terminal without a cursor
    try:
        with lock_of(planned):
            return _run_and_record(planned, dataset, study, child.asked_to_stop, shown=shown)
    except Timeout:
        return BUSY


def conclude(planned: PlannedRun, ended: Ended, *, dataset: Dataset, study: str) -> bool:
    """Look at how a run's process ended, and record the run as failed if the process died.

    Returns:
        Whether the run has a record; False if another process is making it.

    Raises:
        StudyInterrupted: It was asked to stop.
        ProcessError: It could not be written.
    """
    if ended.status == INTERRUPTED:
        raise StudyInterrupted
    if ended.status == UNWRITABLE:
        raise unwritable(planned.run_id, ended)
    if ended.status in (BUSY, FINISHED):
        return ended.status == FINISHED
    try:
        with lock_of(planned):
            record_failure(planned, ended.complaint or describe_death(ended.status), dataset=dataset, study=study)
    except Timeout:  # another process already continues it
        return False
    return True


def record_failure(planned: PlannedRun, error: str, *, dataset: Dataset, study: str) -> None:
    """Record why a run failed, under its lock. What happens after a run has its record does not undo it."""
    from tanzaku.provenance import now
    from tanzaku.study.environment import describe_environment
    from tanzaku.study.run import data_facts

    if (planned.folder / RECORD_FILE).exists():
        return
    record = FailedRun(
        run_id=planned.run_id,
        study=study,
        error=error,
        started=(at := now()),
        ended=at,
        spec=planned.spec.model_dump(mode="json"),
        method_details=planned.spec.method.details(),
        data=data_facts(dataset),
        environment=describe_environment(),
    )
    write_record(record, planned.folder)


def _study_left(folder: Path) -> float | None:
    """How long the study will take; a damaged record of another run does not disturb this one."""
    try:
        return study_seconds_left(folder)
    except (TanzakuError, OSError):
        return None


def _run_and_record(
    planned: PlannedRun, dataset: Dataset, study: str, should_stop: Callable[[], bool], *, shown: Shown
) -> int:
    from tanzaku.study.progress import LogFile, RunProgress
    from tanzaku.study.run import run
    from tanzaku.training.events import Interrupted

    if (planned.folder / RECORD_FILE).exists():  # another process has made it between our look and our lock
        return FINISHED
    remove_unfinished(planned.folder)
    log = LogFile(planned.folder / LOG_FILE)
    try:
        display = RunProgress(
            planned.run_id,
            in_lines=shown == "lines",
            quiet=shown == "nothing",
            study_left=partial(_study_left, planned.folder.parent) if shown == "bar" else lambda: None,
        )
        with display as progress:
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
        record_failure(planned, str(error), dataset=dataset, study=study)
    except Exception as error:
        if is_of_the_disk(error):
            raise
        write_atomically(planned.folder / "traceback.txt", traceback.format_exc())
        record_failure(planned, f"{type(error).__name__}: {error}", dataset=dataset, study=study)
    finally:
        log.close()
    return FINISHED
