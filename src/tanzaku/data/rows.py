"""What is in a row of a table: JSON objects, texts, labels, and where a column is; for all readers alike."""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tanzaku.data.decoding import is_text
from tanzaku.data.raw import HALF_CHARACTER, RowError
from tanzaku.errors import DataError

_ONE_OBJECT = "Each line is to hold one JSON object."


def column_index(source: Path | str, columns: Sequence[str], wanted: str, *, remedy: str) -> int:
    """Where the column is.

    Raises:
        DataError: There is none of this name, or there are several; `remedy` says which option names another.
    """
    if columns.count(wanted) == 1:
        return columns.index(wanted)
    what = f"there are {columns.count(wanted)} columns" if wanted in columns else "there is no column"
    raise DataError(f"{source}: {what} named {wanted!r}. The columns are: {', '.join(map(repr, columns))}. {remedy}")


@contextmanager
def reading_parquet(source: Path | str) -> Iterator[None]:
    """Where a Parquet file is read, which it may not be.

    Raises:
        DataError: It is none, or can't be read.
    """
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise _not_parquet(source, error) from error


def _not_parquet(source: Path | str, error: Exception) -> DataError:
    return DataError(f"{source}: can't be read as Parquet: {str(error).rstrip('.')}. Write it again.")


def parquet_columns(source: Path) -> tuple[str, ...]:
    """The columns of a Parquet file.

    Raises:
        DataError: It is none, or can't be read.
    """
    import pyarrow.parquet as pq

    with reading_parquet(source):
        return tuple(pq.read_schema(source).names)


def python_values(table: Any, source: Path | str) -> list[Any]:
    """The values of a batch of Parquet's rows, or of one of its columns.

    Raises:
        DataError: Some have no counterpart in Python: texts that are not UTF-8, or dates after the year 9999.
    """
    try:
        found: list[Any] = table.to_pylist()
    except (ValueError, OverflowError) as error:
        raise _not_parquet(source, error) from error
    return found


def parse_json_row(line: str, place: str, *, keys: Sequence[str] = (), remedy: str = "") -> dict[str, Any]:
    """The JSON object in a line, which has all of `keys`.

    Raises:
        RowError: It is not one, or lacks a key; `remedy` names the option for another.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RowError(f"{place}: is not JSON: {error}", _ONE_OBJECT, kind="json") from error
    if not isinstance(row, dict):
        raise RowError(f"{place}: holds a JSON {type(row).__name__}", _ONE_OBJECT, kind="json")
    for name in keys:
        if name not in row:
            there = ", ".join(map(repr, row))
            raise RowError(f"{place}: there is no key {name!r}, the keys are: {there}", remedy, kind="missing-key")
    return row


def empty_object(place: str) -> RowError:
    """The error of a JSON object without keys."""
    return RowError(f"{place}: holds a JSON object without keys", _ONE_OBJECT, kind="json")


def text_of(value: Any, place: str) -> str:
    """A value as a text; a missing one is empty.

    Raises:
        RowError: It is of another type.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise RowError(
        f"{place}: the text is {value!r}, of the type {type(value).__name__}",
        "Texts must be strings.",
        kind="text-type",
    )


def readable_text_of(value: Any, place: str) -> str:
    """As `text_of`, for texts that are not checked together later.

    Raises:
        RowError: It is of another type, or holds half a surrogate pair, as JSON can escape it.
    """
    text = text_of(value, place)
    if not is_text(text):
        raise RowError(f"{place}: the text has {HALF_CHARACTER[1]}", HALF_CHARACTER[2], kind=HALF_CHARACTER[0])
    return text


SINGLE_LABEL = (
    "Tanzaku gives each document one label: keep the main one of each row; or make one column per label with the "
    "values yes and no, and train one classifier for each; or, if it is the name of one class, write it without the "
    "separator."
)


def label_of(value: Any, place: str, *, names: Sequence[str] | None = None, what: str = "label") -> str:
    """A label as a name: whole numbers (also `1.0`, as pandas may write them) and booleans become text.

    Args:
        value: The label, or the group, of a row.
        place: Where it is.
        names: The names of the classes if labels are their numbers.
        what: What the value is called.

    Raises:
        RowError: It is of another type.
    """
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # of NumPy
        value = value.item()
    if value is None or (isinstance(value, float) and value != value):  # NaN is pandas' missing value
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return _class_name(int(value), place, names) if names else str(int(value))
    if isinstance(value, str):
        return value
    several = isinstance(value, list | tuple | set | dict) and what == "label"
    remedy = SINGLE_LABEL if several else f"A {what} must be a name or a whole number."
    raise RowError(
        f"{place}: the {what} is {value!r}, of the type {type(value).__name__}",
        remedy,
        kind="several-labels" if several else f"{what}-type",
    )


def _class_name(number: int, place: str, names: Sequence[str]) -> str:
    """The name of a class by its number; -1 is how Hugging Face's data sets say that there is none."""
    if number == -1:
        return ""
    if not 0 <= number < len(names):
        raise RowError(
            f"{place}: the label is {number}",
            f"The data set names classes 0 to {len(names) - 1}.",
            kind="label-number",
        )
    return names[number]


def unused_name(name: str, columns: Collection[str]) -> str:
    """A name for a column that is added to a table: with a prefix if the table has a column of that name."""
    while name in columns:
        name = f"predicted_{name}"
    return name
