"""The processes of a study, one for each run, trial and pretraining. No crash or allocation of one concerns another."""

import contextlib
import errno
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from tanzaku.errors import ProcessError, describe_os_error
from tanzaku.processes import end_with_parent, without_main
from tanzaku.threads import settle_threads, settled_threads

FINISHED, FAILED, UNWRITABLE, BUSY, INTERRUPTED = 0, 1, 74, 75, 130
_ASKED = {-signal.SIGINT, -signal.SIGTERM}
_LONGEST_WAIT = 3600.0  # seconds; the system waits for a few weeks at most
# What every other run would fail of as well.
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
_PRELOADED = [
    "tanzaku.study.server",
    "torch",
    "transformers",
    "peft",
    "sklearn.svm",
    "scipy.stats",
    "tanzaku.study.run",
]


class StudyInterrupted(Exception):  # noqa: N818 - somebody asked for it, so it is no error
    """The study was asked to stop; the same command resumes it."""


class DeadlineOver(StudyInterrupted):
    """There is no time left, and nobody asked it to stop."""


def process_context() -> Any:
    """Fork from a server process that has imported everything heavy and done nothing else, where there is fork."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    resource_tracker.ensure_running()  # which unblocks what is blocked next
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited, before `server` does it
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


@dataclass(frozen=True)
class Ended:
    """How a child process ended."""

    status: int
    """What its work returned; `UNWRITABLE` where its files could not be written, `INTERRUPTED` where this process was
    asked to stop meanwhile, and otherwise how it died, as `Process.exitcode`."""
    complaint: str | None
    """Why it could not do its work, where it said so."""


@dataclass(frozen=True)
class Child:
    """This process, as the work that it was started for sees it."""

    asked_to_stop: Callable[[], bool]
    _parent: Connection

    def end_when_asked(self) -> None:
        """From now on, end at once when asked to stop: for work that leaves nothing to resume from.

        The system does it, since no handler of ours runs while a library computes.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        if self.asked_to_stop():
            sys.exit(INTERRUPTED)

    def ask(self, question: Any) -> Any:
        """The answer that the parent's `answer` has to a question.

        Raises:
            EOFError, ConnectionError: The parent does not answer any more: it was asked to stop.
        """
        self._parent.send((True, question))
        return self._parent.recv()

    def complain(self, reason: str) -> None:
        """Say why the work can't be done; the parent finds it in `Ended.complaint`."""
        with contextlib.suppress(ConnectionError):  # the parent was asked to stop, and does not listen
            self._parent.send((False, reason))


class StartedChild:
    """A process that does some work.

    Args:
        work: A function of a module's top level, called with the `Child` and the arguments; it returns the exit status.
        arguments: They pickle.
        name: Of the process.
        answer: Answers what the work asks with `Child.ask`.
        threads: How many threads it computes with; None takes those of this process.
    """

    def __init__(
        self,
        work: Callable[..., int],
        arguments: dict[str, Any],
        *,
        name: str,
        answer: Callable[[Any], Any] | None = None,
        threads: int | None = None,
    ) -> None:
        context = process_context()
        self._connection, theirs = context.Pipe()
        # The server that it is forked from may have been started with another number.
        threads = settled_threads() if threads is None else threads
        self._process = context.Process(target=_begin, args=(work, theirs, threads, arguments), name=name)
        self._answer = answer
        self._complaint: str | None = None
        self._listening, self._stopped = True, False
        with without_main():
            self._process.start()
        theirs.close()

    def sources(self) -> list[Any]:
        """What `multiprocessing.connection.wait` is to wait for."""
        return [self._process.sentinel, *([self._connection] if self._listening else [])]

    def has_ended(self, ready: Collection[Any]) -> bool:
        """Whether the process has ended, given which of its `sources` are ready; takes a message if there is one."""
        if not (self._listening and self._connection in ready):
            return self._process.sentinel in ready
        try:
            is_question, content = self._connection.recv()
            if not is_question:
                self._complaint = content
            elif self._answer:
                self._connection.send(self._answer(content))
        except (EOFError, ConnectionError):  # it has ended, maybe while it asked
            self._listening = False
        return False

    def stop(self) -> None:
        """Ask it to save a checkpoint and end; if it waits for an answer, the closed pipe ends it."""
        self._process.terminate()
        self._stopped = True

    def kill(self) -> None:
        """End it at once, if it still runs."""
        self._process.kill()
        self._process.join()

    def join(self) -> Ended:
        """Wait for its end."""
        self._connection.close()
        self._process.join()
        status = int(self._process.exitcode)
        asked = self._stopped or status in _ASKED
        return Ended(INTERRUPTED if asked else status, self._complaint)


def first_to_end(children: Sequence[StartedChild], *, deadline: float | None = None) -> StartedChild:
    """Answer the children's questions until one of them has ended.

    Raises:
        DeadlineOver: The deadline (of `time.monotonic`) is over.
        KeyboardInterrupt: The terminal's Ctrl-C came, which it sends to the children as well.
    """
    while True:
        ready = wait([source for child in children for source in child.sources()], _seconds_until(deadline))
        ended = [child for child in children if child.has_ended(ready)]
        if ended:
            return ended[0]
        if not ready and deadline is not None and time.monotonic() >= deadline:
            raise DeadlineOver


def run_child(
    work: Callable[..., int],
    *,
    name: str,
    answer: Callable[[Any], Any] | None = None,
    **arguments: Any,
) -> Ended:
    """Do some work in a process of its own, and wait for its end; Ctrl-C asks it to stop. See `StartedChild`."""
    child = StartedChild(work, arguments, name=name, answer=answer)
    try:
        first_to_end([child])
    except KeyboardInterrupt:
        child.stop()
    return child.join()


def _seconds_until(deadline: float | None) -> float | None:
    return None if deadline is None else min(_LONGEST_WAIT, max(0.0, deadline - time.monotonic()))


def _begin(work: Callable[..., int], parent: Connection, threads: int, arguments: dict[str, Any]) -> None:
    settle_threads(threads)
    child = Child(_begin_child(), parent)
    try:
        status = work(child, **arguments)
    except OSError as error:
        child.complain(describe_os_error(error))
        status = UNWRITABLE
    sys.exit(status)


def is_of_the_disk(error: Exception) -> bool:
    """Whether an error says that nothing more can be written, so that a study had better stop."""
    return isinstance(error, OSError) and error.errno in _OF_THE_DISK


def unwritable(name: str, ended: Ended) -> ProcessError:
    """The error that ends a study after a run's process ended as `UNWRITABLE`."""
    reason = ended.complaint or "its files could not be written"
    return ProcessError(
        f"the run {name} stopped, and the study with it: {reason}. What has ended is safe, and the same command "
        "resumes the study"
    )


def _begin_child() -> Callable[[], bool]:
    """Set up this process, which `run_child` started; gives the function that says whether it was asked to stop.

    It ends with the process that started it: a killed study must not go on computing unseen.
    """
    end_with_parent()
    # No `threading.Event`: a second signal that arrives while the first one sets it would wait for its lock for ever.
    # One sent to the whole process group comes twice, from the study as well.
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: asked.append(number))
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})  # held back since `server`
    return lambda: bool(asked)


def describe_death(status: int) -> str:
    """What a process died of, by its exit status, for a person."""
    if status >= 0:
        return f"the process ended with status {status}"
    name = signal.Signals(-status).name
    remedy = "; usually the machine had run out of memory: a smaller batch_size or max_tokens needs less"
    return f"the process was ended by {name}{remedy if name == 'SIGKILL' else ''}"
