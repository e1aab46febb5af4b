"""The rows of CSV and TSV files, for the readers of labelled documents and of texts to be classified alike."""

import csv
import itertools
import re
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tanzaku.data.raw import RowError, listed
from tanzaku.display import counted

# By how likely they are, where nothing else decides.
DELIMITERS = {",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "a vertical bar"}
_SAMPLED_LINES = 50
_TITLE_ROWS = 10  # that may be above the names of the columns
_MOST = 0.8
_EXCELS_LINE = re.compile(r'"?sep=(.)"?[\r\n]*')
_ENCLOSE = (
    'Enclose texts that hold the separator or a line break in double quotes, and double the quotes inside them ("").'
)
_SAVE_AGAIN = (
    "A text with a line break needs double quotes around it. If only empty cells at the end are missing, as in CSV "
    "files that Excel writes, delete the empty column, fill it, or save the table as .xlsx."
)


class SeparatedRows:
    """Each row of a table that is not blank, the header too, with the line it starts on, counted from 1.

    A row of separators only, as Excel writes below a table, is blank and counted in `blank`. A line of white space is
    not a row either. In a file of one column, each of these below the header is an empty text, unless nothing at all
    is in the line, which is blank and counted then. The line `sep=;`, as Excel writes it, is not a row.

    Args:
        lines: The file's lines, with their ends.
        source: Names the file in errors, where it is not named anyway.
        delimiter: What separates two fields; None: see `sniff_delimiter`.
        quotes: Whether double quotes enclose fields.
        columns: Names that the header has, by which the delimiter is recognised.
        usual: The delimiter where the content does not show another.

    Raises:
        RowError: While rows are taken: the quotes of a row do not fit.

    Attributes:
        blank: So many rows of separators only, or of nothing in a file of one column, have been left out so far.
        joined: The first and the last line of each row so far that may be several: see `describe_joined`.
    """

    def __init__(
        self,
        lines: Iterable[str],
        source: Path | None = None,
        *,
        delimiter: str | None = None,
        quotes: bool,
        columns: Sequence[str] = (),
        usual: str = ",",
    ) -> None:
        self._lines, self._source, self._quotes = iter(lines), source, quotes
        first = list(itertools.islice(self._lines, _SAMPLED_LINES))
        named = _EXCELS_LINE.fullmatch(first[0]) if first else None
        self._line = 2 if named else 1
        first = first[1:] if named else first
        if delimiter is None and named:
            delimiter = named[1]
        self.delimiter = delimiter or sniff_delimiter(first, columns=columns, usual=usual, quotes=quotes)
        self.blank = 0
        self.joined: list[tuple[int, int]] = []
        self._lines = itertools.chain(first, self._lines)
        self._taken: list[str] = []  # the lines of the row that is being read

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(
            self._noted(),
            delimiter=self.delimiter,
            quoting=csv.QUOTE_MINIMAL if self._quotes else csv.QUOTE_NONE,
            strict=True,
        )
        line, columns, before = self._line, 0, self._line - 1
        try:
            while True:
                with _fields_of_any_length():
                    row = next(reader, None)
                if row is None:
                    return
                if any(field.strip() for field in row) or len(row) == columns == 1:
                    columns = columns or len(row)
                    if self._could_be_several(columns):
                        self.joined.append((line, reader.line_num + before))
                    yield line, row
                elif len(row) > 1 or columns == 1:
                    self.blank += 1
                self._taken.clear()
                line = reader.line_num + before + 1
        except csv.Error as error:
            raise RowError(
                f"{f'{self._source}: ' if self._source else ''}the row from line {line} on can't be read: {error}",
                'Double the quotes inside a quoted field (""), or pass --no-quotes if double quotes are plain text in '
                "this file.",
                kind="quotes",
            ) from error

    def _noted(self) -> Iterator[str]:
        for line in self._lines:
            self._taken.append(line)
            yield line

    def _could_be_several(self, columns: int) -> bool:
        """Whether each line of the row would be a row with as many fields as the header if quotes were plain text."""
        if len(self._taken) < 2 or columns < 2:
            return False
        with _fields_of_any_length():
            rows = csv.reader(self._taken, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)
            return all(len(row) == columns for row in rows)


def describe_joined(joined: Sequence[tuple[int, int]], *, remedy: str = "pass --no-quotes") -> str | None:
    """What to say of rows that may be several, since a quotation mark opens in one line and closes in another; None if
    there are none.

    A text with a line break looks the same only if each of its lines has just as many separators as there are
    between the columns, so this is a warning and no error.
    """
    if not joined:
        return None
    shown = listed([f"lines {first} to {last}" for first, last in joined])
    return (
        f"{shown}: a double quote opens in the first line and closes in the last, so that these lines became one row. "
        f"If they are rows of their own, {remedy}."
    )


def sniff_delimiter(lines: Sequence[str], *, columns: Sequence[str], usual: str, quotes: bool) -> str:
    """What separates the columns of a file.

    It is the one with which the header has the wanted columns. Where none has, it is the one with which the header has
    several fields and most rows have as many: texts contain commas and semicolons, the names of columns hardly do.

    Args:
        lines: The first lines of the file, with their ends.
        columns: Names that the header is to have.
        usual: The delimiter that is taken where others are not better.
        quotes: Whether double quotes enclose fields.
    """
    best, best_score = usual, (0, 0.0, 1)
    for delimiter in (usual, *(other for other in DELIMITERS if other != usual)):
        rows = _sampled(lines, delimiter, quotes=quotes)
        header, alike = _header_among(rows, set(columns))
        named = len(set(columns) & set(header))
        if not named and (len(header) < 2 or (header is not rows[0] and alike < _MOST)):
            continue
        if (score := (named, round(alike, 1), len(header))) > best_score:
            best, best_score = delimiter, score
    return best


def _header_among(rows: list[list[str]], columns: set[str]) -> tuple[list[str], float]:
    """The likely names of the columns, which may follow a title, and the share of rows with as many fields."""
    if not rows:
        return [], 0.0
    header = max(rows[:_TITLE_ROWS], key=lambda row: len(columns & set(row)))
    if not columns & set(header) and len(header) < 2:
        usual_length = statistics.mode(map(len, rows))
        header = next(row for row in rows if len(row) == usual_length)
    return header, sum(len(row) == len(header) for row in rows) / len(rows)


def _sampled(lines: Sequence[str], delimiter: str, *, quotes: bool) -> list[list[str]]:
    """The rows of some lines, as far as they can be read with this delimiter; the last may be cut off."""
    reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE)
    rows: list[list[str]] = []
    try:
        with _fields_of_any_length():
            rows.extend(row for row in reader if any(field.strip() for field in row))
    except csv.Error:
        pass
    return rows[:-1] if len(lines) == _SAMPLED_LINES and len(rows) > 1 else rows


def check_fields(row: Sequence[object], header: Sequence[str], place: str) -> None:
    """Make sure that a row has as many fields as the header.

    Raises:
        RowError: It has not.
    """
    if len(row) != len(header):
        raise RowError(
            f"{place}: has {counted(len(row), 'field')}, the header has {len(header)}",
            _ENCLOSE if len(row) > len(header) else _SAVE_AGAIN,
            kind="fields",
        )


@contextmanager
def _fields_of_any_length() -> Iterator[None]:
    """Lift Python's limit of 131,072 characters a field, which is the whole process's, for as long as a row is read."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)
