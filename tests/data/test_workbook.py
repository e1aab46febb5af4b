"""Workbooks that Tanzaku writes."""

from pathlib import Path
from typing import Any

from openpyxl import load_workbook

from tanzaku.data.workbook import write_workbook


def test_long_whole_numbers_keep_their_digits(tmp_path: Path) -> None:
    """Excel has 15 digits of a number."""
    rows: list[list[Any]] = [
        ["id", "text", "score"],
        [1729384756102938475, "=海", 0.25],
        [-(10**15), "001", 999_999_999_999_999],
    ]
    assert write_workbook(tmp_path / "a.xlsx", rows) == 0
    sheet = load_workbook(tmp_path / "a.xlsx").active
    assert sheet is not None
    cells = list(sheet.iter_rows(values_only=True))
    assert cells[1:] == [
        ("1729384756102938475", "=海", 0.25),
        ("-1000000000000000", "001", 999_999_999_999_999),
    ]
