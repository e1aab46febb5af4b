"""The rows of CSV and TSV files, for the readers of labelled documents and of texts to be classified alike."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tanzaku.data.raw import RowError
from tanzaku.errors import DataError

ENCLOSE = (
    'Enclose texts that hold the separator or a line break in double quotes, and double the quotes inside them ("").'
)


def rows_with_lines(reader: Any, source: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row of a CSV reader that is not blank, with the line it starts on, counted from 1.

    A row of separators only, as Excel writes below a table, is blank, and so is a line of white space. In a file of one
    column, each of these below the header is an empty text, unless nothing at all is in the line.

    Raises:
        RowError: The quotes of a row do not fit.
    """
    line, columns = 1, 0
    try:
        for row in reader:
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


_DELIMITERS = {",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "a vertical bar"}


def check_delimiter(source: Path, first_line: str, delimiter: str) -> None:
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
