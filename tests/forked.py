"""Processes as fresh as a new interpreter's at the price of a fork.

They are forked from the server that a study's runs are forked from, which has imported PyTorch and done nothing else. A
new interpreter takes some seconds to import it, and as many for a server of its own if it makes runs.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from tanzaku.cli import main
from tanzaku.processes import without_main
from tanzaku.study.process import process_context


class Forked:
    """A process that calls a function; what it prints is in files of `folder`.

    The function is found again by its name, so its module should import little more than Tanzaku.
    """

    def __init__(self, function: Callable[..., object], *arguments: Any, folder: Path) -> None:
        self._printed = folder / f"{function.__name__}-{len(list(folder.iterdir()))}"
        self._printed.mkdir()
        for name in ("stdout", "stderr"):
            (self._printed / name).touch()
        # The server may be older than what a fixture has put into the environment, such as Ray's way to authenticate.
        begin = (dict(os.environ), function, arguments, self._printed)
        self._process = process_context().Process(target=_begin, args=begin)
        with without_main():
            self._process.start()

    @property
    def pid(self) -> int:
        """Its number."""
        return int(self._process.pid)

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        status: int | None = self._process.exitcode
        return status

    def kill(self) -> None:
        """End it with SIGKILL, but not what it has started."""
        self._process.kill()
        self._process.join()

    def wait(self) -> int:
        """Wait for its end, and give the exit status."""
        self._process.join()
        return int(self._process.exitcode)

    def finish(self, *, status: int = 0) -> str:
        """Wait for its end, which must have this exit status, and give its standard output."""
        assert self.wait() == status, self.errors
        return self.output

    @property
    def output(self) -> str:
        """Its standard output until now."""
        return (self._printed / "stdout").read_text(encoding="utf-8")

    @property
    def errors(self) -> str:
        """Its standard error until now."""
        return (self._printed / "stderr").read_text(encoding="utf-8")


def start_tanzaku(*arguments: object, folder: Path) -> Forked:
    """Start the command line."""
    return Forked(_tanzaku, *map(str, arguments), folder=folder)


def call(function: Callable[..., object], *arguments: Any, folder: Path) -> str:
    """Call a function in a fresh process, to the end; gives what it printed."""
    return Forked(function, *arguments, folder=folder).finish()


def _tanzaku(*arguments: str) -> None:
    sys.argv = ["tanzaku", *arguments]
    main()


def _begin(
    environment: dict[str, str], function: Callable[..., object], arguments: tuple[Any, ...], printed: Path
) -> None:
    os.setsid()
    os.environ.update(environment)
    # What this process starts is forked from the same server. Python means that (see `ForkServer.ensure_running`), but
    # only looks for a server that is a child of the process itself.
    for server in (forkserver, forkserver._forkserver):  # the module has a name for the method of before
        server.ensure_running = lambda: None  # type: ignore[method-assign, union-attr]
    # Held back since `tanzaku.study.server`.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    for stream, name in ((sys.stdout, "stdout"), (sys.stderr, "stderr")):
        file = os.open(printed / name, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, stream.fileno())
        os.close(file)
    function(*arguments)
