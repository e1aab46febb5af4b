"""Readers of the user's own documents: CSV, TSV, JSONL, Parquet, and a folder per class.

Each gives a `RawDocuments`: texts and labels as they stand in the source, missing ones as empty strings, and for every
row the place it came from, so that `tanzaku.data.validate` can say where something is wrong.
"""

import csv
import fnmatch
import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tanzaku.data.decoding import DEFAULT_ENCODING, decode_file
from tanzaku.errors import DataError


@dataclass(frozen=True)
class ReadOptions:
    """How to read a source; the defaults suit a UTF-8 CSV file with the columns `text` and `label`."""

    format: str | None = None
    """One of `FORMATS`; None goes by the file's ending."""
    text_column: str = "text"
    """The column, or JSON key, that holds a document's text."""
    label_column: str = "label"
    """The column, or JSON key, that holds its class."""
    encoding: str = DEFAULT_ENCODING
    """The text files' encoding, by Python's name for it; a byte order mark is allowed."""
    quotes: bool = True
    """Whether double quotes enclose fields in CSV and TSV; False takes every quote as text."""
    skip: tuple[str, ...] = ()
    """In a folder per class: patterns (`LICENSE*`) of file names that are not documents."""


@dataclass(frozen=True)
class RawDocuments:
    """Documents as read, row by row; `places[i]` says where row i stands."""

    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """Files of a folder per class that were not read as documents."""

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, text: str, label: str, place: str) -> None:
        """Append one row."""
        self.texts.append(text)
        self.labels.append(label)
        self.places.append(place)


def read_documents(source: Path, *, options: ReadOptions | None = None) -> RawDocuments:
    """Read every document of a file, or of a folder per class, in the order in which they stand there.

    Raises:
        DataError: The source is missing or empty, its format is unknown, a column is missing, or a row can't be read.
    """
    options = options or ReadOptions()
    if not source.exists():
        raise DataError(f"{source}: there is no such file or folder. Check the path.")
    documents = FORMATS[_format_of(source, options.format)](source, options)
    if not len(documents):
        raise DataError(f"{source}: holds no documents.")
    return documents


def _format_of(source: Path, wanted: str | None) -> str:
    name = wanted or ("folder" if source.is_dir() else _ENDINGS.get(source.suffix.lower()))
    if name not in FORMATS:
        what = (
            f"there is no format {wanted!r}" if wanted else f"can't tell the format from the ending {source.suffix!r}"
        )
        raise DataError(f"{source}: {what}. Name one with --format: {', '.join(FORMATS)}.")
    if source.is_dir() != (name == "folder"):
        kind = "a folder" if source.is_dir() else "a file"
        raise DataError(f"{source}: is {kind}, which can't be read as {name}. Leave --format out, or name another.")
    return name


def _read_separated(source: Path, options: ReadOptions, *, delimiter: str) -> RawDocuments:
    content = decode_file(source, encoding=options.encoding)
    reader = csv.reader(
        io.StringIO(content, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if options.quotes else csv.QUOTE_NONE,
        strict=True,
    )
    rows = _numbered_rows(reader, source)
    _, header = next(rows, (0, None))
    if header is None:
        raise DataError(f"{source}: is empty. A first line with the columns' names is needed.")
    text_at, label_at = (_column(source, header, name) for name in (options.text_column, options.label_column))
    documents = RawDocuments()
    for number, (line, row) in enumerate(rows, start=1):
        place = f"{source} row {number} (line {line})"
        if len(row) != len(header):
            raise DataError(
                f"{place}: has {len(row)} fields, the header has {len(header)}. Enclose texts that hold the separator "
                'or a line break in double quotes, and double the quotes inside them ("").'
            )
        documents.add(row[text_at], row[label_at], place)
    return documents


def _numbered_rows(reader: Any, source: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the line it starts on, counted from 1."""
    previous_limit = csv.field_size_limit(sys.maxsize)  # a document may well pass the default of 131,072 characters
    try:
        line = 1
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f'{source}, in the row from line {line} on: {error}. Double the quotes inside a quoted field (""), '
            "or pass --no-quotes if double quotes are plain text in this file."
        ) from error
    finally:
        csv.field_size_limit(previous_limit)


def _column(source: Path, columns: list[str], wanted: str) -> int:
    if columns.count(wanted) == 1:
        return columns.index(wanted)
    what = f"there are {columns.count(wanted)} columns" if wanted in columns else "there is no column"
    raise DataError(
        f"{source}: {what} named {wanted!r}. The columns are: {', '.join(map(repr, columns))}. "
        "Name the right ones with --text-column and --label-column."
    )


def _read_json_lines(source: Path, options: ReadOptions) -> RawDocuments:
    documents = RawDocuments()
    # Not str.splitlines: it would also split at U+2028, which may stand inside a JSON string.
    for number, line in enumerate(decode_file(source, encoding=options.encoding).split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{source} line {number}"
        row = _parse_json_row(line, place)
        for name in (options.text_column, options.label_column):
            if name not in row:
                raise DataError(
                    f"{place}: there is no key {name!r}. The keys are: {', '.join(map(repr, row))}. "
                    "Name the right ones with --text-column and --label-column."
                )
        documents.add(_text(row[options.text_column], place), _label(row[options.label_column], place), place)
    return documents


def _parse_json_row(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: is not JSON: {error}. Each line is to hold one JSON object.") from error
    if not isinstance(row, dict):
        raise DataError(f"{place}: holds a JSON {type(row).__name__}. Each line is to hold one JSON object.")
    return row


def _read_parquet(source: Path, options: ReadOptions) -> RawDocuments:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_schema(source).names
        wanted = [columns[_column(source, columns, name)] for name in (options.text_column, options.label_column)]
        table = pq.read_table(source, columns=wanted)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{source}: can't be read as Parquet: {error}.") from error
    documents = RawDocuments()
    pairs = zip(table[wanted[0]].to_pylist(), table[wanted[1]].to_pylist(), strict=True)
    for number, (text, label) in enumerate(pairs, start=1):
        place = f"{source} row {number}"
        documents.add(_text(text, place), _label(label, place), place)
    return documents


def _text(value: Any, place: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise DataError(f"{place}: the text is {value!r}, a {type(value).__name__}. Texts are to be strings.")


def _label(value: Any, place: str) -> str:
    """A label as a name: whole numbers (also `1.0`, as pandas may write them) and booleans become text."""
    if value is None or value != value:  # NaN, pandas' missing value, differs from itself
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    if isinstance(value, str):
        return value
    raise DataError(
        f"{place}: the label is {value!r}, a {type(value).__name__}. Labels are to be names or whole numbers."
    )


def _read_folder_per_class(source: Path, options: ReadOptions) -> RawDocuments:
    documents = RawDocuments()
    for entry in sorted(source.iterdir()):
        if entry.is_dir() and not entry.name.startswith("."):
            _read_class_folder(entry, options, documents)
        else:
            documents.unread.append(entry.name)
    return documents


def _read_class_folder(folder: Path, options: ReadOptions, documents: RawDocuments) -> None:
    for path in sorted(folder.iterdir()):
        place = f"{folder.name}/{path.name}"
        skipped = any(fnmatch.fnmatch(path.name, pattern) for pattern in options.skip)
        if path.is_file() and path.suffix.lower() == ".txt" and not path.name.startswith(".") and not skipped:
            documents.add(decode_file(path, encoding=options.encoding), folder.name, place)
        else:
            documents.unread.append(place)


FORMATS: dict[str, Callable[[Path, ReadOptions], RawDocuments]] = {
    "csv": lambda source, options: _read_separated(source, options, delimiter=","),
    "tsv": lambda source, options: _read_separated(source, options, delimiter="\t"),
    "jsonl": _read_json_lines,
    "parquet": _read_parquet,
    "folder": _read_folder_per_class,
}
_ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
