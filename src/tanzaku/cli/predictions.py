"""How predictions are printed: a table for people, JSONL, CSV and TSV for programs, one line per prediction."""

import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

from rich.cells import cell_len, set_cell_size

from tanzaku.data.rows import unused_name
from tanzaku.data.workbook import MOST_ROWS
from tanzaku.errors import DataError

if TYPE_CHECKING:
    from tanzaku.data.streaming import Row
    from tanzaku.ship.classifier import Prediction


class Format(StrEnum):
    """Output formats of predictions."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    XLSX = "xlsx"


@dataclass(frozen=True)
class Layout:
    """What a line shows.

    `begun`: lines follow others of an interrupted output, so there is no header.

    `top` labels of `label_names`, the likeliest first; the text itself where `with_text` is True; `width` is the
    terminal's, in cells, and only used by tables. `keeps_columns`: the input's columns come first, the text among
    them; `columns` are their names, empty if they are only known from the first row. `abstains`: texts may be left
    without an answer, so there is a column with the likeliest label of those, whose own label is `otherwise`.
    """

    label_names: tuple[str, ...]
    top: int
    with_text: bool
    width: int
    keeps_columns: bool = False
    columns: tuple[str, ...] = ()
    abstains: bool = False
    otherwise: str = ""
    begun: bool = False


_COLUMNS = ("label", "probability", "score")
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # what JSON can escape and no encoding has

Write = Callable[[int, "Row", "Prediction"], None]


def writer(kind: Format, stream: TextIO, layout: Layout) -> Write:
    """A function that prints one prediction: the text's number starting at 1, the text with its row, its prediction."""
    if kind is Format.TABLE:
        return _table(stream, layout)
    if kind is Format.JSONL:
        return _json_lines(stream, layout)
    if kind is Format.XLSX:
        return _separated(_json_cells(stream), layout, most_rows=MOST_ROWS)
    rows = csv.writer(_LineFeeds(stream), delimiter="," if kind is Format.CSV else "\t")
    return _separated(rows.writerow, layout)


def _ranks(prediction: "Prediction", layout: Layout) -> list[tuple[str, float, float]]:
    """Label, probability and score of the `top` likeliest labels."""
    if layout.top == 1 or prediction.scores is None or prediction.probabilities is None:
        return [(prediction.label, prediction.probability, prediction.score)]
    ranks = [(label, prediction.probabilities[label], score) for label, score in prediction.scores.items()]
    return ranks[: layout.top]


def _json_lines(stream: TextIO, layout: Layout) -> Write:
    names: dict[str, str] = {}  # of what is added

    def write(number: int, row: "Row", prediction: "Prediction") -> None:
        content: dict[str, Any] = {"number": number}
        if layout.with_text and not layout.keeps_columns:
            content["text"] = row.text
        content |= {"label": prediction.label, "probability": prediction.probability, "score": prediction.score}
        if layout.top > 1:
            content["top"] = [dict(zip(_COLUMNS, rank, strict=True)) for rank in _ranks(prediction, layout)]
        if layout.abstains:
            content["suggestion"] = prediction.suggestion
        columns = {name: _json_value(value) for name, value in row.columns.items()}
        if not names:
            names.update({name: unused_name(name, layout.columns or columns) for name in content})
        if taken := next((name for name in names.values() if name in columns), None):
            raise DataError(
                f"row {number} has the column {taken!r}, which the first row does not have; give the first row one "
                "too, which may be null, or leave out --keep-columns"
            )
        content = {**columns, **{names[name]: value for name, value in content.items()}}
        line = json.dumps(content, ensure_ascii=False, allow_nan=False, default=str)
        stream.write(_HALF_CHARACTER.sub(lambda half: f"\\u{ord(half[0]):04x}", line) + "\n")

    return write


def unwritable(error: UnicodeEncodeError, number: int, row: "Row") -> DataError:
    """The error that the output's encoding lacks a character of a row, and what can be done about it."""
    character = error.object[error.start]
    columns = (name for name, value in row.columns.items() if character in f"{name}{value}")
    place = next((f"row {number}: the column {name!r}" for name in columns), f"text {number}")
    if _HALF_CHARACTER.match(character):
        return DataError(
            f"{place} contains {character!r}, half a surrogate pair, which is not a character; correct the escapes "
            "(\\ud800 to \\udfff) in the file, or use --format jsonl, which keeps them"
        )
    return DataError(
        f"{place} contains {character!r}, which {error.encoding} can't encode; use --output-encoding utf-8-sig, which "
        "Excel opens too"
    )


def _json_value(value: Any) -> Any:
    """The value with None for numbers that JSON lacks, such as the NaN of a missing one in many Parquet files."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _json_value(one) for name, one in value.items()}
    return list(map(_json_value, value)) if isinstance(value, list | tuple) else value


def _cell(value: Any) -> Any:
    """The value in a table: lists and objects as JSON, and nothing for numbers that JSON lacks."""
    value = _json_value(value)
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else value


@dataclass(frozen=True)
class _LineFeeds:
    """Ends rows with only a line feed. csv's own setting for that leaves a carriage return in a text unquoted."""

    stream: TextIO

    def write(self, row: str) -> None:
        """Write one row."""
        self.stream.write(row.removesuffix("\r\n") + "\n")


def _json_cells(stream: TextIO) -> Callable[[Iterable[object]], object]:
    """Rows as JSON lists, one per line, of which a workbook is made at the end."""

    def write(cells: Iterable[object]) -> None:
        stream.write(json.dumps(list(cells), ensure_ascii=False, allow_nan=False, default=str) + "\n")

    return write


def _separated(
    write_row: Callable[[Iterable[object]], object], layout: Layout, *, most_rows: int | None = None
) -> Write:
    has_text = layout.with_text and not layout.keeps_columns
    ranks = [f"{name}{'' if rank == 1 else f'_{rank}'}" for rank in range(1, layout.top + 1) for name in _COLUMNS]
    names = ["number", *(["text"] if has_text else []), *ranks, *(["suggestion"] if layout.abstains else [])]
    kept: list[str] | None = None

    def begin(columns: Iterable[str]) -> None:
        nonlocal kept
        kept = list(columns)
        if not layout.begun:
            write_row([*kept, *(unused_name(name, kept) for name in names)])

    if layout.columns or not layout.keeps_columns:
        begin(layout.columns)

    def write(number: int, row: "Row", prediction: "Prediction") -> None:
        if kept is None:
            begin(row.columns)
        if most_rows is not None and number >= most_rows:
            raise DataError(f"a sheet of Excel holds {most_rows:,} rows; use --format csv for more")
        if unknown := sorted(set(row.columns) - set(kept or ())):
            raise DataError(
                f"row {number} has the column {unknown[0]!r}, which the first row does not have, so it can't be kept "
                "in a table; use --format jsonl"
            )
        values: list[object] = [value for rank in _ranks(prediction, layout) for value in rank]
        values[0] = prediction.label
        if layout.abstains:
            values.append(prediction.suggestion)
        columns = [_cell(row.columns.get(name)) for name in kept or ()]
        write_row([*columns, number, *([row.text] if has_text else []), *values])

    return write


def _table(stream: TextIO, layout: Layout) -> Write:
    """Columns of fixed width, so that a line can be printed before the next text is read."""
    label_width = max(map(cell_len, (*layout.label_names, layout.otherwise, "label")))
    heading = "probability"

    def line(ranks: Sequence[tuple[str, str]], text: str) -> str:
        cells = [f"{set_cell_size(label, label_width)}  {value:>{len(heading)}}" for label, value in ranks]
        before = "  ".join(cells)
        if not layout.with_text:
            return before + "\n"
        shown = "".join(character if character.isprintable() else " " for character in text[: layout.width + 1])
        return f"{before}  {_cut(shown, max(10, layout.width - cell_len(before) - 2))}\n"

    def write(_number: int, row: "Row", prediction: "Prediction") -> None:
        ranks = [(label, f"{100 * probability:.1f} %") for label, probability, _ in _ranks(prediction, layout)]
        ranks[0] = (prediction.label, ranks[0][1])
        stream.write(line(ranks, row.text))

    if not layout.begun:
        stream.write(line([("label", heading)] * layout.top, "text"))
    return write


def _cut(text: str, width: int) -> str:
    if len(text) <= width and cell_len(text) <= width:
        return text
    return set_cell_size(text[:width], width - 1) + "…"
