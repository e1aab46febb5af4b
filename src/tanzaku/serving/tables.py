"""A table of texts, such as a CSV file or a spreadsheet, given back with its columns and the labels."""

from __future__ import annotations

import csv
import io
import itertools
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from tanzaku.data.decoding import DEFAULT_ENCODING, detect_encoding
from tanzaku.data.options import ReadOptions
from tanzaku.data.rows import unused_name
from tanzaku.data.streaming import Row, column_names, stream_rows
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
# A spreadsheet is a ZIP file, which a few bytes can make expand to gigabytes.
_MOST_EXPANDED = 100_000_000
_ADDED = ("label", "probability")


@dataclass(frozen=True)
class Table:
    """A table as it came.

    Attributes:
        name: The file's name, whose ending says what it is.
        columns: The names of its columns.
        column: The one with the texts.
        rows: Its rows.
    """

    name: str
    columns: tuple[str, ...]
    column: str
    rows: Sequence[Row]

    @property
    def texts(self) -> list[str]:
        """The text of each row."""
        return [row.text for row in self.rows]


def read_table(content: bytes, *, name: str, column: str | None, most_rows: int) -> Table:
    """Read a .csv, .tsv (in the encoding that `detect_encoding` finds) or .xlsx file.

    Args:
        content: The file.
        name: Its name.
        column: The column with the texts; None: one with a usual name, or the one with the longest texts.
        most_rows: Refuse a table with more rows.

    Raises:
        DataError: It can't be read.
        ApiError: It has too many rows, or is of another kind.
    """
    ending = PurePath(name).suffix.lower()
    if ending not in _MEDIA_TYPES:
        raise ApiError(415, f"{name!r} is not a table that can be read; send a .csv, .tsv or .xlsx file")
    if ending == ".xlsx":
        _check_size(content)
    encoding = DEFAULT_ENCODING if ending == ".xlsx" else detect_encoding(content, name=name)
    with tempfile.TemporaryDirectory(prefix="tanzaku-table-") as folder:
        path = Path(folder) / f"table{ending}"
        path.write_bytes(content)
        try:
            columns = column_names(path, ReadOptions(encoding=encoding))
            chosen = column or _text_column(path, columns, encoding)
            options = ReadOptions(text_column=chosen, encoding=encoding)
            rows = list(itertools.islice(stream_rows(path, options, keep_columns=True), most_rows + 1))
        except DataError as error:
            raise DataError(str(error).replace(str(path), name)) from error
    if len(rows) > most_rows:
        raise ApiError(413, f"{name} has more than {most_rows} rows; cut it into several files")
    return Table(name, columns, chosen, rows)


def write_table(table: Table, predictions: Sequence[Prediction]) -> tuple[bytes, str]:
    """The table with a label and its probability in each row, as a file of the same kind, and its media type."""
    names = [unused_name(name, table.columns) for name in _ADDED]
    rows: list[list[Any]] = [[*table.columns, *names]]
    for row, prediction in zip(table.rows, predictions, strict=True):
        kept = [row.columns.get(name) for name in table.columns]
        rows.append([*kept, prediction.label, round(prediction.probability, 6)])
    ending = PurePath(table.name).suffix.lower()
    if ending == ".xlsx":
        return _spreadsheet(rows), _MEDIA_TYPES[ending]
    text = io.StringIO()
    csv.writer(text, delimiter="\t" if ending == ".tsv" else ",").writerows(rows)
    return text.getvalue().encode("utf-8-sig"), _MEDIA_TYPES[ending]  # Excel needs the mark


def _text_column(path: Path, columns: Sequence[str], encoding: str) -> str:
    if not columns:
        raise DataError(f"{path}: is empty. A first line with the columns' names is needed.")
    if usual := next((name for name in _TEXT_COLUMNS if name in columns), None):
        return usual
    options = ReadOptions(text_column=columns[0], encoding=encoding)
    first = list(itertools.islice(stream_rows(path, options, keep_columns=True), _FIRST_ROWS))
    return max(columns, key=lambda name: sum(len(str(row.columns.get(name) or "")) for row in first))


def _check_size(content: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            size = sum(entry.file_size for entry in file.infolist())
    except (zipfile.BadZipFile, ValueError, OSError):
        return  # the reader says what is wrong
    if size > _MOST_EXPANDED:
        raise ApiError(413, f"the spreadsheet expands to {size} bytes; send a smaller one")


def _spreadsheet(rows: list[list[Any]]) -> bytes:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    book = Workbook(write_only=True)
    sheet = book.create_sheet("labels")
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
