"""What a person sees of long work, on standard error: a bar, or plain lines now and then where that is no terminal.

rich is imported where something is shown, since what programs read is printed without it.
"""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn

_PLAIN_SECONDS = 30.0


def plain_console(
    *,
    stderr: bool = False,
    soft_wrap: bool = False,
    quiet: bool = False,
    file: TextIO | None = None,
    width: int | None = None,
) -> "Console":
    """A console that prints text as it stands; `:x:` or square brackets in a path, a label or an error are no markup.

    Args:
        stderr: Standard error instead of standard output.
        soft_wrap: Leave the wrapping of long lines to the terminal, so that a path can be copied whole.
        quiet: Print nothing.
        file: Where to print instead, without colours.
        width: In columns; None takes the terminal's.
    """
    from rich.console import Console

    return Console(
        stderr=stderr,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=soft_wrap,
        quiet=quiet,
        file=file,
        width=width,
        color_system=None if file else "auto",
    )


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun, such as "1 run" or "1,200 runs"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def number(value: float, *, digits: int = 6) -> str:
    """A number as settings are written everywhere: `5e-4`, `2e-3`, `0.1`, `8`.

    Args:
        value: The number; below 0.01 it is written with a power of ten, and a whole number without a decimal point.
        digits: Significant digits of any other number at most; 17 tell any two numbers apart.
    """
    if float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    if abs(value) >= 0.01:
        return f"{value:.{digits}g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"


def duration(seconds: float) -> str:
    """A readable time, such as "12 s", "3.4 min" or "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Display:
    """A bar with lines above it, which stay when the bar goes.

    Args:
        columns: Of the bar.
        console: Standard error if not given.
        indent: Before every line.
        title: Also before it, where lines of several works come one after the other in a log.
        in_lines: Write lines to a terminal, too, instead of a bar.
    """

    def __init__(
        self,
        *columns: "ProgressColumn",
        console: "Console | None" = None,
        indent: str = "",
        title: str = "",
        in_lines: bool = False,
    ) -> None:
        from rich.progress import Progress

        self._console = console or plain_console(stderr=True)
        self._plain = in_lines or not self._console.is_terminal
        self._before = f"{indent}{title}: " if self._plain and title else indent
        self._said_at = time.monotonic()
        self.bar = Progress(*columns, console=self._console, transient=True, disable=self._plain)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bar.stop()

    def say(self, text: str) -> None:
        """Print a line."""
        from rich.text import Text

        self._said_at = time.monotonic()
        self._console.print(Text(f"{self._before}{text}"), soft_wrap=True)

    def say_without_bar(self, text: str) -> None:
        """Print what the bar shows, where there is none and nothing was printed for half a minute."""
        if self._plain and time.monotonic() - self._said_at > _PLAIN_SECONDS:
            self.say(text)
