"""The processes of a study, one a run and one a pretraining: what one crashes or allocates is not the others'."""

import errno
import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from tanzaku.encoders.parallel import end_with_parent, without_main
from tanzaku.errors import ProcessError

FINISHED, UNWRITABLE, BUSY, INTERRUPTED = 0, 74, 75, 130
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


def process_context() -> Any:
    """Fork from a server process that has imported everything heavy and done nothing else, where there is fork."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def run_to_the_end(process: Any, *, deadline: float | None = None) -> int:
    """Start a process and wait for it; its exit status, or `INTERRUPTED` where this one was asked to stop meanwhile.

    At the `deadline` (Unix seconds) the process is asked to stop, and that is its answer too.
    """
    with without_main():
        process.start()
    try:
        process.join(None if deadline is None else max(0.0, deadline - time.time()))
        if process.is_alive():
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        # The terminal sent it to the child as well, or nobody did: either way it now saves a checkpoint and ends.
        process.terminate()
        process.join()
        return INTERRUPTED
    return int(process.exitcode)


def is_of_the_disk(error: Exception) -> bool:
    """Whether an error says that nothing more can be written, so that a study had better stop."""
    return isinstance(error, OSError) and error.errno in _OF_THE_DISK


def unwritable(name: str, complaints: Connection) -> ProcessError:
    """The error that ends a study after a run's process ended as `UNWRITABLE` and said why."""
    reason = complaints.recv() if complaints.poll() else "its files could not be written"
    return ProcessError(
        f"the run {name} stopped, and the study with it: {reason}. What has ended is safe, and the same command "
        "resumes the study"
    )


def begin_child() -> Callable[[], bool]:
    """Set up this process, which `run_to_the_end` started; gives the function that says whether it was asked to stop.

    It ends with the process that started it: a killed study must not go on computing unseen.
    """
    end_with_parent()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # held back since `server`
    return stop.is_set


def describe_death(status: int) -> str:
    """What a process died of, by its exit status, for a person."""
    if status >= 0:
        return f"the process ended with status {status}"
    name = signal.Signals(-status).name
    remedy = "; usually the machine had run out of memory: a smaller batch_size or max_tokens needs less"
    return f"the process was ended by {name}{remedy if name == 'SIGKILL' else ''}"
