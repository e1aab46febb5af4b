"""A table of texts, such as a CSV file or a spreadsheet, given back with its columns and the labels."""

from __future__ import annotations

import csv
import io
import itertools
import re
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from tanzaku.data.decoding import detect_encoding
from tanzaku.data.disguise import START, disguised
from tanzaku.data.options import ReadOptions
from tanzaku.data.raw import RowError
from tanzaku.data.rows import column_index, unused_name
from tanzaku.data.spreadsheet import Sheet, cell_text, left_out_blanks, read_as_empty, read_sheet
from tanzaku.data.streaming import Remedies, column_names, stream_rows
from tanzaku.errors import DataError
from tanzaku.serving.failures import ApiError

if TYPE_CHECKING:
    from tanzaku.ship.classifier import Prediction

_MEDIA_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".tsv": "text/tab-separated-values; charset=utf-8",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
# What texts are called in tables that people have, the likeliest first.
_TEXT_COLUMNS = ("text", "本文", "テキスト", "内容", "body", "content", "文章")
_FIRST_ROWS = 20
# A spreadsheet is a ZIP file of XML, which a few bytes can make expand to gigabytes, or to millions of empty cells.
# Each tag takes microseconds and about a hundred bytes to read; a cell with a value has four. Of all tags but those of
# cells, openpyxl makes objects, in whatever part of the file they are. Measured, each takes up to 15 microseconds and
# 600 bytes if it belongs to a shared string, and up to 40 microseconds and 800 bytes otherwise.
_MOST_EXPANDED = 30_000_000
_MOST_TAGS = 2_000_000
_MOST_STRING_TAGS = 500_000  # 100,000 different texts, each with the pronunciation of one word, have as many
_MOST_OTHER_TAGS = 100_000
# Those of cells, and of the copies of cells that pivot tables keep, which are not read.
_CELL_TAG = re.compile(rb"</?(?:\w+:)?(?:row|is|[bcdefmnstvx])(?=[\s/>])")
_STRING_TAG = re.compile(rb"</?(?:\w+:)?(?:si|r|rPh|phoneticPr)(?=[\s/>])")
_MOST_READS = 10  # of a part; a worksheet needs four
_MOST_CELLS = 1_000_000  # those between others, for which there is no tag, too
_EXPANDED_AT_ONCE = 1_000_000
_MOST_COLUMNS = 16_384  # as Excel has
_LONGEST_TITLE = 31
LONGEST_NAME = 100  # characters of a column; what is longer is rather a text
_UNUSABLE_IN_TITLES = re.compile(r"[\\*?:/\[\]]")
_ADDED = ("label", "probability")
_REMEDIES = Remedies(
    text="Name the one with the texts with the parameter column.",
    quotes='double their quotes ("")',
)
# What a row that can't be read needs, where the reader's own remedy is an option of the command line.
_ROW_REMEDIES = {"quotes": 'Double the quotes inside a quoted field ("").'}


@dataclass(frozen=True)
class Table:
    """A table as it came.

    Attributes:
        name: The file's name, whose ending says what it is.
        columns: The names of its columns.
        column: The one with the texts.
        rows: The values of each row, as many as there are columns.
        texts: The text of each row.
        sheet: The sheet of a spreadsheet that was read.
        other_sheets: The others that are not empty.
        remarks: What should be looked at in the file, such as lines that may have become one row.
    """

    name: str
    columns: tuple[str, ...]
    column: str
    rows: Sequence[Sequence[Any]]
    texts: Sequence[str]
    sheet: str | None = None
    other_sheets: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def read_table(
    content: bytes, *, name: str, column: str | None, most_rows: int, check: Callable[[], None] = lambda: None
) -> Table:
    """Read a .csv or .tsv file, in the encoding that `detect_encoding` finds, or a .xlsx file's first filled sheet.

    Args:
        content: The file.
        name: Its name.
        column: The column with the texts; None: one with a usual name, or the one with the longest texts.
        most_rows: Refuse a table with more rows.
        check: Called for each line or row, also a blank one, and while a spreadsheet is opened; it may raise an error
            that ends the reading.

    Raises:
        DataError: It can't be read.
        ApiError: It has too many rows or cells, or is of another kind.
    """
    ending = PurePath(name).suffix.lower()
    if ending not in _MEDIA_TYPES:
        raise ApiError(415, f"{name!r} is not a table that can be read; send a .csv, .tsv or .xlsx file")
    read = _read_spreadsheet if ending == ".xlsx" else _read_separated
    table = read(content, name, column, most_rows, check)
    if len(table.rows) > most_rows:
        raise ApiError(413, f"{name} has more than {most_rows} rows; cut it into several files")
    return table


def write_table(table: Table, predictions: Sequence[Prediction]) -> tuple[bytes, str]:
    """The table with a label and its probability in each row, as a file of the same kind, and its media type."""
    names = [unused_name(name, table.columns) for name in _ADDED]
    rows: list[list[Any]] = [[*table.columns, *names]]
    for row, prediction in zip(table.rows, predictions, strict=True):
        rows.append([*row, prediction.label, round(prediction.probability, 6)])
    ending = PurePath(table.name).suffix.lower()
    if ending == ".xlsx":
        return _spreadsheet(rows, title=table.sheet), _MEDIA_TYPES[ending]
    text = io.StringIO()
    csv.writer(text, delimiter="\t" if ending == ".tsv" else ",").writerows(rows)
    return text.getvalue().encode("utf-8-sig"), _MEDIA_TYPES[ending]  # Excel needs the mark


def _read_separated(content: bytes, name: str, column: str | None, most_rows: int, check: Callable[[], None]) -> Table:
    encoding = detect_encoding(content, name=name)
    remarks: list[str] = []
    with tempfile.TemporaryDirectory(prefix="tanzaku-table-") as folder:
        path = Path(folder) / f"table{PurePath(name).suffix.lower()}"
        path.write_bytes(content)
        try:
            # With the column that is wanted, as the rows are read: it decides what separates the columns.
            named = (
                ReadOptions(encoding=encoding) if column is None else ReadOptions(text_column=column, encoding=encoding)
            )
            columns = column_names(path, named, watch=check)
            if not columns:
                raise DataError(f"{path}: is empty. A first line with the columns' names is needed.")
            if len(columns) > _MOST_COLUMNS:
                raise ApiError(413, f"{name} has more than {_MOST_COLUMNS} columns; send only those that are needed")
            wanted = column or next(iter(_distinct(columns)), columns[0])
            options = replace(named, text_column=wanted)
            found = stream_rows(path, options, remedies=_REMEDIES, warn=remarks.append, watch=check)
            rows = [row.cells for row in itertools.islice(found, most_rows + 1)]
        except RowError as error:
            remedy = _ROW_REMEDIES.get(error.kind, error.remedy)
            raise DataError(f"{error.fault.replace(str(path), name)}. {remedy}") from error
        except DataError as error:
            raise DataError(str(error).replace(str(path), name)) from error
    chosen = column or _text_column(columns, rows)
    place = column_index(name, columns, chosen, remedy=_REMEDIES.text)
    told = (*_of_names(chosen), *(remark.removeprefix(f"{path}: ") for remark in remarks))
    return Table(name, columns, chosen, rows, [row[place] for row in rows], remarks=told)


def _of_names(chosen: str) -> tuple[str, ...]:
    """What is to be said of a column whose name reads like a text."""
    if len(chosen) <= LONGEST_NAME:
        return ()
    return ("The first row was read as the names of the columns; if it is a text, put names above it.",)


def _of_sheet(sheet: Sheet) -> Iterator[str]:
    if sheet.blank:
        yield left_out_blanks(sheet.blank)
    if sheet.formulas:
        yield read_as_empty(sheet.formulas)


def _read_spreadsheet(
    content: bytes, name: str, column: str | None, most_rows: int, check: Callable[[], None]
) -> Table:
    if other := disguised(content[:START], read_as="xlsx"):
        raise DataError(f"{name}: {other}")
    upload = _Upload(content, name, check)
    _check_size(upload, name)
    cells = 0

    def watch(width: int) -> None:
        nonlocal cells
        check()
        cells += max(1, width)
        if cells > _MOST_CELLS:
            raise ApiError(
                413,
                f"{name} has more than {_MOST_CELLS} cells, empty ones included; delete empty rows and columns and "
                "other sheets, or cut it into several files",
            )

    sheet = read_sheet(upload, name, most=most_rows + 2, watch=watch)
    if not sheet.rows:
        raise DataError(f"{name}: is empty. A first row with the columns' names is needed.")
    width = max(map(len, sheet.rows))
    if width * len(sheet.rows) > _MOST_CELLS:
        raise ApiError(413, f"{name} has more than {_MOST_CELLS} cells; cut it into several files")
    header, *rows = ([*row, *[None] * (width - len(row))] for row in sheet.rows)
    columns = tuple(cell_text(value).strip() for value in header)
    chosen = column or _text_column(columns, rows)
    place = column_index(name, columns, chosen, remedy=_REMEDIES.text)
    remarks = (*_of_names(chosen), *_of_sheet(sheet))
    texts = [cell_text(row[place]) for row in rows]
    return Table(name, columns, chosen, rows, texts, sheet.title, sheet.others, remarks)


def _text_column(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A usual name, or the column with the longest texts of those that a name belongs to."""
    if usual := next((name for name in _TEXT_COLUMNS if name in columns), None):
        return usual

    places = _distinct(columns)

    def length(name: str) -> int:
        return sum(len(cell_text(row[places[name]])) for row in rows[:_FIRST_ROWS])

    return max(places, key=length, default=columns[0])


def _distinct(columns: Sequence[str]) -> dict[str, int]:
    """The places of the columns whose names no other has; there may be thousands."""
    columns_of = Counter(columns)
    return {name: place for place, name in enumerate(columns) if name and columns_of[name] == 1}


class _Upload(io.BytesIO):
    """The content of a spreadsheet. Each read calls `check`, since openpyxl opens a file without a pause.

    No place can be read many times: a file may name one of its parts thousands of times, and openpyxl would keep as
    many copies.
    """

    def __init__(self, content: bytes, name: str, check: Callable[[], None]) -> None:
        super().__init__(content)
        self._source, self._check = name, check
        self._reads: Counter[int] = Counter()

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes."""
        self._check()
        place = self.tell()
        self._reads[place] += 1
        if self._reads[place] > _MOST_READS:
            raise ApiError(
                422,
                f"{self._source} has the same sheet or picture many times; delete sheets with charts, or copy the "
                "table into a new file",
            )
        return super().read(size)


def _check_size(upload: _Upload, name: str) -> None:
    """Refuse what would take long to read; it is only unpacked here."""
    size = tags = cells = strings = 0
    try:
        with zipfile.ZipFile(upload) as file:
            # What Python reads of other kinds at once has no limit.
            if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in file.infolist()):
                raise ApiError(422, f"{name} is compressed in a way that no spreadsheet program uses; save it again")
            for some in itertools.chain.from_iterable(_expanded(file, entry) for entry in file.infolist()):
                size += len(some)
                cells += len(_CELL_TAG.findall(some))
                strings += len(_STRING_TAG.findall(some))
                tags += some.count(b"<")
                others = tags - cells - strings
                too_many = tags > _MOST_TAGS or strings > _MOST_STRING_TAGS or others > _MOST_OTHER_TAGS
                if size > _MOST_EXPANDED or too_many:
                    raise ApiError(
                        413,
                        f"the spreadsheet {name} is too large when it is unpacked; delete empty rows and columns, "
                        "other sheets, formats and pictures, or cut it into several files",
                    )
    except (zipfile.BadZipFile, ValueError, OSError, RuntimeError):
        return  # the reader says what is wrong


def _expanded(file: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """As much of an entry as can be unpacked; the reader, which may not need it, says what is wrong with it."""
    with (
        suppress(zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, RuntimeError),
        file.open(entry) as part,
    ):
        while some := part.read(_EXPANDED_AT_ONCE):
            yield some


def _spreadsheet(rows: list[list[Any]], *, title: str | None) -> bytes:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    book = Workbook(write_only=True)
    sheet = book.create_sheet(_UNUSABLE_IN_TITLES.sub(" ", title or "labels")[:_LONGEST_TITLE])
    for row in rows:
        cells = []
        for value in row:
            text = ILLEGAL_CHARACTERS_RE.sub("", value) if isinstance(value, str) else value
            cell = WriteOnlyCell(sheet, value=text)
            if isinstance(text, str):
                cell.data_type = "s"  # a text that begins with = is no formula
            cells.append(cell)
        sheet.append(cells)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()
