"""The command line: one thin function a verb, one module a family of verbs. PyTorch and its friends are imported
inside the verbs that use them, so that `tanzaku --help` answers at once."""

import sys
from typing import Annotated

import typer

from tanzaku import __version__
from tanzaku.cli import data, messages, study
from tanzaku.cli.classify import classify
from tanzaku.cli.compress import compress
from tanzaku.cli.doctor import doctor
from tanzaku.cli.messages import warnings_as_lines
from tanzaku.cli.methods import methods
from tanzaku.cli.pack import pack
from tanzaku.cli.pretrain import pretrain
from tanzaku.cli.trim import trim
from tanzaku.errors import TanzakuError
from tanzaku.threads import settle_threads

app = typer.Typer(
    name="tanzaku",
    help="Find, prove and ship the smallest Japanese text classifier that does the job.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(data.app, name="data")
app.add_typer(study.app, name="study")
app.command(name="doctor")(doctor)
app.command(name="methods")(methods)
app.command(name="pretrain")(pretrain)
app.command(name="trim")(trim)
app.command(name="pack")(pack)
app.command(name="compress")(compress)
app.command(name="classify")(classify)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tanzaku {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version
    context.with_resource(warnings_as_lines())


def main() -> None:
    """Run the command line; an error of ours ends it with its message and exit status 1."""
    settle_threads()
    try:
        app()
    except TanzakuError as error:
        messages.error(str(error))
        sys.exit(1)
