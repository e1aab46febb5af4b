"""The group of all commands; the module of each is imported when it is called or listed, so that none waits for others.

The module of a command has the command's name, and a function of that name. Its options are those of the function, or
of what the module's `declare` gives. The module of a group has an `app`.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any, cast

import typer

from tanzaku.cli.commands import NAMES, Commands
from tanzaku.cli.options import LazyCommand, with_options


class Root(Commands):
    """The group of all commands, in the order of `NAMES`."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = cast(Any, _Modules())


class _Modules(Mapping[str, Any]):
    """The commands and groups by name, each made from its module when it is first looked up."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in NAMES:
            raise KeyError(name)
        if name not in self._made:
            self._made[name] = _made_from_module(name)
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


def _made_from_module(name: str) -> Any:
    module = import_module(f"tanzaku.cli.{name}")
    if hasattr(module, "app"):
        group = typer.main.get_group(module.app)
        group.name = name
        return group
    function = getattr(module, name)
    declare = getattr(module, "declare", partial(with_options, function))
    return LazyCommand(name, help=function.__doc__, declare=declare)
