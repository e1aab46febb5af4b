"""Texts without labels, one after the other, from a file of any size: what a classifier reads."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tanzaku.data.decoding import DEFAULT_ENCODING, decode_file
from tanzaku.errors import DataError

DEFAULT_COLUMN = "text"
_PARQUET_ROWS = 1024  # read at once


@dataclass(frozen=True)
class _Options:
    column: str
    encoding: str
    quotes: bool


def stream_texts(
    source: Path, *, column: str | None = None, encoding: str = DEFAULT_ENCODING, quotes: bool = True
) -> Iterator[str]:
    """The texts of a file, in their order; only as much as is needed is held in memory.

    `.txt` has one text a line, and an empty line is an empty text. `.csv`, `.tsv`, `.jsonl` and `.parquet` have one a
    row; blank lines between rows are no rows, and a missing value is an empty text.

    Args:
        source: The file; its ending says what it is.
        column: The column, or JSON key, with the texts; None is `"text"`. A `.txt` has none.
        encoding: The text files' encoding, by Python's name for it; a byte order mark is allowed.
        quotes: Whether double quotes enclose fields in CSV and TSV.

    Raises:
        DataError: At once, if the file is missing or its ending unknown; else, when a row's turn comes, if it can't be
            read; the message names the row.
    """
    if not source.is_file():
        raise DataError(f"{source}: there is no such file. Check the path.")
    ending = source.suffix.lower()
    if ending not in _READERS:
        raise DataError(
            f"{source}: can't tell what is in it from the ending {ending!r}. "
            f"Rename it to one of {', '.join(_READERS)}, or pipe it in, one text a line."
        )
    if ending == ".txt" and column is not None:
        raise DataError(f"{source}: a .txt file has one text a line and no column {column!r}. Leave the column out.")
    return _READERS[ending](source, _Options(column or DEFAULT_COLUMN, encoding, quotes))


def stream_lines(stream: BinaryIO, *, name: str, encoding: str = DEFAULT_ENCODING) -> Iterator[str]:
    """The lines of an open stream, without their ends, as texts.

    Raises:
        DataError: A byte is not valid in the encoding, or there is no such encoding.
    """
    try:
        lines = io.TextIOWrapper(stream, encoding=_codec(encoding))
    except LookupError as error:
        raise DataError(f"{name}: there is no text encoding {encoding!r}. Use a name that Python knows.") from error
    number = 0
    try:
        for line in lines:
            number += 1
            yield line.removesuffix("\n")
    except UnicodeError as error:
        raise DataError(
            f"{name}, after line {number}: {error}. Name its encoding with --encoding, or convert it to UTF-8."
        ) from error
    finally:
        lines.detach()  # the stream is its owner's to close


def _lines(source: Path, options: _Options) -> Iterator[str]:
    return (line.removesuffix("\n") for line in _decoded(source, options.encoding, newline=None))


def _decoded(source: Path, encoding: str, *, newline: str | None) -> Iterator[str]:
    """The file's lines with their ends; `newline` as in `open`."""
    try:
        with source.open(encoding=_codec(encoding), newline=newline) as handle:
            yield from handle
    except (UnicodeError, LookupError, OSError):
        # Says at which line and byte, and which encoding would fit, for which it reads the file whole.
        decode_file(source, encoding=encoding)
        raise


def _codec(encoding: str) -> str:
    """UTF-8 with or without byte order mark; others as named."""
    return "utf-8-sig" if encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else encoding


def _separated(source: Path, options: _Options, *, delimiter: str) -> Iterator[str]:
    reader = csv.reader(
        _decoded(source, options.encoding, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if options.quotes else csv.QUOTE_NONE,
        strict=True,
    )
    header, place = None, 0
    for number, (line, row) in enumerate(_rows(reader, source)):
        if header is None:
            header, place = row, _place(source, row, options.column)
        elif len(row) != len(header):
            raise DataError(
                f"{source} row {number} (line {line}): has {len(row)} fields, the header has {len(header)}. "
                "Enclose texts that hold the separator or a line break in double quotes, and double the quotes inside "
                'them ("").'
            )
        else:
            yield row[place]
    if header is None:
        raise DataError(f"{source}: is empty. A first line with the columns' names is needed.")


def _rows(reader: Any, source: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the line it starts on."""
    line = 1
    try:
        # Python's own limit of a field, 131,072 characters, is for the whole process.
        csv.field_size_limit(sys.maxsize)
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f'{source}, in the row from line {line} on: {error}. Double the quotes inside a quoted field (""), '
            "or pass --no-quotes if double quotes are plain text in this file."
        ) from error


def _place(source: Path, columns: list[str], wanted: str) -> int:
    if columns.count(wanted) == 1:
        return columns.index(wanted)
    found = f"{columns.count(wanted)} columns are" if wanted in columns else "no column is"
    raise DataError(
        f"{source}: {found} named {wanted!r}. The columns are: {', '.join(map(repr, columns))}. "
        "Name the one with the texts with --column."
    )


def _json_lines(source: Path, options: _Options) -> Iterator[str]:
    # Line feeds alone end a row: a carriage return is white space in JSON.
    for number, line in enumerate(_decoded(source, options.encoding, newline="\n"), start=1):
        if not line.strip():
            continue
        place = f"{source} line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place}: is not JSON: {error}. Each line is to hold one JSON object.") from error
        if not isinstance(row, dict):
            raise DataError(f"{place}: holds a JSON {type(row).__name__}. Each line is to hold one JSON object.")
        if options.column not in row:
            raise DataError(
                f"{place}: there is no key {options.column!r}. The keys are: {', '.join(map(repr, row))}. "
                "Name the one with the texts with --column."
            )
        yield _text(row[options.column], place)


def _parquet(source: Path, options: _Options) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(source) as file:
            _place(source, file.schema_arrow.names, options.column)
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=[options.column]):
                for value in batch.column(0).to_pylist():
                    number += 1
                    yield _text(value, f"{source} row {number}")
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{source}: can't be read as Parquet: {error}.") from error


def _text(value: Any, place: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise DataError(f"{place}: the text is {value!r}, a {type(value).__name__}. Texts are to be strings.")


def _comma_separated(source: Path, options: _Options) -> Iterator[str]:
    return _separated(source, options, delimiter=",")


def _tab_separated(source: Path, options: _Options) -> Iterator[str]:
    return _separated(source, options, delimiter="\t")


_READERS: dict[str, Callable[[Path, _Options], Iterator[str]]] = {
    ".txt": _lines,
    ".csv": _comma_separated,
    ".tsv": _tab_separated,
    ".tab": _tab_separated,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
}
