"""The methods by name: Tanzaku's own, those of installed packages, and those that a program registers."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from tanzaku.errors import MethodError
from tanzaku.methods.interface import EncoderMethod, TextMethod

GROUP = "tanzaku.methods"
"""The entry points of packages that bring methods: the name of one is the method's, its object the method's class."""

MethodClass = type[EncoderMethod] | type[TextMethod]
Class = TypeVar("Class", bound=MethodClass)

_NAME = re.compile(r"[a-z0-9][a-z0-9+._-]*")  # it becomes part of folders' names
_REQUIRED = ("name", "title", "paper")


class MethodRegistry(Mapping[str, MethodClass]):
    """Method classes by their names.

    Entry points are read when a name is asked for that is not Tanzaku's own, and a package's method is imported when it
    is asked for itself, or when all classes are: `values()` and `items()`.
    """

    def __init__(self, methods: Iterable[MethodClass]) -> None:
        self._methods: dict[str, MethodClass] = {}
        self._imported: dict[str, MethodClass] = {}
        for method in methods:
            self.register(method)

    def register(self, method: Class) -> Class:
        """Add a method, under its `name`.

        Raises:
            MethodError: It is no complete method, or there is another one of its name.
        """
        where = f"{method.__module__}.{method.__qualname__}"
        if complaint := _complaint(method):
            raise MethodError(f"{where} {complaint}")
        other = self._methods.get(method.name)
        # A module that is reloaded registers its class again.
        if other is not None and (other.__module__, other.__qualname__) != (method.__module__, method.__qualname__):
            raise MethodError(
                f"{where}: there is a method called {method.name!r} already, {other.__module__}.{other.__qualname__}; "
                "give this one another name"
            )
        self._methods[method.name] = method
        return method

    @property
    def registered(self) -> list[tuple[str, str]]:
        """Module and name of each class that this program registered, which a process that it starts does not know."""
        classes = [(method.__module__, method.__qualname__) for method in self._methods.values()]
        return [(module, name) for module, name in classes if module.partition(".")[0] != "tanzaku"]

    def __getitem__(self, name: str) -> MethodClass:
        """The class of a method.

        Raises:
            KeyError: There is none of this name.
            MethodError: The package that brings it can't be used; the message names the package.
        """
        if name in self._methods:
            return self._methods[name]
        if name not in self._imported:
            self._imported[name] = _import(self._entry_points[name])
        return self._imported[name]

    def __contains__(self, name: object) -> bool:
        return name in self._methods or name in self._entry_points

    def __iter__(self) -> Iterator[str]:
        yield from self._methods
        yield from (name for name in self._entry_points if name not in self._methods)

    def __len__(self) -> int:
        return len(list(iter(self)))

    @cached_property
    def _entry_points(self) -> dict[str, EntryPoint]:
        """By the methods' names, in alphabetical order."""
        entries = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
        counts = Counter(entry.name for entry in entries)
        for entry in entries:
            if entry.name in self._methods:
                other = self._methods[entry.name]
                raise MethodError(
                    f"{_package(entry)} brings a method called {entry.name!r}, and so is {other.__module__}."
                    f"{other.__qualname__}; uninstall the package, or ask its authors for another name"
                )
            if counts[entry.name] > 1:
                packages = " and ".join(sorted(_package(other) for other in entries if other.name == entry.name))
                raise MethodError(f"{packages} both bring a method called {entry.name!r}; uninstall one of them")
        return {entry.name: entry for entry in entries}


def _import(entry: EntryPoint) -> MethodClass:
    where = f"the method {entry.name!r} of {_package(entry)} ({entry.value})"
    try:
        method: Any = entry.load()
    except Exception as error:
        raise MethodError(
            f"{where} can't be imported: {type(error).__name__}: {error}; update or uninstall the package"
        ) from error
    complaint = _complaint(method)
    if complaint is None and method.name != entry.name:
        complaint = f"calls itself {method.name!r}"
    if complaint:
        raise MethodError(f"{where} {complaint}; update or uninstall the package")
    checked: MethodClass = method
    return checked


def _package(entry: EntryPoint) -> str:
    assert entry.dist is not None
    return f"the package {entry.dist.name} {entry.dist.version}"


def _complaint(method: Any) -> str | None:
    """Why a class can't be used as a method, after its name; None where it can."""
    if not inspect.isclass(method) or not issubclass(method, EncoderMethod | TextMethod):
        return "is no subclass of EncoderMethod or TextMethod"
    if missing := [name for name in _REQUIRED if not hasattr(method, name)]:
        return f"lacks the class attribute {missing[0]}"
    if inspect.isabstract(method):
        return f"does not implement {', '.join(sorted(method.__abstractmethods__))}"
    if not _NAME.fullmatch(method.name):
        return f"has the name {method.name!r}; use lower-case letters, digits and - + . _"
    if without := [name for name, field in method.model_fields.items() if field.is_required()]:
        return f"has no default for its option {without[0]}"
    if method.__module__ == "__main__":
        return "is defined in a script, which the processes of a study don't import; define it in a module"
    return None
