"""Sends a study's runs to trackers while they are made, without ever stopping them."""

from __future__ import annotations

import shlex
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from filelock import FileLock

from tanzaku.errors import RecordError, TanzakuWarning
from tanzaku.study.engine import RunEnds, RunStarts, StudyEvent
from tanzaku.study.planned import PlannedRun
from tanzaku.study.runs import StoredRun
from tanzaku.study.tracking.content import ended_run, unfinished_run
from tanzaku.study.tracking.tracker import Tracker

_LOCK_FILE = ".tracking.lock"
MOST_IN_A_ROW = 3  # where so many runs fail one after the other, it is because of the tracker
_PAUSE_SECONDS = 5.0
_PAUSE_AFTER_FAILURE_SECONDS = 60.0


class Following:
    """Reads the logs and records in a study's folder now and then, in a thread, and sends what is new.

    It only needs the files that every engine leaves in the folder, so it works the same for all of them. A run that
    could not be sent is tried again until the end. As a context, it sends the rest at the end.

    Args:
        trackers: Where to.
        folder: The study's.
        study: Its name.
    """

    def __init__(self, trackers: Sequence[Tracker], *, folder: Path, study: str) -> None:
        self._outboxes = [_Outbox(tracker, folder / _LOCK_FILE) for tracker in trackers]
        self._folder, self._study = folder, study
        self._running: dict[str, PlannedRun] = {}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)

    def __enter__(self) -> Following:
        if self._outboxes:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._outboxes:
            return
        self._ends.set()
        self._thread.join()
        self._send(interrupted=True)
        self._warn()

    def __call__(self, event: StudyEvent) -> None:
        """Take note of a run that starts or has ended."""
        if isinstance(event, RunStarts):
            self._running[event.run.run_id] = event.run
        elif isinstance(event, RunEnds):
            for outbox in self._outboxes:
                outbox.waiting[event.run.run_id] = StoredRun(event.record, event.run.folder)
            self._running.pop(event.run.run_id, None)
        else:  # the process that makes it sends it too
            self._running.pop(event.run.run_id, None)
        self._warn()

    def _work(self) -> None:
        pause = _PAUSE_SECONDS
        while not self._ends.wait(pause):
            failed = self._send(interrupted=False)
            pause = _PAUSE_AFTER_FAILURE_SECONDS if failed else _PAUSE_SECONDS

    def _send(self, *, interrupted: bool) -> bool:
        """Send what is new; whether a tracker failed."""
        running = list(self._running.values())
        sent = [outbox.send(running, study=self._study, interrupted=interrupted) for outbox in self._outboxes]
        return not all(sent)

    def _warn(self) -> None:
        """Warn of each tracker that failed, once. Only this process's main thread may."""
        for outbox in self._outboxes:
            while outbox.damaged:
                warnings.warn(f"a run is not sent: {outbox.damaged.pop()}", TanzakuWarning, stacklevel=3)
            if outbox.failure is not None and not outbox.warned:
                outbox.warned = True
                warnings.warn(
                    f"--track {outbox.tracker.destination} failed: {outbox.failure}. The study continues, and all "
                    f"records are in {self._folder}. If the tracker works again, the missing runs are sent before the "
                    "study ends; to send them later: "
                    + shlex.join(["tanzaku", "study", "export", str(self._folder), "--to", outbox.tracker.destination]),
                    TanzakuWarning,
                    stacklevel=3,
                )


class _Outbox:
    """What one tracker has yet to get. Of several processes that make the same study, one sends at a time: two must not
    both find that a run is missing, and add it twice."""

    def __init__(self, tracker: Tracker, lock: Path) -> None:
        self.tracker = tracker
        self._lock = FileLock(lock)
        self.waiting: dict[str, StoredRun] = {}
        self.failure: str | None = None
        self.warned = False
        self.damaged: list[str] = []
        """Why runs can't be sent anywhere, until it is said."""
        self._epochs: dict[str, int] = {}  # of running runs, how many points were sent
        self._ended: set[str] = set()  # sent; they may still be among the running ones that `send` is given

    def send(self, running: Sequence[PlannedRun], *, study: str, interrupted: bool) -> bool:
        """Send runs that have ended, and then the new epochs of running ones; False where one could not be sent."""
        try:
            with self._lock:
                self._send(running, study, interrupted=interrupted)
        except Exception as error:  # whatever a tracker's library raises, no run may suffer from it
            self.failure = str(error) or type(error).__name__
            return False
        return True

    def _send(self, running: Sequence[PlannedRun], study: str, *, interrupted: bool) -> None:
        failure: Exception | None = None
        in_a_row = 0
        for run_id, stored in list(self.waiting.items()):
            del self.waiting[run_id]
            self._ended.add(run_id)
            try:
                self.tracker.send(ended_run(stored))
            except RecordError as error:  # of this run, such as damaged predictions: it is no use to try again
                self.damaged.append(str(error))
            except Exception as error:
                self.waiting[run_id] = stored  # last, so that it holds no other run up
                failure, in_a_row = failure or error, in_a_row + 1
                if in_a_row == MOST_IN_A_ROW:
                    raise failure from None
            else:
                in_a_row = 0
        for planned in running:
            if planned.run_id in self._ended or planned.run_id in self.waiting:
                continue
            run = unfinished_run(planned, study=study, state="interrupted" if interrupted else "running")
            if interrupted or self._epochs.get(planned.run_id) != len(run.points):
                self.tracker.send(run)
                self._epochs[planned.run_id] = len(run.points)
        if failure is not None:
            raise failure
