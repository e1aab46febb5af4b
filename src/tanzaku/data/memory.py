"""Documents that are in memory already: a DataFrame of pandas or polars, a table of pyarrow, a `Dataset` of Hugging
Face, or pairs of a text and a label. None of these libraries is imported."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tanzaku.errors import DataError

_AS_LIST = ("to_pylist", "to_list", "tolist")


def is_table(source: object) -> bool:
    """Whether an object has named columns: `columns` or `column_names`, and `source[name]`."""
    names = getattr(source, "column_names", getattr(source, "columns", None))
    return hasattr(source, "__getitem__") and isinstance(names, Iterable) and not isinstance(source, str | bytes)


def column_names(source: Any) -> list[str]:
    """The names of its columns."""
    return [str(name) for name in getattr(source, "column_names", getattr(source, "columns", ()))]


def table_rows(source: Any, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The rows of these columns; a missing value of any library is None, and so are those of columns of one name."""
    names = column_names(source)
    once = {name: _values(source[_key(source, name)]) for name in columns if names.count(name) == 1}
    nothing = [None] * max(map(len, once.values()), default=0)
    values = [once.get(name, nothing) for name in columns]
    return ((*map(_without_missing, row),) for row in zip(*values, strict=True))


def is_column(source: object) -> bool:
    """Whether an object is a column of values: a list, an array, or the column of a table of any library."""
    if isinstance(source, str | bytes | Mapping) or is_table(source):
        return False
    return isinstance(source, Sequence) or any(hasattr(source, method) for method in _AS_LIST)


def column_values(column: Any) -> list[Any]:
    """The values of a column; a missing value of any library is None.

    Raises:
        DataError: It is an array of several dimensions, or of none.
    """
    shape = getattr(column, "shape", (0,))
    if len(shape) != 1:
        raise DataError(f"an array has the shape {tuple(shape)}; texts and labels are columns, of the shape (n,)")
    return [*map(_without_missing, _values(column))]


def label_names(source: Any, column: str) -> Sequence[str] | None:
    """The names of the classes, where a `Dataset` of Hugging Face stores labels as their numbers."""
    features = getattr(source, "features", None)
    names = getattr(features.get(column), "names", None) if isinstance(features, Mapping) else None
    return list(names) if names else None


def check_not_splits(source: object) -> None:
    """Refuse a dictionary of data sets.

    Raises:
        DataError: It is one.
    """
    if isinstance(source, Mapping) and source and all(is_table(part) for part in source.values()):
        raise DataError(
            f"this is a dictionary of the splits {', '.join(map(repr, source))}. Give one of them, or all with "
            "import_splits(train=…, val=…, test=…)."
        )


def _key(source: Any, name: str) -> Any:
    """The column's own name, which may be a number in pandas."""
    names = getattr(source, "column_names", getattr(source, "columns", ()))
    return next(key for key in names if str(key) == name)


def _values(column: Any) -> list[Any]:
    for method in _AS_LIST:
        if hasattr(column, method):
            return list(getattr(column, method)())
    return list(column)


def _without_missing(value: Any) -> Any:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    return None if isinstance(value, float) and value != value else value
