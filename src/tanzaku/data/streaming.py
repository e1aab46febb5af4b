"""Texts without labels, one after the other, from a file of any size: what a classifier reads."""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from tanzaku.data.decoding import DEFAULT_ENCODING, decode_file, remedy
from tanzaku.data.readers import other_formats
from tanzaku.data.rows import column_index, parse_json_row, text_of
from tanzaku.data.separated import check_fields, separated_rows
from tanzaku.errors import DataError

DEFAULT_COLUMN = "text"
_PARQUET_ROWS = 1024  # read at once


@dataclass(frozen=True)
class _Options:
    column: str
    encoding: str
    quotes: bool
    keep_columns: bool


@dataclass(frozen=True)
class Row:
    """A text, and the columns of its row where they are kept: the text's own among them, in the file's order."""

    text: str
    columns: Mapping[str, Any] = field(default_factory=dict)


def stream_texts(
    source: Path, *, column: str | None = None, encoding: str = DEFAULT_ENCODING, quotes: bool = True
) -> Iterator[str]:
    """The texts of a file, in their order; see `stream_rows`."""
    return (row.text for row in stream_rows(source, column=column, encoding=encoding, quotes=quotes))


def stream_rows(
    source: Path,
    *,
    column: str | None = None,
    encoding: str = DEFAULT_ENCODING,
    quotes: bool = True,
    keep_columns: bool = False,
) -> Iterator[Row]:
    """The rows of a file, in their order; only as much as is needed is held in memory.

    `.txt` has one text a line, and an empty line is an empty text. `.csv`, `.tsv`, `.jsonl` and `.parquet` have one a
    row; blank lines between rows are no rows, and a missing value is an empty text.

    Args:
        source: The file; its ending says what it is.
        column: The column, or JSON key, with the texts; None is `"text"`. A `.txt` has none.
        encoding: The text files' encoding, by Python's name for it; a byte order mark is allowed.
        quotes: Whether double quotes enclose fields in CSV and TSV.
        keep_columns: Give the other columns of each row too. A `.txt` has none.

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
            + (
                other_formats(source)
                or f"Give it the ending that says it ({', '.join(_READERS)}), or pipe it in, one text a line."
            )
        )
    if ending == ".txt" and column is not None:
        raise DataError(f"{source}: a .txt file has one text a line and no column {column!r}. Leave the column out.")
    if ending == ".txt" and keep_columns:
        raise DataError(f"{source}: a .txt file has no columns that could be kept. Leave --keep-columns out.")
    return _READERS[ending](source, _Options(column or DEFAULT_COLUMN, encoding, quotes, keep_columns))


def column_names(source: Path, *, encoding: str = DEFAULT_ENCODING, quotes: bool = True) -> tuple[str, ...]:
    """The columns of a table, which has them even without a row; empty for JSON lines and `.txt`.

    Args:
        source: The file; its ending says what it is.
        encoding: As `stream_rows` takes it.
        quotes: As `stream_rows` takes it.

    Raises:
        DataError: The file can't be read.
    """
    ending = source.suffix.lower()
    if ending == ".parquet":
        import pyarrow.parquet as pq

        return tuple(pq.read_schema(source).names)
    if ending not in _DELIMITERS:
        return ()
    options = _Options(DEFAULT_COLUMN, encoding, quotes, keep_columns=True)
    return next((tuple(row) for _, row in _table_rows(source, options)), ())


def stream_lines(stream: BinaryIO, *, name: str, encoding: str = DEFAULT_ENCODING) -> Iterator[str]:
    """The lines of an open stream, without their ends, as texts.

    Raises:
        DataError: A byte is not valid in the encoding, or there is no such encoding.
    """
    try:
        lines = io.TextIOWrapper(stream, encoding=_codec(encoding))
    except LookupError as error:
        raise DataError(f"{name}: {encoding!r} is not a known text encoding. Use a name that Python knows.") from error
    number = 0
    try:
        for line in lines:
            number += 1
            yield line.removesuffix("\n")
    except UnicodeDecodeError as error:
        # The bytes that were decoded together begin after the last whole line.
        place = number + 1 + error.object[: error.start].count(b"\n")
        raise DataError(
            f"{name}, line {place}: the byte 0x{error.object[error.start]:02x} is not valid {encoding}. "
            f"{remedy(error.object, encoding)}"
        ) from error
    except UnicodeError as error:
        raise DataError(f"{name}, after line {number}: {error}. Name its encoding with --encoding.") from error
    finally:
        lines.detach()  # the stream is its owner's to close


def _lines(source: Path, options: _Options) -> Iterator[Row]:
    return (Row(line.removesuffix("\n")) for line in _decoded(source, options.encoding, newline=None))


def _decoded(source: Path, encoding: str, *, newline: str | None) -> Iterator[str]:
    """The file's lines with their ends; `newline` as in `open`."""
    try:
        with source.open(encoding=_codec(encoding), newline=newline) as handle:
            for place, line in enumerate(handle):
                yield line if place else line.removeprefix("\ufeff")  # of utf-16-le, say
    except (UnicodeError, LookupError, OSError):
        # Says at which line and byte, and which encoding would fit, for which it reads the file whole.
        decode_file(source, encoding=encoding)
        raise


def _codec(encoding: str) -> str:
    """UTF-8 with or without byte order mark; others as named."""
    return "utf-8-sig" if encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else encoding


def _table_rows(source: Path, options: _Options) -> Iterator[tuple[int, list[str]]]:
    """The rows with their lines, the header among them."""
    lines = _decoded(source, options.encoding, newline="")
    return separated_rows(lines, source, delimiter=_DELIMITERS[source.suffix.lower()], quotes=options.quotes)


def _separated(source: Path, options: _Options) -> Iterator[Row]:
    rows = _table_rows(source, options)
    _, header = next(rows, (0, None))
    if header is None:
        raise DataError(f"{source}: is empty. A first line with the columns' names is needed.")
    index = _text_index(source, header, options)
    for number, (line, row) in enumerate(rows, start=1):
        check_fields(row, header, f"{source} row {number} (line {line})")
        yield Row(row[index], dict(zip(header, row, strict=True)) if options.keep_columns else {})


def _text_index(source: Path, columns: list[str], options: _Options) -> int:
    repeated = [name for name in columns if columns.count(name) > 1]
    if options.keep_columns and repeated and options.column not in repeated:
        raise DataError(
            f"{source}: {columns.count(repeated[0])} columns are named {repeated[0]!r}, so --keep-columns can't tell "
            "them apart. Give each column a name of its own, or leave --keep-columns out."
        )
    return column_index(source, columns, options.column, remedy=_NAME_THE_COLUMN)


_NAME_THE_COLUMN = "Name the one with the texts with --column."


def _json_lines(source: Path, options: _Options) -> Iterator[Row]:
    # Line feeds alone end a row: a carriage return is white space in JSON.
    for number, line in enumerate(_decoded(source, options.encoding, newline="\n"), start=1):
        if not line.strip():
            continue
        place = f"{source} line {number}"
        row = parse_json_row(line, place, keys=[options.column], remedy=_NAME_THE_COLUMN)
        yield Row(text_of(row[options.column], place), row if options.keep_columns else {})


def _parquet(source: Path, options: _Options) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(source) as file:
            _text_index(source, file.schema_arrow.names, options)
            wanted = None if options.keep_columns else [options.column]
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=wanted):
                for row in batch.to_pylist():
                    number += 1
                    text = text_of(row[options.column], f"{source} row {number}")
                    yield Row(text, row if options.keep_columns else {})
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{source}: can't be read as Parquet: {error}.") from error


_DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_READERS: dict[str, Callable[[Path, _Options], Iterator[Row]]] = {
    ".txt": _lines,
    **dict.fromkeys(_DELIMITERS, _separated),
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
}


def is_file_name(text: str) -> bool:
    """Whether a text reads as the name of a file of texts, such as "inquiries.csv"; it need not exist."""
    known = Path(text).suffix.lower() in {*_READERS, ".xlsx", ".xls"} and "://" not in text
    return known and not any(character.isspace() for character in text)
