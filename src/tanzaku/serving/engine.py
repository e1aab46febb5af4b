"""Where requests of all tasks meet: one thread that computes, and turns that take some texts of each waiting request.

One thread computes because a pass through an encoder uses all cores already. A turn takes texts of every request that
waits for the same pool, so a request with many texts does not hold up one with a single text.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from typing import Any, Protocol

import numpy as np

from tanzaku.errors import TanzakuError
from tanzaku.serving.watching import log

# Texts of a turn: a turn can't be interrupted, and with the embedded encoder, long texts and two cores takes a second.
TURN_TEXTS = 16
_LATE = (
    "the request took longer than the server allows; send fewer or shorter texts, or send it again when the server has "
    "less to do"
)
SHUTTING_DOWN = "the server is shutting down; send the request again"


class Pool(Protocol):
    """Scores texts of several models in one pass."""

    def __call__(self, items: Sequence[tuple[Any, str]]) -> Sequence[np.ndarray]:
        """The scores of each text for its model, (labels,) float32."""
        ...


class LateError(TanzakuError):
    """A request whose time is over before its texts were classified."""


class _Job:
    def __init__(self, pool: Pool, model: Any, texts: Sequence[str], *, deadline: float) -> None:
        self.pool, self.model, self.texts, self.deadline = pool, model, texts, deadline
        self.rows: list[np.ndarray] = []
        self.future: Future[np.ndarray] = Future()

    def is_over(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.future.done() or time.monotonic() >= self.deadline

    def take(self, count: int) -> list[tuple[Any, str]]:
        """The next texts that have no scores yet."""
        return [(self.model, text) for text in self.texts[len(self.rows) : len(self.rows) + count]]

    def give(self, rows: Sequence[np.ndarray]) -> None:
        """Add the scores of those texts."""
        self.rows += rows
        if len(self.rows) == len(self.texts):
            result = np.stack(self.rows)
            with suppress(InvalidStateError):  # cancelled: the request's time is over
                self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        """Answer with an error, unless there is an answer, or nobody waits for one."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class Engine:
    """Computes the scores of texts in its own thread, until `close`.

    Args:
        observe: Called after each turn with the number of its texts and of its requests.
    """

    def __init__(self, *, observe: Callable[[int, int], None] = lambda _texts, _requests: None) -> None:
        self._observe = observe
        self._jobs: dict[Pool, deque[_Job]] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="tanzaku-engine", daemon=True)
        self._thread.start()

    def score(self, pool: Pool, model: Any, texts: Sequence[str], *, deadline: float) -> np.ndarray:
        """The scores (texts, labels) float32 of at least one text; the calling thread waits for them.

        Args:
            pool: What computes them.
            model: Which of the pool's models.
            texts: One or more.
            deadline: Of `time.monotonic`; texts that were not computed until then are dropped.

        Raises:
            LateError: The deadline has passed, or the engine was closed.
        """
        job = _Job(pool, model, texts, deadline=deadline)
        with self._changed:
            if self._closed:
                raise LateError(SHUTTING_DOWN)
            self._jobs.setdefault(pool, deque()).append(job)
            self._changed.notify()
        try:
            return job.future.result(timeout=max(0.0, deadline - time.monotonic()))
        except (TimeoutError, CancelledError) as error:
            job.future.cancel()
            raise LateError(_LATE) from error

    def check(self, deadline: float) -> None:
        """Make sure that what a request prepares is still wanted.

        Raises:
            LateError: The deadline (of `time.monotonic`) has passed, or the engine was closed.
        """
        if self._closed:
            raise LateError(SHUTTING_DOWN)
        if time.monotonic() >= deadline:
            raise LateError(_LATE)

    def is_alive(self) -> bool:
        """Whether the thread computes."""
        return self._thread.is_alive() and not self._closed

    def waiting(self) -> int:
        """How many texts wait for their turn."""
        with self._changed:
            return sum(len(job.texts) - len(job.rows) for jobs in self._jobs.values() for job in jobs)

    def close(self) -> None:
        """End the thread after the turn in progress; what waits then fails with a `LateError`."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (turn := self._next_turn()) is not None:
            pool, parts = turn
            try:
                self._compute(pool, parts)
                self._observe(sum(len(items) for _, items in parts), len(parts))
            except Exception as error:  # without this thread no request would be answered any more
                log(
                    "failure",
                    level=logging.ERROR,
                    error=type(error).__name__,
                    trace=traceback.format_tb(error.__traceback__)[-6:],
                )
                for job, _ in parts:
                    job.fail(error)
                del job
            del pool, parts, turn  # nothing may keep a task in memory that was removed

    def _next_turn(self) -> tuple[Pool, list[tuple[_Job, list[tuple[Any, str]]]]] | None:
        """The pool whose turn it is with some texts of its requests; None when the engine was closed."""
        with self._changed:
            while True:
                self._drop_finished()
                if self._closed:
                    self._fail_waiting()
                    return None
                if self._jobs:
                    break
                self._changed.wait()
            pool, jobs = next(iter(self._jobs.items()))
            self._jobs[pool] = self._jobs.pop(pool)  # the other pools come first next time
            share = max(1, TURN_TEXTS // len(jobs))
            chosen = [jobs.popleft() for _ in range(min(len(jobs), TURN_TEXTS))]
            jobs.extend(chosen)  # behind those that had no turn
            return pool, [(job, job.take(share)) for job in chosen]

    def _drop_finished(self) -> None:
        for pool, jobs in list(self._jobs.items()):
            left = deque(job for job in jobs if not job.is_over())
            if left:
                self._jobs[pool] = left
            else:
                del self._jobs[pool]

    def _fail_waiting(self) -> None:
        for jobs in self._jobs.values():
            for job in jobs:
                job.fail(LateError(SHUTTING_DOWN))
        self._jobs.clear()

    def _compute(self, pool: Pool, parts: list[tuple[_Job, list[tuple[Any, str]]]]) -> None:
        try:
            rows = list(pool([item for _, items in parts for item in items]))
        except Exception as error:
            if len(parts) == 1:
                parts[0][0].fail(error)
                return
            for part in parts:  # what is wrong with one request must not reach the others
                self._compute(pool, [part])
            return
        start = 0
        for job, items in parts:
            try:
                job.give(rows[start : start + len(items)])
            except Exception as error:
                job.fail(error)
            start += len(items)
