"""What the processes of a test do: apart from it, so that they need not import PyTorch first."""

import os
from collections.abc import Callable
from typing import Any


def make_work(kind: str) -> Callable[[list[str]], Any]:
    """Work on a chunk of lines: dies or fails at the line "dead", tells its process, or puts all in capitals."""

    def work(lines: list[str]) -> Any:
        if kind == "dies" and "dead" in lines:
            os._exit(9)
        if kind == "fails" and "dead" in lines:
            raise ValueError("of its own")
        return os.getpid() if kind == "tells" else [line.upper() for line in lines]

    return work
