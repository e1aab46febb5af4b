"""How commands are listed, found and described: in the order people use them, with hints and one style of metavars."""

import inspect
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Literal, TextIO, TypeVar, cast, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperGroup

Function = TypeVar("Function", bound=Callable[..., Any])

_EXAMPLE_WIDTH = 76  # of a line in a window of 80 columns

HELP_NAMES = {"help_option_names": ["-h", "--help"]}

# The commands and groups: from documents to labels, then what helps on the way.
NAMES = (
    "fit",
    "data",
    "study",
    "pack",
    "classify",
    "evaluate",
    "inspect",
    "serve",
    "export",
    "compress",
    "doctor",
    "methods",
    "trim",
    "pretrain",
    "distill",
    "push",
    "encoder",
)
# Names from other tools, and commands without their group.
_MEANT = {
    "train": "study run",
    "run": "study run",
    "status": "study status",
    "report": "study report",
    "tune": "study tune",
    "archive": "study archive",
    "restore": "study restore",
    "import": "data import",
    "livedoor": "data livedoor",
    "sample": "data sample",
    "show": "data show",
    "predict": "classify",
    "test": "evaluate",
    "convert": "export",
    "onnx": "export",
    "server": "serve",
    "check": "doctor",
    "help": "--help",
    "version": "--version",
    **{name: name for name in NAMES},  # from inside a group
}


class Commands(TyperGroup):
    """A group of commands."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, with examples that can be copied from a narrow window."""
        found = super().get_command(ctx, cmd_name)
        if found is not None and found.help:
            found.help = folded_examples(found.help)
            found.format_help = partial(_format_help, found)  # type: ignore[method-assign]
        return found

    def invoke(self, ctx: Any) -> Any:
        """Run the command; report an invalid value without the name of Python's exception."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; for an unknown one, suggest the one that was most likely meant."""
        if args and args[0] not in self.commands and args[0] in _MEANT:
            ctx.fail(f"No such command '{args[0]}'. Did you mean 'tanzaku {_MEANT[args[0]]}'?")
        return super().resolve_command(ctx, args)


class _WithoutBlanks:
    """A stream without the blanks with which Rich fills lines: after a backslash, they would end a shell's command."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(re.sub(r" +((?:\x1b\[[\d;]*m)*)$", r"\1", text, flags=re.MULTILINE))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _format_help(command: Any, ctx: Any, formatter: Any) -> None:
    with redirect_stdout(cast("TextIO", _WithoutBlanks(sys.stdout))):
        type(command).format_help(command, ctx, formatter)


def folded_examples(text: str) -> str:
    """The help with long lines of examples divided between options, as a shell reads them."""
    parts = text.split("```")
    if any(" \\\n" in part for part in parts[1::2]):  # it was done before, or by hand
        return text
    code = ("\n".join(map(_folded, part.split("\n"))) for part in parts[1::2])
    return "```".join(next(code) if number % 2 else part for number, part in enumerate(parts))


def _folded(line: str) -> str:
    """A command in several lines, each but the last with a backslash at its end, if it is too long for one."""
    from rich.cells import cell_len

    if cell_len(line) <= _EXAMPLE_WIDTH:
        return line
    words = re.split(r" (?=--|\| )", line)
    lines = [words[0]]
    for word in words[1:]:
        if cell_len(f"{lines[-1]} {word} \\") <= _EXAMPLE_WIDTH:
            lines[-1] += f" {word}"
        else:
            indent = " " * (len(line) - len(line.lstrip()) + 4)
            lines.append(f"{indent}{word}")
    return " \\\n".join(lines)


def with_metavars(function: Function) -> Function:
    """Name the values of a command's options by their kind: PATH, NUMBER, TEXT, or the choices; flags take none."""
    hints = get_type_hints(function, include_extras=True)
    for name in inspect.signature(function).parameters:
        kind, *extras = get_args(hints[name]) or (hints[name],)
        for extra in extras:
            if getattr(extra, "metavar", "") is None and isinstance(extra, typer.models.OptionInfo):
                extra.metavar = metavar_of(kind)
    function.__annotations__ = hints  # Typer is to read these very options, not to evaluate the annotations again
    return function


def metavar_of(kind: Any) -> str:
    """The placeholder for an option's value in the help: PATH, NUMBER, TEXT, the choices, or nothing for a flag."""
    kinds = [one for one in get_args(kind) if one is not type(None)]
    if get_origin(kind) is Literal:
        return "|".join(map(str, kinds))
    if kinds:  # an optional value, or a list
        return metavar_of(kinds[0])
    if issubclass(kind, StrEnum):
        return "|".join(kind)
    return {bool: "", Path: "PATH", int: "NUMBER", float: "NUMBER"}.get(kind, "TEXT")
