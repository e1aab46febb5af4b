"""Text goes through several processes and comes back in order."""

import multiprocessing
import os
import pickle
import signal
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import chain
from typing import Any, TypeVar

from tanzaku.errors import DataError, ProcessError, TanzakuWarning
from tanzaku.processes import end_with_parent, without_main

Result = TypeVar("Result")

_Work = Callable[[list[str]], Any]
_make_work: list[_Work] = []
# What starting a process raises where the system, a sandbox or an argument does not allow it.
_NO_PROCESS = (OSError, RuntimeError, NotImplementedError, ImportError, TypeError, AttributeError, pickle.PicklingError)

_SHOWN_CHARACTERS = 40
_NOT_STARTED = "tokenizing processes can't be started here: {error} (tanzaku pretrain takes --workers 1)"


def map_chunks(
    chunks: Iterable[list[str]],
    *,
    maker: Callable[..., Callable[[list[str]], Result]],
    arguments: tuple[Any, ...],
    workers: int,
) -> Iterator[Result]:
    """`maker(*arguments)(chunk)` for every chunk, in order.

    Where a process dies, one process does the rest: that is enough where memory was short, and shows which text it is
    where a text is the cause.

    Args:
        chunks: Lists of lines or texts.
        maker: A function of a module's top level; each process calls it once. (A MeCab tagger does not pickle.)
        arguments: Its arguments, which pickle.
        workers: Processes; 1 works in this one, as does a process that may have no children.

    Raises:
        ProcessError: A process could not be started, or died, perhaps because it ran out of memory.
        DataError: A text ends every process that works on it; the message names it.
    """
    if workers == 1 or multiprocessing.current_process().daemon:
        yield from map(maker(*arguments), chunks)
        return
    chunks = iter(chunks)
    unfinished: deque[tuple[list[str], Future[Result]]] = deque()
    begun: list[list[str]] = []  # the chunk being submitted: a pool that is already broken refuses it
    done = 0
    try:
        with _pool(workers, maker, arguments) as pool:
            for chunk in chunks:
                begun = [chunk]
                unfinished.append((chunk, _submit(pool, chunk)))
                begun = []
                if len(unfinished) >= 3 * workers:
                    yield unfinished[0][1].result()
                    done += len(unfinished.popleft()[0])
            while unfinished:
                yield unfinished[0][1].result()
                done += len(unfinished.popleft()[0])
    except BrokenProcessPool:
        warnings.warn("a tokenizing process died; continuing with one process", TanzakuWarning, stacklevel=2)
        rest = chain((chunk for chunk, _ in unfinished), begun, chunks)
        yield from _one_by_one(rest, maker, arguments, done=done)


def _one_by_one(
    chunks: Iterable[list[str]], maker: Callable[..., _Work], arguments: tuple[Any, ...], *, done: int
) -> Iterator[Any]:
    """The work in one process, another one than this; `done` texts came before."""
    with _pool(1, maker, arguments) as pool:
        _check_starts(pool)
        for chunk in chunks:
            try:
                result = _submit(pool, chunk).result()
            except BrokenProcessPool as error:
                _name_deadly_text(chunk, maker, arguments, done=done)
                raise ProcessError(
                    "a tokenizing process died, perhaps because it ran out of memory (--workers 1 needs the least)"
                ) from error
            yield result
            done += len(chunk)


def _check_starts(pool: ProcessPoolExecutor) -> None:
    try:
        with without_main():
            started = pool.submit(os.getpid)
        started.result()
    except BrokenProcessPool as error:
        raise ProcessError(_NOT_STARTED.format(error=error)) from error


def _name_deadly_text(chunk: list[str], maker: Callable[..., _Work], arguments: tuple[Any, ...], *, done: int) -> None:
    with _pool(1, maker, arguments) as pool:
        for number, text in enumerate(chunk, start=done + 1):
            try:
                _submit(pool, [text]).result()
            except BrokenProcessPool as error:
                raise DataError(
                    f"text {number:,}, of {len(text):,} characters, which begins with {text[:_SHOWN_CHARACTERS]!r}: "
                    "the process that tokenises it dies. Shorten it, leave it out, or use a machine with more memory."
                ) from error


@contextmanager
def _pool(workers: int, maker: Callable[..., _Work], arguments: tuple[Any, ...]) -> Iterator[ProcessPoolExecutor]:
    try:
        # A forked child would inherit PyTorch's threads in whatever state they are.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_set_up, initargs=(maker, arguments))
    except _NO_PROCESS as error:
        raise ProcessError(_NOT_STARTED.format(error=error)) from error
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, chunk: list[str]) -> Future[Any]:
    try:
        with without_main():
            return pool.submit(_do, chunk)
    except BrokenProcessPool:
        raise
    except _NO_PROCESS as error:
        raise ProcessError(_NOT_STARTED.format(error=error)) from error


def _set_up(maker: Callable[..., _Work], arguments: tuple[Any, ...]) -> None:
    # A terminal sends Ctrl-C to every process; what follows from it is for the one that waits for the results.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    _make_work.append(maker(*arguments))


def _do(chunk: list[str]) -> Any:
    return _make_work[0](chunk)
