"""Writes a spreadsheet (.xlsx) row by row, without holding it in memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tanzaku.extras import require_extra

MOST_ROWS = 1_048_576
"""Of a sheet of Excel, the header among them."""
_MOST_CHARACTERS = 32_767  # of a cell
_MOST_DIGITS = 15  # of a number
_ESCAPED = re.compile(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")


def write_workbook(path: Path, rows: Iterable[Sequence[Any]]) -> int:
    """Write rows as the only sheet of a workbook.

    Texts stay texts: one that begins with "=" is no formula, and one of digits no number. Whole numbers of more than 15
    digits become texts, since Excel would round them. Control characters are written as Excel escapes them.

    Args:
        path: The file.
        rows: Of texts, numbers, booleans and None.

    Returns:
        How many texts were cut, because a cell holds at most 32,767 characters.

    Raises:
        TanzakuError: openpyxl is not installed.
    """
    require_extra("xlsx", purpose=f"writing {path}")
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell

    book = Workbook(write_only=True)
    sheet = book.create_sheet()
    cut = 0
    for row in rows:
        cells = []
        for value in row:
            content = str(value) if isinstance(value, int) and abs(value) >= 10**_MOST_DIGITS else value
            if not isinstance(content, str):
                cells.append(WriteOnlyCell(sheet, content))
                continue
            written = _escaped(content)
            cut += len(written) > _MOST_CHARACTERS
            cell = WriteOnlyCell(sheet, written[:_MOST_CHARACTERS])
            cell.data_type = "s"
            cells.append(cell)
        sheet.append(cells)
    book.save(path)
    return cut


def _escaped(text: str) -> str:
    """Characters that XML lacks or changes, and texts that read like their escapes, as Excel writes them: _x0007_."""
    return _ESCAPED.sub(lambda match: f"_x{ord(match[0]):04X}_", text)
