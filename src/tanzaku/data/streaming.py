"""Texts without labels, one after the other, from a file of any size: what a classifier reads."""

import io
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from tanzaku.data.decoding import DEFAULT_ENCODING, check_encoding, has_escapes, is_utf8, marked_encoding, remedy
from tanzaku.data.disguise import disguised, start_of
from tanzaku.data.options import ReadOptions, delimiter_named
from tanzaku.data.raw import RowError
from tanzaku.data.rows import (
    column_index,
    parquet_columns,
    parse_json_row,
    python_values,
    readable_text_of,
    reading_parquet,
)
from tanzaku.data.separated import SeparatedRows, check_fields, describe_joined
from tanzaku.data.spreadsheet import ENDINGS as SPREADSHEETS
from tanzaku.data.spreadsheet import SheetRows, left_out_blanks
from tanzaku.errors import DataError, TanzakuWarning

_PARQUET_ROWS = 1024  # read at once


@dataclass(frozen=True)
class Row:
    """A text, and the columns of its row where they are kept: the text's own among them, in the file's order."""

    text: str
    place: str = ""  # of a row with columns in its file, such as "line 5"
    columns: Mapping[str, Any] = field(default_factory=dict)
    cells: Sequence[str] = ()  # of a table's row, in the order of its columns, whose names may be equal


def stream_texts(source: Path, options: ReadOptions | None = None) -> Iterator[str]:
    """The texts of a file, in their order; see `stream_rows`."""
    return (row.text for row in stream_rows(source, options))


Refuse = Callable[[RowError], None]
"""What becomes of a row that can't be read: it raises the error, or it notes it, and the row is left out."""


def raise_fault(error: RowError) -> None:
    """End with the first row that can't be read."""
    raise error


@dataclass(frozen=True)
class Remedies:
    """What a user can do about columns, in the words of the caller; `tanzaku classify` has the defaults."""

    text: str = "Name the one with the texts with --column."
    """No column, or several, have the text column's name."""
    repeated: str = "Give each column a name of its own, or leave --keep-columns out."
    """Columns that are to be kept have the same name."""
    none: str = "Leave --keep-columns out."
    """The file has no columns that could be kept."""
    quotes: str = "pass --no-quotes"
    """Lines may have become one row, since a double quote opens in the first and closes in the last."""


Warn = Callable[[str], None]
"""Gets what should be looked at in a file."""
Watch = Callable[[], None]
"""Called for each line of a file, also a blank one, or one within a quoted text; it may raise to end the reading."""


def _warn(message: str) -> None:
    warnings.warn(message, TanzakuWarning, stacklevel=3)


@dataclass(frozen=True)
class _Wanted:
    """As `stream_rows` takes them."""

    keep: bool = False
    distinct: Collection[str] | None = None
    refuse: Refuse = raise_fault
    remedies: Remedies = Remedies()
    warn: Warn = _warn
    watch: Watch = lambda: None


def stream_rows(
    source: Path,
    options: ReadOptions | None = None,
    *,
    keep_columns: bool = False,
    distinct: Collection[str] | None = None,
    refuse: Refuse = raise_fault,
    remedies: Remedies | None = None,
    warn: Warn = _warn,
    watch: Watch = lambda: None,
) -> Iterator[Row]:
    """The rows of a file, in their order; only as much as is needed is held in memory.

    `.txt` has one text a line, and an empty line is an empty text. `.csv`, `.tsv`, `.xlsx`, `.jsonl` and `.parquet`
    have one a row; blank lines between rows are no rows, and a missing value is an empty text.

    Args:
        source: The file; its ending says what it is.
        options: How to read it: `text_column` and `text_separator`, which a `.txt` does not have, `encoding`,
            `delimiter`, `quotes` and `sheet`. The others have no effect.
        keep_columns: Give the other columns of each row too. A `.txt` has none.
        distinct: The columns among them whose names no other may have; None: all. Of others with the same name, the
            last one is kept.
        refuse: Gets each row that can't be read, when its turn comes: one with too few fields, a line that is not JSON,
            a text that is a number. What is wrong with the rest of the file too, such as quotes or bytes that don't fit
            the encoding, is raised in any case.
        remedies: What errors advise.
        warn: Gets what should be looked at after the last row, such as blank rows that were left out.
        watch: Called for each line of a file of lines, and not for the rows of `.xlsx` and `.parquet`.

    Raises:
        DataError: At once, if the file is missing, or its ending unknown or wrong; else, when a row's turn comes, if it
            can't be read; the message names the row.
    """
    options = options or ReadOptions()
    wanted = _Wanted(keep_columns, distinct, refuse, remedies or Remedies(), warn, watch)
    ending = _known_ending(source)
    name = "xlsx" if ending in SPREADSHEETS else ending.removeprefix(".")
    if ending != ".txt" and (other := disguised(start_of(source), read_as=name)) is not None:
        raise DataError(f"{source}: {other}")
    return _READERS[ending](source, options, wanted)


def _known_ending(source: Path) -> str:
    """The ending of a file that is there, if it is one that can be read."""
    if not source.is_file():
        raise DataError(f"{source}: there is no such file. Check the path.")
    ending = source.suffix.lower()
    if ending in _READERS:
        return ending
    from tanzaku.data.readers import other_formats

    known = ", ".join(_READERS)
    advice = other_formats(source) or f"Give it the ending that says it ({known}), or pipe it in, one text a line."
    raise DataError(f"{source}: can't tell what is in it from the ending {ending!r}. {advice}")


def column_names(source: Path, options: ReadOptions, *, watch: Watch = lambda: None) -> tuple[str, ...]:
    """The columns of a table, which has them even without a row; empty for JSON lines and `.txt`.

    Args:
        source: The file; its ending says what it is.
        options: As `stream_rows` takes them.
        watch: Likewise.

    Raises:
        DataError: The file can't be read.
    """
    ending = source.suffix.lower()
    if ending == ".parquet":
        return parquet_columns(source)
    if ending not in _DELIMITERS and ending not in SPREADSHEETS:
        return ()
    if ending in SPREADSHEETS:
        rows = _sheet_rows(source, options, _warn)
    else:
        rows = _table_rows(source, options, _Wanted(watch=watch))
    return next((tuple(name.strip() for name in row) for _, row in rows), ())


def warn_of_other_sheets(source: Path, options: ReadOptions) -> None:
    """Warn if a spreadsheet has more sheets with values than the one that `stream_rows` reads.

    Raises:
        DataError: The file can't be read.
    """
    if source.suffix.lower() not in SPREADSHEETS:
        return
    from tanzaku.data.readers import unread_sheets

    with source.open("rb") as content:
        message = unread_sheets(SheetRows(content, source, sheet=options.sheet), options)
    if message is not None:
        warnings.warn(f"{source}: {message}", TanzakuWarning, stacklevel=2)


def stream_lines(stream: BinaryIO, *, name: str, encoding: str = DEFAULT_ENCODING) -> Iterator[str]:
    """The lines of an open stream, without their ends, as texts.

    Raises:
        DataError: A byte is not valid in the encoding, or there is no such encoding.
    """
    try:
        start = stream.peek(2) if isinstance(stream, io.BufferedReader) else b""
        lines = io.TextIOWrapper(stream, encoding=_codec(marked_encoding(start, encoding)))
    except LookupError as error:
        raise DataError(f"{name}: {encoding!r} is not a known text encoding. Use a name that Python knows.") from error
    number = 0
    try:
        for line in lines:
            number += 1
            if has_escapes(line, encoding):
                raise DataError(
                    f"{name}, line {number}: has the escape sequences of ISO-2022-JP, which is not {encoding}. "
                    f"{remedy(line.encode(), encoding)}"
                )
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


def _lines(source: Path, options: ReadOptions, wanted: _Wanted) -> Iterator[Row]:
    if options.text_columns != ReadOptions().text_columns:
        raise DataError(
            f"{source}: a .txt file has one text a line and no column {options.text_columns[0]!r}. Leave the column "
            "out."
        )
    if wanted.keep:
        raise DataError(f"{source}: a .txt file has no columns that could be kept. {wanted.remedies.none}")
    return (Row(line.removesuffix("\n")) for line in _decoded(source, options.encoding, wanted.watch, newline=None))


def _decoded(source: Path, encoding: str, watch: Watch, *, newline: str | None) -> Iterator[str]:
    """The file's lines with their ends; `newline` as in `open`."""
    try:
        with source.open("rb") as handle:
            codec = _codec(marked_encoding(handle.read(2), encoding))
        with source.open(encoding=codec, newline=newline) as lines:
            for place, line in enumerate(lines):
                watch()
                if has_escapes(line, encoding):
                    raise UnicodeError("it has the escape sequences of ISO-2022-JP")
                yield line if place else line.removeprefix("\ufeff")  # of utf-16-le, say
    except (UnicodeError, LookupError, OSError) as error:
        check_encoding(source, encoding=encoding)  # says at which line and byte, and which encoding would fit
        if isinstance(error, UnicodeError):
            raise DataError(f"{source}: {error}. Name its encoding with --encoding.") from error
        raise


def _codec(encoding: str) -> str:
    """UTF-8 with or without byte order mark; others as named."""
    return "utf-8-sig" if is_utf8(encoding) else encoding


def _table_rows(source: Path, options: ReadOptions, wanted: _Wanted) -> Iterator[tuple[int, list[str]]]:
    """The rows with their lines, the header among them."""
    rows = SeparatedRows(
        _decoded(source, options.encoding, wanted.watch, newline=""),
        source,
        delimiter=delimiter_named(options.delimiter),
        quotes=options.quotes,
        columns=options.text_columns,
        usual=_DELIMITERS[source.suffix.lower()],
    )
    above, between = None, 0
    for row in rows:
        above = rows.blank if above is None else above  # the names of the columns
        between = rows.blank - above  # those below the last row do not count
        yield row
    _warn_of_blanks(between, source, wanted.warn)
    if (message := describe_joined(rows.joined, remedy=wanted.remedies.quotes)) is not None:
        wanted.warn(f"{source}: {message}")


def _sheet_rows(source: Path, options: ReadOptions, warn: Warn) -> Iterator[tuple[int, list[str]]]:
    """The rows with their numbers, the header among them."""
    with source.open("rb") as content:
        rows = SheetRows(content, source, sheet=options.sheet)
        before, between = None, 0
        for number, row in rows:
            between += 0 if before is None else number - before - 1
            before = number
            yield number, row
    _warn_of_blanks(between, source, warn)
    for _, message in rows.remarks():
        warn(f"{source}: {message}")


def _warn_of_blanks(between: int, source: Path, warn: Warn) -> None:
    """Warn of blank rows between others, which shift the rows of the results."""
    if between:
        warn(f"{source}: {left_out_blanks(between)}")


def _separated(source: Path, options: ReadOptions, wanted: _Wanted) -> Iterator[Row]:
    return _below_header(source, _table_rows(source, options, wanted), "row {number} (line {line})", options, wanted)


def _sheet(source: Path, options: ReadOptions, wanted: _Wanted) -> Iterator[Row]:
    return _below_header(source, _sheet_rows(source, options, wanted.warn), "row {line}", options, wanted)


def _below_header(
    source: Path, rows: Iterator[tuple[int, list[str]]], place: str, options: ReadOptions, wanted: _Wanted
) -> Iterator[Row]:
    _, first = next(rows, (0, None))
    if first is None:
        raise DataError(f"{source}: is empty. A first line with the columns' names is needed.")
    header = [name.strip() for name in first]
    texts_at = _text_places(source, header, options, wanted)
    for number, (line, row) in enumerate(rows, start=1):
        try:
            check_fields(row, header, f"{source}: {(at := place.format(number=number, line=line))}")
        except RowError as error:
            wanted.refuse(error)
            continue
        text = options.join([row[index] for index in texts_at])
        yield Row(text, at, dict(zip(header, row, strict=True)) if wanted.keep else {}, row)


def _text_places(source: Path, columns: list[str], options: ReadOptions, wanted: _Wanted) -> list[int]:
    times = Counter(columns)  # there may be thousands
    repeated = [name for name in columns if times[name] > 1]
    unclear = [name for name in repeated if wanted.distinct is None or name in wanted.distinct]
    if wanted.keep and unclear and not set(options.text_columns) & set(repeated):
        raise DataError(
            f"{source}: {times[unclear[0]]} columns are named {unclear[0]!r}, so they can't be told apart. "
            f"{wanted.remedies.repeated}"
        )
    return [column_index(source, columns, name, remedy=wanted.remedies.text) for name in options.text_columns]


def _json_lines(source: Path, options: ReadOptions, wanted: _Wanted) -> Iterator[Row]:
    # Line feeds alone end a row: a carriage return is white space in JSON.
    for number, line in enumerate(_decoded(source, options.encoding, wanted.watch, newline="\n"), start=1):
        if not line.strip():
            continue
        place = f"{source}: line {number}"
        try:
            row = parse_json_row(line, place, keys=options.text_columns, remedy=wanted.remedies.text)
            text = _joined(row, place, options)
        except RowError as error:
            wanted.refuse(error)
            continue
        yield Row(text, f"line {number}", row if wanted.keep else {})


def _joined(row: Mapping[str, Any], place: str, options: ReadOptions) -> str:
    return options.join([readable_text_of(row[name], place) for name in options.text_columns])


def _parquet(source: Path, options: ReadOptions, wanted: _Wanted) -> Iterator[Row]:
    import pyarrow.parquet as pq

    number = 0
    with reading_parquet(source), pq.ParquetFile(source) as file:
        _text_places(source, file.schema_arrow.names, options, wanted)
        columns = None if wanted.keep else [*options.text_columns]
        for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=columns):
            for row in python_values(batch, source):
                number += 1
                try:
                    text = _joined(row, f"{source}: row {number}", options)
                except RowError as error:
                    wanted.refuse(error)
                    continue
                yield Row(text, f"row {number}", row if wanted.keep else {})


_DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_READERS: dict[str, Callable[[Path, ReadOptions, _Wanted], Iterator[Row]]] = {
    ".txt": _lines,
    **dict.fromkeys(_DELIMITERS, _separated),
    **dict.fromkeys(SPREADSHEETS, _sheet),
    **dict.fromkeys((".jsonl", ".ndjson"), _json_lines),
    ".parquet": _parquet,
}


def options_without_effect(source: Path | None, options: ReadOptions) -> list[str]:
    """The options that were given and can't have an effect, by their names on the command line of `classify`.

    Args:
        source: The file; None: texts from elsewhere.
        options: As `stream_rows` takes them.
    """
    ending = ".txt" if source is None else source.suffix.lower()
    found = options.without_effect(
        columns=ending != ".txt",
        encoded=ending != ".parquet" and ending not in SPREADSHEETS,
        separators=ending in _DELIMITERS,
        sheets=ending in SPREADSHEETS,
    )
    return ["--column" if name == "--text-column" else name for name in found]


def is_file_name(text: str) -> bool:
    """Whether a text reads as the name of a file of texts, such as "inquiries.csv"; it need not exist."""
    known = Path(text).suffix.lower() in {*_READERS, ".xls"} and "://" not in text
    return known and not any(character.isspace() for character in text)
