"""What all child processes have in common: none imports the main script, and all end with their parent; and how
interruptions wait."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_lock = threading.Lock()
_mains: list[ModuleType] = []
"""The main script, once for each `without_main` that is in use."""


@contextmanager
def without_main() -> Iterator[None]:
    """Start processes that do not import the main script.

    `multiprocessing` has each new process import it, which would run a script that has no
    `if __name__ == "__main__":` a second time. Ours need nothing from it. Several threads may do so at the same time.
    """
    with _lock:
        if not _mains:
            _mains.append(sys.modules["__main__"])
            sys.modules["__main__"] = ModuleType("__main__")
        else:
            _mains.append(_mains[0])
    try:
        yield
    finally:
        with _lock:
            main = _mains.pop()
            if not _mains:
                sys.modules["__main__"] = main


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the end.

    Python drops a `KeyboardInterrupt` that is raised while the garbage collector calls something back, as it does for
    SQLAlchemy. Signals interrupt the main thread only, so in another one there is nothing to do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda number, _: waiting.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None was not set by Python
        for caught in dict.fromkeys(waiting):
            signal.raise_signal(caught)


def end_with_parent() -> None:
    """Have this process end as soon as the one that started it is gone, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
