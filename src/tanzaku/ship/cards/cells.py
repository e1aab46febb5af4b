"""How a model card writes settings, shares and tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tanzaku.display import number
from tanzaku.markdown import escape_markdown

NONE = "–"


def settings(settings: dict[str, Any]) -> str:
    """Options with their values, those that are not used left out."""
    named = [escape_markdown(str(settings["name"]))] if "name" in settings else []
    used = {key: value for key, value in settings.items() if key != "name" and value is not None}
    return ", ".join([*named, *(f"{escape_markdown(key)} = {escape_markdown(_value(used[key]))}" for key in used)])


def _value(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False)
    return Path(value).name if Path(str(value)).is_absolute() else str(value)  # no path of this machine


def percent(share: float) -> str:
    """A share with two decimals."""
    return f"{100 * share:.2f} %"


def ends(interval: tuple[float, float]) -> str:
    """An interval of a share."""
    low, high = interval
    return f"{100 * low:.2f}–{100 * high:.2f} %"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table; the cells are Markdown already."""
    for cells in (heads, ["---"] * len(heads), *rows):
        yield f"| {' | '.join(cells)} |"
