"""The words of the page in its languages, one TOML file each; every language has the same keys and placeholders."""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

Language = Literal["en", "ja"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
_FOLDER = Path(__file__).parent / "languages"
_MARK = "\0"  # stands for a blank next to a placeholder
_JAPANESE = "[\u3001-\u30ff\u4e00-\u9fff\uff01-\uff60]"
_BETWEEN_JAPANESE = re.compile(f"(?<={_JAPANESE}){_MARK}(?={_JAPANESE})")


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
        text = self.entries[key]
        if not values:
            return text
        return _filled_japanese(text, **values) if self.language == "ja" else filled(text, **values)

    def joined(self, sentences: Iterable[str]) -> str:
        """Sentences one after another: Japanese has no blank between them."""
        return ("" if self.language == "ja" else " ").join(sentences)


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


def _filled_japanese(text: str, **values: object) -> str:
    """As `filled`; a blank before or after a placeholder goes where there is Japanese on both sides of it."""
    marked = text.replace(" {", f"{_MARK}{{").replace("} ", f"}}{_MARK}")
    return _BETWEEN_JAPANESE.sub("", filled(marked, **values)).replace(_MARK, " ")


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
