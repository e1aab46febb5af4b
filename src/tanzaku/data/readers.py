"""Readers of the user's own documents: CSV, TSV, JSONL, Parquet, and a folder per class.

Each gives a `RawDocuments`: texts and labels as they stand in the source, missing ones as empty strings, and for every
row the place it came from, so that `tanzaku.data.validate` can say where something is wrong.
"""

import fnmatch
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tanzaku.data.decoding import DEFAULT_ENCODING, decode_file, encoding_of_name, is_text, readable_name
from tanzaku.data.raw import RawDocuments, RowError, fault_messages, listed
from tanzaku.data.rows import column_index, parse_json_row, text_of
from tanzaku.data.separated import check_fields, separated_rows
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


def read_documents(source: Path, *, options: ReadOptions | None = None, check: bool = True) -> RawDocuments:
    """Read every document of a file, or of a folder per class, in the order in which they stand there.

    Args:
        source: The file or folder.
        options: How to read it.
        check: Without it, rows that can't be read are only noted in `faults`, for `tanzaku.data.validate`.

    Raises:
        DataError: The source is missing or empty, its format is unknown, a column is missing, or rows can't be read.
    """
    options = options or ReadOptions()
    if not source.exists():
        raise DataError(f"{source}: there is no such file or folder. Check the path.")
    documents = FORMATS[_format_of(source, options.format)](source, options)
    if documents.faults and check:
        raise DataError("\n".join(fault_messages(documents)))
    if not len(documents) and not documents.faults:
        raise DataError(f"{source}: holds no documents.{_what_it_holds(source)}")
    return documents


def _what_it_holds(source: Path) -> str:
    tables = sorted(path.name for path in source.iterdir() if is_table(path)) if source.is_dir() else []
    if not tables:
        return ""
    return (
        f" It holds {listed(tables)}: name one of these files to have it split, or name them train, val and test with "
        "their endings. Documents of a folder are .txt files in one folder a class."
    )


def _format_of(source: Path, wanted: str | None) -> str:
    name = wanted or ("folder" if source.is_dir() else _ENDINGS.get(source.suffix.lower()))
    if name not in FORMATS:
        what = (
            f"there is no format {wanted!r}" if wanted else f"can't tell the format from the ending {source.suffix!r}"
        )
        raise DataError(f"{source}: {what}. {other_formats(source) or _NAME_A_FORMAT}")
    if source.is_dir() != (name == "folder"):
        kind = "a folder" if source.is_dir() else "a file"
        raise DataError(f"{source}: is {kind}, which can't be read as {name}. Leave --format out, or name another.")
    return name


def _read_separated(source: Path, options: ReadOptions, *, delimiter: str) -> RawDocuments:
    content = io.StringIO(decode_file(source, encoding=options.encoding), newline="")
    rows = separated_rows(content, source, delimiter=delimiter, quotes=options.quotes)
    _, header = next(rows, (0, None))
    if header is None:
        raise DataError(f"{source}: is empty. A first line with the columns' names is needed.")
    text_at, label_at = (
        column_index(source, header, name, remedy=_NAME_THE_COLUMNS)
        for name in (options.text_column, options.label_column)
    )
    documents = RawDocuments()
    with _noting(documents):  # where the next row begins is unknown if a row's quotes do not fit
        for number, (line, row) in enumerate(rows, start=1):
            place = f"{source} row {number} (line {line})"
            with _noting(documents):
                check_fields(row, header, place)
                documents.add(row[text_at], row[label_at], place)
    return documents


_NAME_THE_COLUMNS = "Name the right ones with --text-column and --label-column."


def _read_json_lines(source: Path, options: ReadOptions) -> RawDocuments:
    documents = RawDocuments()
    keys = (options.text_column, options.label_column)
    # Not str.splitlines: it would also split at U+2028, which may stand inside a JSON string.
    for number, line in enumerate(decode_file(source, encoding=options.encoding).split("\n"), start=1):
        if line.strip():
            place = f"{source} line {number}"
            with _noting(documents):
                row = parse_json_row(line, place, keys=keys, remedy=_NAME_THE_COLUMNS)
                text, label = (row[key] for key in keys)
                documents.add(text_of(text, place), _label(label, place), place)
    return documents


@contextmanager
def _noting(documents: RawDocuments) -> Iterator[None]:
    """Note what is wrong with a row, and go on with the next."""
    try:
        yield
    except RowError as error:
        documents.refuse(error)


def _read_parquet(source: Path, options: ReadOptions) -> RawDocuments:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_schema(source).names
        wanted = [options.text_column, options.label_column]
        for name in wanted:
            column_index(source, columns, name, remedy=_NAME_THE_COLUMNS)
        table = pq.read_table(source, columns=wanted)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{source}: can't be read as Parquet: {error}.") from error
    documents = RawDocuments()
    pairs = zip(table[wanted[0]].to_pylist(), table[wanted[1]].to_pylist(), strict=True)
    for number, (text, label) in enumerate(pairs, start=1):
        place = f"{source} row {number}"
        with _noting(documents):
            documents.add(text_of(text, place), _label(label, place), place)
    return documents


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
    raise RowError(
        f"{place}: the label is {value!r}, a {type(value).__name__}", "Labels are to be names or whole numbers."
    )


def _read_folder_per_class(source: Path, options: ReadOptions) -> RawDocuments:
    documents = RawDocuments()
    for entry in sorted(source.iterdir()):
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
            documents.add(decode_file(path, encoding=options.encoding), label, place)
        else:
            documents.unread.append(place)


def _class_of(folder: Path, *, encoding: str) -> str:
    """A class's name: the folder's, in the texts' encoding where it is not UTF-8."""
    if is_text(folder.name):
        return folder.name
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
_NAME_A_FORMAT = f"Name one with --format: {', '.join(FORMATS)}."
# What people have instead of a table or texts, and how they get from it to one.
_OTHER_ENDINGS = {
    (".xlsx", ".xlsm", ".xls", ".ods", ".numbers"): (
        'This is a spreadsheet: save it as "CSV UTF-8" from the program that made it, and give that file.'
    ),
    (".json",): "JSON Lines is needed, one object a line, in a file that ends in .jsonl.",
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
