"""The command line: one thin function per command, one module per command or group of commands.

PyTorch and other large packages are imported inside the commands that use them, so that `tanzaku --help` is fast.
"""

import atexit
import gc
import io
import sys
from typing import Annotated

import typer

from tanzaku import __version__
from tanzaku.cli import messages
from tanzaku.cli.commands import HELP_NAMES
from tanzaku.cli.messages import warnings_as_lines
from tanzaku.cli.root import Root
from tanzaku.errors import TanzakuError, describe_os_error
from tanzaku.extras import describe_missing
from tanzaku.threads import settle_threads

app = typer.Typer(
    cls=Root,
    context_settings=HELP_NAMES,
    name="tanzaku",
    help="Find, prove and ship the smallest Japanese text classifier that does the job.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tanzaku {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", metavar="", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    del version
    context.with_resource(warnings_as_lines())


def main() -> None:
    """Run the command line; a Tanzaku or operating system error prints its message and exits with status 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # paths may have characters that the terminal can't encode
    # Before the process ends, Python looks for unreachable objects among all that it does not find frozen: 0.1 s.
    atexit.register(gc.freeze)
    settle_threads()
    try:
        app()
    except TanzakuError as error:
        messages.error(str(error))
        sys.exit(1)
    except OSError as error:
        messages.error(describe_os_error(error))
        sys.exit(1)
    except ModuleNotFoundError as error:
        if (message := describe_missing(error)) is None:
            raise
        messages.error(message)
        sys.exit(1)
