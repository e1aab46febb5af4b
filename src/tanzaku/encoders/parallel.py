"""Text goes through several processes and comes back in order."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from tanzaku.errors import ProcessError

Result = TypeVar("Result")

_Work = Callable[[list[str]], Any]
_make_work: list[_Work] = []
# What starting a process raises where the system, a sandbox or an argument does not allow it.
_NO_PROCESS = (OSError, RuntimeError, NotImplementedError, ImportError, TypeError, AttributeError, pickle.PicklingError)

_NOT_STARTED = "tokenising processes can't be started here: {error} (tanzaku pretrain takes --workers 1)"


def map_chunks(
    chunks: Iterable[list[str]], *, maker: Callable[..., Callable[[list[str]], Result]], arguments: tuple, workers: int
) -> Iterator[Result]:
    """`maker(*arguments)(chunk)` for every chunk, in order.

    Args:
        chunks: Lists of lines or texts.
        maker: A function of a module's top level; each process calls it once. (A MeCab tagger does not pickle.)
        arguments: Its arguments, which pickle.
        workers: Processes; 1 works in this one, as does a process that may have no children.

    Raises:
        ProcessError: A process could not be started, or died, for want of memory perhaps.
    """
    if workers == 1 or multiprocessing.current_process().daemon:
        yield from map(maker(*arguments), chunks)
        return
    pool = _start_pool(workers, maker, arguments)
    waiting: deque[Future[Result]] = deque()
    try:
        for chunk in chunks:
            waiting.append(_submit(pool, chunk))
            if len(waiting) >= 3 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise ProcessError(
            "a tokenising process died, for want of memory perhaps (tanzaku pretrain takes --workers 1)"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def end_with_parent() -> None:
    """Have this process end as soon as the one that started it is gone, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _start_pool(workers: int, maker: Callable[..., _Work], arguments: tuple) -> ProcessPoolExecutor:
    try:
        # A forked child would inherit PyTorch's threads in whatever state they are.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(workers, mp_context=context, initializer=_set_up, initargs=(maker, arguments))
    except _NO_PROCESS as error:
        raise ProcessError(_NOT_STARTED.format(error=error)) from error


def _submit(pool: ProcessPoolExecutor, chunk: list[str]) -> Future[Any]:
    try:
        return pool.submit(_do, chunk)
    except BrokenProcessPool:
        raise
    except _NO_PROCESS as error:
        raise ProcessError(_NOT_STARTED.format(error=error)) from error


def _set_up(maker: Callable[..., _Work], arguments: tuple) -> None:
    # A terminal sends Ctrl-C to every process; what follows from it is for the one that waits for the results.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    _make_work.append(maker(*arguments))


def _do(chunk: list[str]) -> Any:
    return _make_work[0](chunk)
