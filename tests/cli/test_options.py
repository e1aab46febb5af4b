"""Options objects: dataclasses whose fields are options of several commands."""

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner, Result

from tanzaku.cli.options import with_options


@dataclass(frozen=True)
class Size:
    """Two options, one of them required."""

    width: Annotated[int, typer.Option(min=1, help="In cells.")]
    fill: Annotated[str | None, typer.Option("--fill-with", help="A character.", show_default="a blank")] = None


def _call(*given: str) -> tuple[Result, list[tuple[Any, ...]]]:
    received: list[tuple[Any, ...]] = []

    def command(size: Size, name: Annotated[str, typer.Argument()], loud: bool = False) -> None:
        """Take the object."""
        received.append((size, name, loud))

    app = typer.Typer()
    app.command()(with_options(command))
    return CliRunner().invoke(app, given, env={"COLUMNS": "120", "TERMINAL_WIDTH": "120"}), received


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (["--width", "3"], Size(width=3)),
        (["--fill-with", "x", "--width", "2"], Size(width=2, fill="x")),
    ],
)
def test_the_fields_are_options_and_the_command_gets_the_object(given: list[str], size: Size) -> None:
    result, received = _call("its-name", *given)
    assert result.exit_code == 0, result.output
    assert received == [(size, "its-name", False)]


@pytest.mark.parametrize(
    ("given", "message"), [([], "Missing option '--width'"), (["--width", "0"], "Invalid value for '--width'")]
)
def test_a_field_without_default_is_required_and_its_range_is_checked(given: list[str], message: str) -> None:
    result, received = _call("its-name", *given)
    assert result.exit_code == 2
    assert message in result.stderr
    assert received == []


def test_the_help_names_the_kinds_of_the_fields_values() -> None:
    shown = " ".join(_call("--help")[0].stdout.replace("│", " ").split())  # a description may take several lines
    assert "--width NUMBER [x>=1] In cells." in shown
    assert "--fill-with TEXT A character. [default: (a blank)]" in shown
