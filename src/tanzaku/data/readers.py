"""Readers of the user's own documents: CSV, spreadsheets, JSONL, Parquet, a folder per class, and tables in memory.

Each gives a `RawDocuments`: texts and labels as they stand in the source, missing ones as empty strings, and for every
row the place it came from, so that `tanzaku.data.intake` can report where something is wrong.
"""

import codecs
import fnmatch
import io
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tanzaku.data import memory
from tanzaku.data.decoding import EncodingError, decode, encoding_of_name, is_text, read_bytes, readable_name
from tanzaku.data.disguise import START, disguised, start_of
from tanzaku.data.findings import Finding, raise_errors
from tanzaku.data.options import ReadOptions, delimiter_named
from tanzaku.data.raw import RawDocuments, RowError, listed, reading_problems
from tanzaku.data.rows import empty_object, parse_json_row, python_values, reading_parquet
from tanzaku.data.separated import SeparatedRows, describe_joined
from tanzaku.data.spreadsheet import ENDINGS as SPREADSHEETS
from tanzaku.data.spreadsheet import SheetRows
from tanzaku.data.tables import Table, Values, documents_of
from tanzaku.errors import DataError


@dataclass(frozen=True)
class Source:
    """Where documents come from.

    Attributes:
        name: Names it in errors.
        path: The file or folder, if it is one.
        data: The bytes, if they came from a pipe.
        table: The table or the pairs, if they are in memory.
    """

    name: str
    path: Path | None = None
    data: bytes | None = None
    table: Any = None

    def content(self) -> bytes:
        """The bytes of the file or the pipe."""
        if self.data is not None:
            return self.data
        assert self.path is not None
        return read_bytes(self.path)

    def start(self) -> bytes:
        """The first bytes of the file or the pipe; none of a folder and of what is in memory."""
        if self.data is not None:
            return self.data[:START]
        if self.path is None or not self.path.is_file():
            return b""
        return start_of(self.path)


def source_of(source: Any) -> Source:
    """What a user gave: a path, a `Source`, a table, or pairs of a text and a label.

    Raises:
        DataError: It is something else.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.exists() and not path.is_file() and not path.is_dir():  # a pipe, which can be read only once
            return Source(str(source), data=read_bytes(path))
        return Source(str(source), path=path)
    memory.check_not_splits(source)
    if memory.is_table(source):
        return Source(f"the {type(source).__name__}", table=source)
    if isinstance(source, Iterable) and not isinstance(source, bytes | dict):
        return Source("the list", table=list(source))
    raise DataError(
        f"can't read documents from an object of the type {type(source).__name__}. Give a path, a DataFrame, a "
        "Dataset, or a list of pairs (text, label)."
    )


def read_documents(source: Any, *, options: ReadOptions | None = None, check: bool = True) -> RawDocuments:
    """Read every document of a source, in the order in which they are there.

    Args:
        source: A file or a folder per class; or a table or pairs in memory: see `source_of`.
        options: How to read it. Only the options about reading matter, not those about rows and labels.
        check: Without it, what can't be read is only noted, for `tanzaku.data.intake`.

    Raises:
        DataError: The source is missing or empty, its format is unknown, a column is missing, or rows can't be read.
    """
    given, options = source_of(source), options or ReadOptions()
    if given.path is not None and not given.path.exists():
        raise DataError(f"{given.name}: there is no such file or folder. Check the path.")
    name = _format_of(given, options.format)
    if (other := disguised(given.start(), read_as=name)) is not None:
        raise DataError(f"{given.name}: {other}")
    documents = FORMATS[name](given, options)
    problems = reading_problems(documents)
    if check:
        raise_errors(replace(problem, source=given.name) for problem in problems)
    if not len(documents) and not problems:
        raise DataError(f"{given.name}: holds no documents. {_what_it_needs(given.path)}")
    return documents


def options_without_effect(source: Source, options: ReadOptions) -> list[str]:
    """The options that were given and can't have an effect on a source that can be read, by their names on the command
    line."""
    kind = _format_of(source, options.format)
    return options.without_effect(
        columns=kind != "folder" and not isinstance(source.table, list),
        encoded=kind in ("csv", "tsv", "jsonl", "folder"),
        separators=kind in ("csv", "tsv"),
        sheets=kind == "xlsx",
        files=kind == "folder",
    )


def _what_it_needs(source: Path | None) -> str:
    if source is None or not source.is_dir():
        return "Give rows that have a text and a label."
    tables = sorted(path.name for path in source.iterdir() if is_table(path))
    needed = "Documents of a folder are .txt files in one folder a class."
    if not tables:
        return needed
    return (
        f"It holds {listed(tables)}: name one of these files to have it split, or name them train, val and test with "
        f"their endings. {needed}"
    )


def _format_of(source: Source, wanted: str | None) -> str:
    if source.table is not None:
        return "memory"
    if source.path is None:
        name = wanted or _format_of_bytes(source.start())
    else:
        name = wanted or ("folder" if source.path.is_dir() else _ENDINGS.get(source.path.suffix.lower(), ""))
    if name not in FORMATS or name == "memory":
        ending = source.path.suffix if source.path else ""
        what = f"there is no format {wanted!r}" if wanted else f"can't tell the format from the ending {ending!r}"
        advice = other_formats(source.path) if source.path else None
        raise DataError(f"{source.name}: {what}. {advice or _NAME_A_FORMAT}")
    is_folder = source.path is not None and source.path.is_dir()
    if is_folder != (name == "folder"):
        kind = "a folder" if is_folder else "a file"
        remedy = "Leave --format out, or name another."
        raise DataError(f"{source.name}: is {kind}, which can't be read as {name}. {remedy}")
    return name


def _format_of_bytes(start: bytes) -> str:
    written = start.removeprefix(codecs.BOM_UTF8).lstrip()
    known = {b"PAR1": "parquet", b"PK\x03\x04": "xlsx"}.get(start[:4])
    return known or ("jsonl" if re.match(rb"(\[\s*)?\{", written) else "csv")


def _text_of(source: Source, options: ReadOptions, problems: list[Finding]) -> str:
    """The text of a file; where its encoding is another, that is a problem, and the text is read in that one."""
    try:
        return decode(source.content(), name="", encoding=options.encoding)
    except EncodingError as error:
        problems.append(Finding("encoding", str(error)))
        return "" if error.fitting is None else decode(source.content(), name="", encoding=error.fitting)
    except DataError as error:
        raise DataError(f"{source.name}: {error}") from error


def _read_separated(source: Source, options: ReadOptions, *, usual: str) -> RawDocuments:
    problems: list[Finding] = []
    text = _text_of(source, options, problems)
    if not text.strip():
        return _of_nothing(source, problems)
    rows = SeparatedRows(
        io.StringIO(text, newline=""),
        delimiter=delimiter_named(options.delimiter),
        quotes=options.quotes,
        columns=options.columns,
        usual=usual,
    )
    table = Table(rows=_numbered(rows, "row {number} (line {line})"), problems=problems)
    documents = documents_of(table, options, blank=lambda: rows.blank)
    if (message := describe_joined(rows.joined)) is not None:
        documents.problems.append(Finding("quotes", message, "warning"))
    return documents


def _numbered(rows: Iterable[tuple[int, list[str]]], place: str) -> Iterator[tuple[str, Sequence[Any]] | RowError]:
    """The rows with their places; the header has the number 0."""
    try:
        for number, (line, row) in enumerate(rows):
            yield place.format(number=number, line=line), row
    except RowError as error:  # where the next row begins is unknown if a row's quotes do not fit
        yield error


def _of_nothing(source: Source, problems: list[Finding]) -> RawDocuments:
    if not problems:
        raise DataError(f"{source.name}: is empty. A first line with the columns' names is needed.")
    return RawDocuments(problems=problems)


def _read_sheet(source: Source, options: ReadOptions) -> RawDocuments:
    rows = SheetRows(io.BytesIO(source.content()), source.name, sheet=options.sheet)
    problems = []
    if (message := unread_sheets(rows, options)) is not None:
        problems.append(Finding("other-sheets", message, "warning"))
    table = Table(rows=_numbered(rows, "row {line}"), problems=problems)
    documents = documents_of(table, options, blank=lambda: rows.blank)
    documents.problems += [Finding(kind, message, "warning") for kind, message in rows.remarks()]
    if not len(documents) and not reading_problems(documents):
        raise DataError(f"{source.name}: the sheet {rows.sheet!r} has no rows below the names of the columns.")
    return documents


def unread_sheets(rows: SheetRows, options: ReadOptions) -> str | None:
    """That other sheets were not read, if there are some and none was named."""
    if options.sheet is not None or not rows.others:
        return None
    return (
        f"only the sheet {rows.sheet!r} was read, not {', '.join(map(repr, rows.others))}; use --sheet to read another."
    )


def _read_json_lines(source: Source, options: ReadOptions) -> RawDocuments:
    problems: list[Finding] = []
    # Not str.splitlines: it would also split at U+2028, which may stand inside a JSON string.
    text = _text_of(source, options, problems)
    if re.match(r"\s*\[\s*\{", text):
        raise DataError(f"{source.name}: holds one JSON list. {_JSON_LINES} (`jq -c '.[]'` writes them so).")
    lines = text.split("\n")
    parsed = [_json_row(line, f"line {number}") for number, line in enumerate(lines, start=1) if line.strip()]
    names = list(dict.fromkeys(key for row in parsed if not isinstance(row, RowError) for key in row[1]))
    if not names:
        documents = RawDocuments(problems=problems)
        for row in parsed:
            documents.refuse(row if isinstance(row, RowError) else empty_object(row[0]))
        return documents
    return documents_of(Table(rows=iter(parsed), names=names, problems=problems, noun="key"), options)


def _json_row(line: str, place: str) -> tuple[str, Values] | RowError:
    try:
        return place, parse_json_row(line, place)
    except RowError as error:
        return error


def _read_parquet(source: Source, options: ReadOptions) -> RawDocuments:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading_parquet(source.name), pq.ParquetFile(pa.BufferReader(source.content())) as file:
        names = file.schema_arrow.names
        wanted = _columns_to_read(names, options)
        whole = file.read(columns=None if wanted == names else wanted)  # pyarrow finds no repeated column by its name
    rows = zip(*(python_values(column, source.name) for column in whole.columns), strict=True)
    return documents_of(Table(rows=_counted(rows), names=whole.column_names), options)


def _columns_to_read(names: list[str], options: ReadOptions) -> list[str]:
    """Those that the options name; all where one is missing or repeated, which those say who look for them."""
    wanted = [name for name in names if name in options.columns]
    complete = set(options.columns) <= set(wanted) and len(set(wanted)) == len(wanted)
    return wanted if complete else names


def _counted(rows: Iterable[Sequence[Any]]) -> Iterator[tuple[str, Sequence[Any]]]:
    return ((f"row {number}", row) for number, row in enumerate(rows, start=1))


def _read_memory(source: Source, options: ReadOptions) -> RawDocuments:
    if isinstance(source.table, list):
        return _read_pairs(source.table)
    names = memory.column_names(source.table)
    wanted = _columns_to_read(names, options)
    rows = memory.table_rows(source.table, wanted)
    classes = memory.label_names(source.table, options.label_column)
    table = Table(rows=_counted(rows), names=wanted, label_names=classes)
    return documents_of(table, options)


def _read_pairs(pairs: list[Any]) -> RawDocuments:
    documents = RawDocuments()
    rows: list[tuple[str, Sequence[Any]] | RowError] = []
    for number, pair in enumerate(pairs, start=1):
        if isinstance(pair, tuple | list) and len(pair) == 2:
            rows.append((f"item {number}", pair))
        else:
            fault = f"item {number}: is of the type {type(pair).__name__} and not a pair"
            documents.refuse(
                RowError(fault, "Give pairs of a text and a label, such as ('本文', 'ラベル').", kind="pair")
            )
    if not rows:
        return documents
    read = documents_of(Table(rows=iter(rows), names=["text", "label"]), ReadOptions())
    read.faults |= documents.faults
    return read


def _read_folder_per_class(source: Source, options: ReadOptions) -> RawDocuments:
    assert source.path is not None
    documents = RawDocuments()
    for entry in sorted(source.path.iterdir()):
        if entry.is_dir() and not entry.name.startswith("."):
            _read_class_folder(entry, options, documents)
        else:
            documents.unread.append(readable_name(entry.name))
    return documents


def _read_class_folder(folder: Path, options: ReadOptions, documents: RawDocuments) -> None:
    label = _class_of(folder, encoding=options.encoding)
    for path in sorted(folder.iterdir()):
        place = f"{label}/{readable_name(path.name)}"
        skipped = any(fnmatch.fnmatch(path.name, pattern) for pattern in options.skip)
        if path.is_file() and path.suffix.lower() == ".txt" and not path.name.startswith(".") and not skipped:
            try:
                documents.add(decode(read_bytes(path), name=place, encoding=options.encoding), label, place)
            except EncodingError as error:
                documents.refuse(RowError(error.fault.removesuffix("."), error.remedy, kind="encoding"))
        else:
            documents.unread.append(place)


def _class_of(folder: Path, *, encoding: str) -> str:
    """A class's name: the folder's, in the texts' encoding where it is not UTF-8.

    It is in NFC, as people type it; macOS writes names of folders in NFD.
    """
    if is_text(folder.name):
        return unicodedata.normalize("NFC", folder.name)
    name = os.fsencode(folder.name)
    try:
        return name.decode(encoding)
    except (UnicodeError, LookupError) as error:
        fitting = encoding_of_name(folder.name)
        hint = f"It reads as {fitting}: {name.decode(fitting)!r}. " if fitting else ""
        example = f"convmv -f {fitting or 'cp932'} -t utf-8 -r --notest {readable_name(str(folder.parent))}"
        raise DataError(
            f"{readable_name(str(folder))}: the name of this folder is a class, and is not valid UTF-8 ({name!r}). "
            f"{hint}Rename it, for instance with `{example}`."
        ) from error


FORMATS: dict[str, Callable[[Source, ReadOptions], RawDocuments]] = {
    "csv": lambda source, options: _read_separated(source, options, usual=","),
    "tsv": lambda source, options: _read_separated(source, options, usual="\t"),
    "xlsx": _read_sheet,
    "jsonl": _read_json_lines,
    "parquet": _read_parquet,
    "folder": _read_folder_per_class,
    "memory": _read_memory,
}
_ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    **dict.fromkeys(SPREADSHEETS, "xlsx"),
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_NAME_A_FORMAT = f"Name one with --format: {', '.join(name for name in FORMATS if name != 'memory')}."
_JSON_LINES = "JSON Lines is needed, one object a line, in a file that ends in .jsonl"
# What people have instead of a table or texts, and how they get from it to one.
_OTHER_ENDINGS = {
    (".xls", ".xlsb", ".ods", ".numbers"): (
        "Save this spreadsheet as .xlsx or as CSV UTF-8 from the program that made it, and give that file."
    ),
    (".json",): f"{_JSON_LINES}.",
    (".zip", ".gz", ".xz", ".bz2", ".7z", ".tar", ".tgz"): "Unpack it, and give the file or folder in it.",
    (".doc", ".docx", ".pdf", ".rtf", ".html"): "Save it as plain text in UTF-8, with the ending .txt.",
}


def is_table(path: Path) -> bool:
    """Whether a file is a table by its ending."""
    return path.is_file() and path.suffix.lower() in _ENDINGS


def other_formats(source: Path) -> str | None:
    """What to do with a file of a kind that is not read, where it is a common one."""
    ending = source.suffix.lower()
    return next((advice for endings, advice in _OTHER_ENDINGS.items() if ending in endings), None)
