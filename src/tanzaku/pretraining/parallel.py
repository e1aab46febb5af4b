"""Text goes through several processes and comes back in order."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from tanzaku.errors import TanzakuError

Result = TypeVar("Result")

_Work = Callable[[list[str]], Any]
_make_work: list[_Work] = []


def map_chunks(
    chunks: Iterable[list[str]], *, maker: Callable[..., Callable[[list[str]], Result]], arguments: tuple, workers: int
) -> Iterator[Result]:
    """`maker(*arguments)(chunk)` for every chunk, in order.

    Args:
        chunks: Lists of lines.
        maker: A function of a module's top level; each process calls it once. (A MeCab tagger does not pickle.)
        arguments: Its arguments, which pickle.
        workers: Processes; 1 works in this one.

    Raises:
        TanzakuError: A process died, for want of memory perhaps.
    """
    if workers == 1:
        yield from map(maker(*arguments), chunks)
        return
    # A forked child would inherit PyTorch's threads in whatever state they are.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_set_up, initargs=(maker, arguments))
    waiting: deque[Future[Result]] = deque()
    try:
        for chunk in chunks:
            waiting.append(pool.submit(_do, chunk))
            if len(waiting) >= 3 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise TanzakuError("a tokenising process died, for want of memory perhaps; try --workers 1") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _set_up(maker: Callable[..., _Work], arguments: tuple) -> None:
    _make_work.append(maker(*arguments))


def _do(chunk: list[str]) -> Any:
    return _make_work[0](chunk)
