"""Options objects: a command's parameter that is a dataclass or a pydantic model becomes one option for each field.

A dataclass annotates its fields as a command does its parameters, with `typer.Option`. A pydantic model has all that
options need: types, choices, ranges, defaults and descriptions.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

from tanzaku.cli.commands import metavar_of, with_metavars

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

Command = Callable[..., None]


@dataclass(frozen=True)
class ModelOptions:
    """How the fields of a pydantic model are shown as options, and how they become the parameter's value.

    Attributes:
        model: Its fields become options, and their descriptions the help.
        build: Makes the parameter's value of the options that the user gave, as {field: value}.
        panels: The fields by the heading that they have in the help; those not listed are under "Options".
        names: (flag, metavar) of the fields whose option has another name than the field.
    """

    model: "type[BaseModel]"
    build: Callable[[dict[str, Any]], Any]
    panels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    names: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def with_options(function: Command, **models: ModelOptions) -> Command:
    """The function as Typer takes it: options objects replaced by their options, and metavars in one style.

    Args:
        function: Each of its parameters is annotated for Typer, is of a dataclass, or is named in `models`.
        models: How the parameters that come from pydantic models are made.
    """
    types = {source.model.__name__: source.model for source in models.values()}
    hints = get_type_hints(function, localns=types, include_extras=True)
    classes = {name: hint for name, hint in hints.items() if is_dataclass(hint) and isinstance(hint, type)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in models:
            parameters += _of_model(models[name])
        elif name in classes:
            parameters += _of_dataclass(classes[name])
        else:
            parameters.append(_parameter(name, hints[name], parameter.default))

    @wraps(function)
    def command(context: typer.Context, **values: Any) -> None:
        objects: dict[str, Any] = {}
        for name, kind in classes.items():
            objects[name] = kind(**{one.name: values.pop(one.name) for one in fields(kind)})
        for name, source in models.items():
            of_model = {field: values.pop(field) for field in source.model.model_fields}
            given = {field: value for field, value in of_model.items() if _was_given(context, field)}
            objects[name] = source.build(given)
        function(**values, **objects)

    parameters.append(_parameter("context", typer.Context, inspect.Parameter.empty))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_metavars(command)


class LazyCommand(TyperCommand):
    """A command whose options are created on first use, so that listing the commands does not import their sources.

    Args:
        name: The command's.
        help: Its help, as in a docstring.
        declare: Gives the function with its options.
    """

    def __init__(self, name: str, *, help: str, declare: Callable[[], Command]) -> None:
        super().__init__(name, help=inspect.cleandoc(help), rich_markup_mode="markdown")
        self._declare, self._complete = declare, False

    def get_params(self, ctx: Any) -> list[Any]:
        """The options, those of the declared function."""
        if not self._complete:
            app = typer.Typer(add_completion=False)
            app.command()(self._declare())
            declared = typer.main.get_command(app)
            self.params, self.callback, self._complete = declared.params, declared.callback, True
        return super().get_params(ctx)


def _was_given(context: typer.Context, option: str) -> bool:
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _of_dataclass(kind: type) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    for one in fields(kind):
        yield _parameter(one.name, hints[one.name], inspect.Parameter.empty if one.default is MISSING else one.default)


def _of_model(source: ModelOptions) -> Iterator[inspect.Parameter]:
    panels = {name: panel for panel, names in source.panels.items() for name in names}
    every = source.model.model_fields
    for name in [*panels, *(name for name in every if name not in panels)]:
        info = every[name]
        kind: Any = info.annotation
        flag, metavar = source.names.get(name, (f"--{name.replace('_', '-')}", metavar_of(kind)))
        option = typer.Option(
            f"{flag}/--no-{flag.removeprefix('--')}" if kind is bool else flag,
            metavar=f"{metavar}{_range_of(info)}",
            help=f"{info.description}{_default_of(info)}",
            show_default=False,  # it is part of the help, where it does not need a separate line
            rich_help_panel=panels.get(name),
        )
        yield _parameter(name, Annotated[kind, option], info.default)


def _default_of(info: "FieldInfo") -> str:
    if info.default is None or info.is_required():
        return ""
    shown = {True: "yes", False: "no"}[info.default] if isinstance(info.default, bool) else info.default
    return f" [default: {shown:g}]" if isinstance(shown, float) else f" [default: {shown}]"


def _range_of(info: "FieldInfo") -> str:
    """What a number may be, as Typer writes it: " [x>=1]" or " [0<=x<1]". The model itself checks it."""
    limits = {name: getattr(limit, name) for limit in info.metadata for name in _SIGNS if hasattr(limit, name)}
    lower = [(_SIGNS[name], limit) for name, limit in limits.items() if name in ("gt", "ge")]
    upper = [f"{_SIGNS[name]}{limit}" for name, limit in limits.items() if name in ("lt", "le")]
    if not limits:
        return ""
    if not upper:
        return "".join(f" [x{sign}{limit}]" for sign, limit in lower)
    return f" [{''.join(f'{limit}{_MIRRORED[sign]}' for sign, limit in lower)}x{''.join(upper)}]"


_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_MIRRORED = {">": "<", ">=": "<="}
