"""Tanzaku's errors and warnings, as one line each on standard error."""

import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from tanzaku.display import plain_console
from tanzaku.errors import TanzakuWarning


def error(message: str) -> None:
    """Print an error that ended the command."""
    _say("error: ", "bold red", message)


def warn(message: str) -> None:
    """Print a warning."""
    _say("warning: ", "bold yellow", message)


def command(*words: object) -> str:
    """A `tanzaku` command for people to copy into a shell, each word quoted if necessary."""
    return shlex.join(["tanzaku", *map(str, words)])


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print Tanzaku's own warnings as one line each; others are shown as usual."""
    with warnings.catch_warnings():
        usual = warnings.showwarning
        warnings.simplefilter("always", TanzakuWarning)

        def show_warning(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, TanzakuWarning):
                warn(str(message))
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show_warning
        yield


def _say(kind: str, style: str, message: str) -> None:
    from rich.text import Text

    console = plain_console(stderr=True, soft_wrap=True)
    console.print(Text.assemble((kind, style), message))
