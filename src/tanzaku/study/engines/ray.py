"""Runs as tasks of Ray, on this machine or on a cluster.

A run's folder is locked by whoever writes to it: the process that makes the run, where its machine sees the folder, and
otherwise the study, which writes down the log that the worker sends, and in the end the results. Ray starts a run again
whose worker or machine died.
"""

import contextlib
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from tanzaku.data.dataset import Dataset
from tanzaku.errors import ProcessError, describe_os_error
from tanzaku.files import write_atomically
from tanzaku.study.engines.bringing import append_log, bring
from tanzaku.study.engines.cluster import (
    GIVEN_UP,
    POLL_SECONDS,
    RETRIES,
    STOP_SECONDS,
    Attempts,
    Cluster,
    result_of,
)
from tanzaku.study.engines.interface import Begun, Over
from tanzaku.study.engines.options import RayOptions
from tanzaku.study.engines.ray_worker import Answer, Begins, Board, Made, Shared, pack_encoder, work
from tanzaku.study.making import conclude, lock_of
from tanzaku.study.planned import PlannedEncoderRun, PlannedRun
from tanzaku.study.process import UNWRITABLE, DeadlineOver, Ended, StudyInterrupted, is_of_the_disk, unwritable
from tanzaku.study.record import RECORD_FILE

_MOST_RUNS = 1000  # that Ray is given at the same time


class RayEngine:
    """See `Engine`.

    Args:
        options: Where the machines are, and what a run takes of them.
        jobs: How many runs are made at the same time; None for as many as there is room for.
        dataset: Their documents.
        study: The study's name.
        deadline: Ask the runs to stop then; of `time.monotonic`.
    """

    def __init__(
        self, options: RayOptions, *, jobs: int | None, dataset: Dataset, study: str, deadline: float | None = None
    ) -> None:
        self.capacity = jobs or _MOST_RUNS
        self._cluster = Cluster(options.address)
        self._threads = options.threads_per_run(jobs)
        self._options = options
        self._facts: dict[str, Any] = {"dataset": dataset, "study": study}
        self._deadline = deadline
        self._happened: deque[Begun | Over] = deque()
        self._tasks: dict[Any, PlannedRun] = {}
        self._attempts = Attempts()
        self._locks: dict[str, FileLock] = {}
        self._shipped: dict[str, Any] = {}
        self._shared: dict[Path, Shared] = {}

    def __enter__(self) -> Self:
        options = self._options
        self._cluster.connect(cpus=self._threads, gpus=options.gpus_per_run, memory=options.memory_per_run or 0)
        self._board = self._cluster.actor_here(Board)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._tasks:
                self._stop()
        finally:
            for lock in self._locks.values():
                lock.release()
            for shared in self._shared.values():
                shared.mark.unlink(missing_ok=True)
            self._cluster.disconnect()

    def start(self, planned: PlannedRun) -> None:
        """Give Ray a run, which starts as soon as there is room for it."""
        import ray

        encoder = teacher = None
        # The working directory of a worker is another one.
        shipped: PlannedRun = replace(planned, folder=planned.folder.absolute())
        if isinstance(shipped, PlannedEncoderRun):
            source = shipped.encoder
            encoder = self._ship(source.fingerprint, lambda: pack_encoder(source))
            if (soft := shipped.teacher) is not None:
                teacher = self._ship(soft.fingerprint, lambda: soft)
                shipped = replace(shipped, teacher=None)
        task = ray.remote(work).options(
            name=planned.run_id,
            num_cpus=self._threads,
            num_gpus=self._options.gpus_per_run,
            memory=self._options.memory_per_run,
            max_retries=RETRIES,
        )
        with _disk_errors(planned.run_id):
            shared = self._share(planned.folder.parent)
        dataset = self._ship("dataset", lambda: self._facts["dataset"])
        self._tasks[task.remote(shipped, dataset, encoder, teacher, shared, self._board)] = planned

    def next(self) -> Begun | Over:
        """Wait for what happens next; see `Engine`."""
        while not self._happened:
            if self._deadline is not None and time.monotonic() > self._deadline:
                raise DeadlineOver
            try:
                if over := self._wait():
                    self._happened.append(over)
            except KeyboardInterrupt:
                raise StudyInterrupted from None
        return self._happened.popleft()

    def _ship(self, key: str, content: Callable[[], Any]) -> Any:
        """Put something into Ray's object store, once."""
        import ray

        if key not in self._shipped:
            self._shipped[key] = ray.put(content())
        return self._shipped[key]

    def _share(self, folder: Path) -> Shared:
        """What all runs in a study's folder have in common; marks the folder."""
        if folder not in self._shared:
            token = uuid.uuid4().hex
            mark = folder.absolute() / f".ray-{token}"
            write_atomically(mark, token)
            uses_gpus = self._options.gpus_per_run > 0
            self._shared[folder] = Shared(self._facts["study"], self._threads, uses_gpus, mark, token)
        return self._shared[folder]

    def _wait(self) -> Over | None:
        """Attend to the workers for a moment; gives a run that has ended, if one has.

        Raises:
            StudyInterrupted: It was asked to stop.
            ProcessError: Nothing can be written, or Ray can't make it.
        """
        import ray

        done, _ = ray.wait(list(self._tasks), num_returns=1, timeout=POLL_SECONDS)
        self._attend()
        if not done:
            return None
        planned = self._tasks.pop(done[0])
        self._attempts.forget(planned.run_id)
        return Over(planned, busy=not conclude(planned, self._ended(done[0], planned), **self._facts))

    def _ended(self, task: Any, planned: PlannedRun) -> Ended:
        """How a run ended; its results are here."""
        import ray

        lock = self._locks.pop(planned.run_id, None)
        try:
            made: Made | Ended = result_of(task, name=f"the run {planned.run_id}")
            if isinstance(made, Ended):
                return made
            if lock and made.archive:
                bring(made.archive, planned.folder)
            return made.ended
        except ray.exceptions.TaskCancelledError:
            raise StudyInterrupted from None
        except OSError as error:
            return Ended(UNWRITABLE, describe_os_error(error))
        finally:
            if lock:
                lock.release()

    def _attend(self) -> None:
        """Take what the workers say, and answer it."""
        import ray

        asked, logs = ray.get(self._board.news.remote())
        runs = {planned.run_id: planned for planned in self._tasks.values()}
        answers: dict[str, Answer] = {}
        for one in asked:
            if one.run_id in runs:
                with _disk_errors(one.run_id):
                    answers[one.key] = self._answer(one, runs[one.run_id])
        if answers:
            ray.get(self._board.reply.remote(answers))
        for run_id, lines in logs.items():
            if run_id in self._locks:
                with _disk_errors(run_id):
                    append_log(runs[run_id].folder, lines)

    def _answer(self, asked: Begins, planned: PlannedRun) -> Answer:
        """Whether a worker is to make a run. The study takes the run's lock if the worker can't."""
        if planned.run_id not in self._attempts:
            self._happened.append(Begun(planned))
        given_up = not self._attempts.begin(planned.run_id)
        if (asked.shared or given_up) and planned.run_id in self._locks:
            self._locks.pop(planned.run_id).release()
        if given_up:
            conclude(planned, GIVEN_UP, **self._facts)
            return "over"
        if asked.shared:
            return "make"
        lock = self._locks.get(planned.run_id)
        if not lock:
            lock = lock_of(planned)
            try:
                lock.acquire()
            except Timeout:
                return "busy"
            self._locks[planned.run_id] = lock
            append_log(planned.folder, b"")  # it has begun
        return "over" if (planned.folder / RECORD_FILE).exists() else "make"

    def _stop(self) -> None:
        """Have the runs save their checkpoints and end; those that have not begun do not begin."""
        import ray

        ray.get(self._board.stop.remote())
        for task, planned in self._tasks.items():
            if planned.run_id not in self._attempts:
                ray.cancel(task)
        end = time.monotonic() + STOP_SECONDS
        while self._tasks and time.monotonic() < end:
            with contextlib.suppress(StudyInterrupted, ProcessError):
                self._wait()
        for task in self._tasks:
            ray.cancel(task, force=True)


@contextlib.contextmanager
def _disk_errors(name: str) -> Iterator[None]:
    """What the study itself can't write ends it as what a run can't write does."""
    try:
        yield
    except OSError as error:
        if not is_of_the_disk(error):
            raise
        raise unwritable(name, Ended(UNWRITABLE, describe_os_error(error))) from error
