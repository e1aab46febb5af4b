"""What the processes of a test do: apart from it, so that they need not import PyTorch first."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def make_work(kind: str) -> Callable[[list[str]], Any]:
    """Work on a chunk of lines: dies or fails at the line "dead", tells its process, or puts all in capitals.

    "dies once: FILE" dies where the file is not there yet, and makes it.
    """

    def work(lines: list[str]) -> Any:
        if kind == "dies" and "dead" in lines:
            os._exit(9)
        if kind.startswith("dies once: ") and not (first := Path(kind.removeprefix("dies once: "))).exists():
            first.touch()
            os._exit(9)
        if kind == "fails" and "dead" in lines:
            raise ValueError("of its own")
        return os.getpid() if kind == "tells" else [line.upper() for line in lines]

    return work


def deadly_encoder(_tokenizer: Any, _max_tokens: int) -> Callable[[list[str]], Any]:
    """In the place of `tokens.text_encoder`: dies at the text "dead"."""
    work = make_work("dies")

    def encode(texts: list[str]) -> Any:
        work(texts)
        return np.zeros(len(texts), dtype=np.int32), np.ones(len(texts), dtype=np.int64)

    return encode
