"""The words of the page in its languages, one TOML file each; every language has the same keys and placeholders."""

from __future__ import annotations

import string
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

Language = Literal["en", "ja"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
_FOLDER = Path(__file__).parent / "languages"


@dataclass(frozen=True)
class Words:
    """The words of one language, looked up as `words("verdict.open", margin="0.5")`."""

    language: Language
    entries: dict[str, str]
    """By dotted key."""

    def __call__(self, key: str, **values: object) -> str:
        """The text with its placeholders filled, as `filled` does it.

        Raises:
            KeyError: There is no such key, or a placeholder got no value.
        """
        return filled(self.entries[key], **values) if values else self.entries[key]

    def below(self, prefix: str) -> dict[str, str]:
        """The texts whose keys begin with `prefix` and a dot, by the rest of the key."""
        return {
            key.removeprefix(f"{prefix}."): text for key, text in self.entries.items() if key.startswith(f"{prefix}.")
        }

    def get(self, key: str, otherwise: str) -> str:
        """The text, or `otherwise` where the language has none, as for a method that is newer than its words."""
        return self.entries.get(key, otherwise)


class _Formatter(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        one, bar, more = format_spec.removeprefix(",").partition("|")
        if not bar:
            return str(super().format_field(value, format_spec))
        number = f"{value:,}" if format_spec.startswith(",") else str(value)
        return f"{number} {one if value == 1 else more}"


def filled(text: str, **values: object) -> str:
    """`text` with its placeholders filled; `{runs:run|runs}` is a number with the first word where it is 1.

    `{documents:,text|texts}` separates thousands too.

    Raises:
        KeyError: A placeholder got no value.
    """
    return _Formatter().vformat(text, (), values)


@cache
def words_of(language: Language) -> Words:
    """The words of a language."""
    content = tomllib.loads((_FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
    return Words(language, dict(_flat(content)))


def _flat(content: dict[str, Any], *, prefix: str = "") -> list[tuple[str, str]]:
    entries: list[tuple[str, str]] = []
    for key, value in content.items():
        entries += _flat(value, prefix=f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return entries
