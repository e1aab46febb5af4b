"""The rows of CSV and TSV files, for the readers of labelled documents and of texts to be classified alike."""

import csv
import itertools
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tanzaku.data.raw import RowError
from tanzaku.display import counted
from tanzaku.errors import DataError

_ENCLOSE = (
    'Enclose texts that hold the separator or a line break in double quotes, and double the quotes inside them ("").'
)


def separated_rows(
    lines: Iterable[str], source: Path, *, delimiter: str, quotes: bool
) -> Iterator[tuple[int, list[str]]]:
    """Each row of a table that is not blank, the header too, with the line it starts on, counted from 1.

    A row of separators only, as Excel writes below a table, is blank, and so is a line of white space. In a file of one
    column, each of these below the header is an empty text, unless nothing at all is in the line.

    Args:
        lines: The file's lines, with their ends.
        source: Names the file in errors.
        delimiter: Stands between two fields.
        quotes: Whether double quotes enclose fields.

    Raises:
        DataError: The columns of the first line are separated by something else.
        RowError: The quotes of a row do not fit.
    """
    lines = iter(lines)
    first = next(lines, "")
    _check_delimiter(source, first, delimiter)
    reader = csv.reader(
        itertools.chain([first], lines),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        strict=True,
    )
    line, columns = 1, 0
    try:
        while True:
            with _fields_of_any_length():
                row = next(reader, None)
            if row is None:
                return
            if any(field.strip() for field in row) or len(row) == columns == 1:
                columns = columns or len(row)
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise RowError(
            f"{source}, in the row from line {line} on: {error}",
            'Double the quotes inside a quoted field (""), or pass --no-quotes if double quotes are plain text in this '
            "file.",
        ) from error


def check_fields(row: list[str], header: list[str], place: str) -> None:
    """Make sure that a row has as many fields as the header.

    Raises:
        RowError: It has not.
    """
    if len(row) != len(header):
        raise RowError(f"{place}: has {counted(len(row), 'field')}, the header has {len(header)}", _ENCLOSE)


@contextmanager
def _fields_of_any_length() -> Iterator[None]:
    """Lift Python's limit of 131,072 characters a field, which is the whole process's, for as long as a row is read."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


_DELIMITERS = {",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "a vertical bar"}


def _check_delimiter(source: Path, first_line: str, delimiter: str) -> None:
    """Make sure that the columns' names are not separated by something else.

    Raises:
        DataError: They are; the message names it.
    """
    counts = {each: first_line.count(each) for each in _DELIMITERS}
    seen = max(counts, key=lambda each: counts[each])
    if counts[delimiter] or not counts[seen]:
        return
    remedy = {
        "\t": "Pass --format tsv, or give the file the ending .tsv.",
        ",": "Pass --format csv, or give the file the ending .csv.",
    }.get(seen, "Save it as CSV UTF-8 with commas.")
    raise DataError(
        f"{source}: the columns of the first line, {_cut(first_line)!r}, are separated by {_DELIMITERS[seen]} "
        f"({seen!r}), and {_DELIMITERS[delimiter]} is expected. {remedy}"
    )


def _cut(text: str, width: int = 60) -> str:
    text = text.rstrip("\r\n")
    return text if len(text) <= width else f"{text[:width]}…"
