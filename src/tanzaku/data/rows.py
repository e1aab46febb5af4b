"""What stands in a row of a table: JSON objects, texts, and where a column is; for all readers alike."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tanzaku.data.raw import RowError
from tanzaku.errors import DataError

_ONE_OBJECT = "Each line is to hold one JSON object."


def column_index(source: Path, columns: Sequence[str], wanted: str, *, remedy: str) -> int:
    """Where the column is.

    Raises:
        DataError: There is none of this name, or there are several; `remedy` says which option names another.
    """
    if columns.count(wanted) == 1:
        return columns.index(wanted)
    what = f"there are {columns.count(wanted)} columns" if wanted in columns else "there is no column"
    raise DataError(f"{source}: {what} named {wanted!r}. The columns are: {', '.join(map(repr, columns))}. {remedy}")


def parse_json_row(line: str, place: str, *, keys: Sequence[str], remedy: str) -> dict[str, Any]:
    """The JSON object in a line, which has all of `keys`.

    Raises:
        RowError: It is not one, or lacks a key; `remedy` says which option names another.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RowError(f"{place}: is not JSON: {error}", _ONE_OBJECT) from error
    if not isinstance(row, dict):
        raise RowError(f"{place}: holds a JSON {type(row).__name__}", _ONE_OBJECT)
    for name in keys:
        if name not in row:
            raise RowError(f"{place}: there is no key {name!r}, the keys are: {', '.join(map(repr, row))}", remedy)
    return row


def text_of(value: Any, place: str) -> str:
    """A value as a text; a missing one is empty.

    Raises:
        RowError: It is of another type.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise RowError(f"{place}: the text is {value!r}, a {type(value).__name__}", "Texts are to be strings.")
