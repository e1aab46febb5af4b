"""The rows of a spreadsheet (.xlsx), read one after the other without holding the sheet in memory."""

import datetime
import itertools
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from tanzaku.display import counted
from tanzaku.errors import DataError
from tanzaku.extras import require_extra

ENDINGS = (".xlsx", ".xlsm")
ERROR_VALUES = frozenset({"#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!", "#SPILL!"})
_NAMED_ROWS = 3
_LONGEST_CELL = 32_767  # characters
_TITLE_ROWS = 10  # among which the names of the columns are
_ESCAPED = re.compile(r"_x(00[01][0-9A-Fa-f]|005[Ff])_")  # how Excel writes control characters, and _ before x0041_
_RETURN = re.compile("(?<!_x005F)_x000D_")  # not a text that only looks like one
# A cell's XML up to </c>, matched in linear time. A formula whose value is an empty text is of the type "str".
_FORMULA_ALONE = re.compile(
    rb'<c(?![^>]*\st="str")[^>]*>\s*<f(?:\s[^>]*)?(?:/>|>[^<]*</f>)\s*+(?:<v\s*/>|<v>\s*</v>)?\s*+$'
)
_READ_BYTES = 1 << 20
_NOT_A_ZIP = b"\xd0\xcf\x11\xe0"  # an old .xls, or a workbook with a password
# What openpyxl raises where a file is damaged.
_DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    LookupError,
    ValueError,
    OSError,
    SyntaxError,
    TypeError,
    AttributeError,
    RuntimeError,  # encrypted, or compressed in a way that is not known
)


class SheetRows:
    """Each row of a sheet that has a value, as text, with its number in the spreadsheet.

    All rows have as many fields as the longest of the first ten, among which the names of the columns are. Empty rows
    between others are counted in `blank`. What else was left out is in `remarks`.

    Args:
        content: The file.
        source: Names the file in errors.
        sheet: The sheet's name; None: the first that is not empty. `others` are the other sheets that are not empty.

    Raises:
        DataError: The file is not a spreadsheet, or has no such sheet.
    """

    def __init__(self, content: BinaryIO, source: Path | str, *, sheet: str | None = None) -> None:
        self._content, self._source = content, source
        self.blank = 0
        self._beyond: list[int] = []  # the rows with values to the right of the table
        with _workbook(content, source) as book:
            every = [worksheet.title for worksheet in book.worksheets]
            if sheet is not None and sheet not in every:
                raise DataError(
                    f"{source}: there is no sheet {sheet!r}. Its sheets are: {', '.join(map(repr, every))}. "
                    "Name one with --sheet."
                )
            filled = [worksheet.title for worksheet in book.worksheets if _has_values(worksheet)]
            self.sheet: str = sheet or next(iter(filled), every[0])
            self.others = tuple(name for name in filled if name != self.sheet)
            self._formulas = _formulas_alone(book[self.sheet])

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        with _workbook(self._content, self._source) as book:
            rows = self._filled(book[self.sheet])
            first = list(itertools.islice(rows, _TITLE_ROWS))
            width = max((len(row) for _, row in first), default=0)
            for number, row in itertools.chain(first, rows):
                self._beyond += [number] if len(row) > width else []
                yield number, [*row[:width], *[""] * (width - len(row))]

    def remarks(self) -> Iterator[tuple[str, str]]:
        """What was left out of the rows that were read, as a name for programs and a sentence."""
        if self._beyond:
            rows = ", ".join(map(str, self._beyond[:_NAMED_ROWS])) + ("…" if len(self._beyond) > _NAMED_ROWS else "")
            yield (
                "beyond-columns",
                f"values to the right of the columns were left out, in {counted(len(self._beyond), 'row')} ({rows}); "
                "give their columns names to keep them.",
            )
        if self._formulas:
            yield "formulas", read_as_empty(self._formulas)

    def _filled(self, worksheet: Any) -> Iterator[tuple[int, list[str]]]:
        """The rows that have a value, without the empty cells at their ends."""
        empty, begun = 0, False
        for number, cells in enumerate(_values(worksheet), start=1):
            row = [cell_text(value) for value in cells]
            while row and not row[-1].strip():
                row.pop()
            if row:
                self.blank += empty
                empty, begun = 0, True
                yield number, row
            else:
                empty += begun


@dataclass(frozen=True)
class Sheet:
    """The first sheet of a spreadsheet that is not empty, read in one pass.

    Attributes:
        title: Its name.
        rows: Its rows that have a value, with the values as they are, up to the last one of each row.
        others: The other sheets that are not empty.
        blank: How many empty rows are between the others.
        formulas: How many cells have a formula without a stored value.
    """

    title: str
    rows: list[tuple[Any, ...]]
    others: tuple[str, ...]
    blank: int
    formulas: int


def read_sheet(content: BinaryIO, source: Path | str, *, most: int, watch: Callable[[int], None]) -> Sheet:
    """Read a spreadsheet that may be made to waste time.

    Args:
        content: The file.
        source: Names the file in errors.
        most: Read at most so many rows that have a value.
        watch: Gets the number of cells of each row, also of an empty one, before the next is read; it may raise.

    Raises:
        DataError: The file is not a spreadsheet.
    """
    with _workbook(content, source) as book:
        title: str = book.worksheets[0].title
        rows: dict[int, tuple[Any, ...]] = {}  # by their numbers
        others: list[str] = []
        for worksheet in book.worksheets:
            filled = _with_values(worksheet, source, watch)
            if not rows:
                rows = dict(itertools.islice(filled, most))
                title = worksheet.title if rows else title
            elif next(filled, None) is not None:
                others.append(worksheet.title)
        blank = sum(number - before - 1 for before, number in itertools.pairwise(rows))
        return Sheet(title, list(rows.values()), tuple(others), blank, _formulas_alone(book[title]))


def left_out_blanks(count: int) -> str:
    """That blank rows between others were left out, which shifts the rows of the results."""
    blank = counted(count, "blank row")
    return f"left out {blank} between the others. The numbers of the results do not count blank rows."


def read_as_empty(formulas: int) -> str:
    """That so many cells have a formula without a stored value, and what to do about it."""
    return (
        f"{counted(formulas, 'formula')} without a stored value {'is' if formulas == 1 else 'are'} read as empty. "
        "Open and save the file in a spreadsheet program, which stores the values."
    )


def _with_values(
    worksheet: Any, source: Path | str, watch: Callable[[int], None]
) -> Iterator[tuple[int, tuple[Any, ...]]]:
    @cache
    def shorter(text: str) -> str:  # one string, of which openpyxl has one copy, can be in every row
        # A carriage return is seven characters here, which the reader of texts drops too.
        if len(text) <= 7 * _LONGEST_CELL and len(text := _RETURN.sub("", text)) <= _LONGEST_CELL:
            return text
        raise DataError(f"{source}: has a cell of more than {_LONGEST_CELL:,} characters, which Excel can't write")

    for number, row in enumerate(_values(worksheet), start=1):
        watch(len(row))
        if any(isinstance(value, str) and len(value) > _LONGEST_CELL for value in row):
            row = tuple(shorter(value) if isinstance(value, str) else value for value in row)
        width = len(row)
        while width and not cell_text(row[width - 1]).strip():
            width -= 1
        if width:
            yield number, row[:width]


def cell_text(value: Any) -> str:
    """The value of a cell as Excel's CSV file has it, `TRUE` and `FALSE` too, but with dates as in ISO 8601."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return _ESCAPED.sub(_unescaped, str(value))


def _unescaped(found: re.Match[str]) -> str:
    """A control character, or an underscore that only looks like the beginning of one; without carriage returns."""
    return chr(int(found[1], 16)).replace("\r", "")


def _has_values(worksheet: Any) -> bool:
    return any(value is not None for row in _values(worksheet) for value in row)


def _values(worksheet: Any) -> Iterator[tuple[Any, ...]]:
    worksheet.reset_dimensions()  # some programs write wrong ones
    rows: Iterator[tuple[Any, ...]] = worksheet.iter_rows(values_only=True)
    return rows


def _formulas_alone(worksheet: Any) -> int:
    """How many cells have a formula and no value: programs other than those for spreadsheets do not compute it."""
    count, rest = 0, b""
    # openpyxl's read-only sheets do not tell such a cell from an empty one.
    with worksheet._get_source() as content:
        while some := content.read(_READ_BYTES):
            *cells, rest = (rest[-_READ_BYTES:] + some).split(b"</c>")
            count += sum(_FORMULA_ALONE.match(cell, cell.rfind(b"<c")) is not None for cell in cells)
    return count


@contextmanager
def _workbook(content: BinaryIO, source: Path | str) -> Iterator[Any]:
    require_extra("xlsx", purpose=f"reading {source}")
    from openpyxl import load_workbook

    content.seek(0)
    if content.read(4) == _NOT_A_ZIP:
        raise DataError(
            f"{source}: is an old .xls file or has a password. Save it as .xlsx without a password, or as CSV UTF-8."
        )
    content.seek(0)
    # About styles and validations, which are not read. It stays: `catch_warnings` would also hide the warnings of
    # whoever reads the rows, and those of other threads.
    warnings.filterwarnings("ignore", module="openpyxl")
    try:
        with closing(load_workbook(content, read_only=True, data_only=True, keep_links=False)) as book:
            if not book.worksheets:
                raise DataError(f"{source}: has no sheet with cells. Give another file.")
            yield book
    except _DAMAGES as error:
        raise DataError(
            f"{source}: can't be read as a spreadsheet: {error or type(error).__name__}. Open and save it again as "
            ".xlsx, or save it as CSV UTF-8."
        ) from error
