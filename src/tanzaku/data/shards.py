"""A large file of texts in shards: parts that are read in any order, each without what is before it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tanzaku.data.decoding import DEFAULT_ENCODING
from tanzaku.data.options import ReadOptions
from tanzaku.data.rows import column_index, parse_json_row, python_values, readable_text_of, reading_parquet
from tanzaku.errors import DataError

_JSON_ENDINGS = (".jsonl", ".ndjson")
_PARQUET_ROWS = 1024  # read at once
_REMEDY = "Name the one with the texts with --column."
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Shard:
    """Some rows of a file that follow each other."""

    first: int
    """The number of the first row, from 1 on."""
    rows: int
    offset: int
    """Where it begins: the byte of the first row of JSON lines; the place of the first row in a Parquet file."""
    line: int
    """The line of the first row of JSON lines, from 1 on; 0 in a Parquet file."""


def shards_of(source: Path, options: ReadOptions, *, rows: int) -> list[Shard]:
    """Divide a Parquet file, or a file of JSON lines in UTF-8, into shards of so many rows; the last one has fewer.

    JSON lines are counted, which reads the file once; blank lines are no rows.

    Args:
        source: The file.
        options: `text_column` must be among a Parquet file's columns.
        rows: How many rows a shard has.

    Raises:
        DataError: The file is missing, is of another kind, or can't be read.
    """
    if not source.is_file():
        raise DataError(f"{source}: there is no such file. Check the path.")
    if source.suffix.lower() == ".parquet":
        return _parquet_shards(source, options, rows)
    if source.suffix.lower() not in _JSON_ENDINGS:
        raise DataError(
            f"{source}: only .parquet and .jsonl files are divided into shards; convert it, or leave --engine out"
        )
    if options.encoding.lower().replace("_", "-") not in (DEFAULT_ENCODING, "utf8"):
        raise DataError(f"{source}: only JSON lines in UTF-8 are divided into shards; convert the file to UTF-8")
    return _json_shards(source, rows)


def read_shard(source: Path, shard: Shard, options: ReadOptions) -> Iterator[str]:
    """The texts of a shard, in their order.

    Raises:
        DataError: A row can't be read; the message names it.
    """
    return (_parquet if source.suffix.lower() == ".parquet" else _json_lines)(source, shard, options)


def _json_shards(source: Path, rows: int) -> list[Shard]:
    shards: list[Shard] = []
    offset = count = 0
    with source.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not _is_blank(_unmarked(line, number)):
                if count % rows == 0:
                    shards.append(Shard(first=count + 1, rows=rows, offset=offset, line=number))
                count += 1
            offset += len(line)
    return _with_last(shards, count)


def _unmarked(line: bytes, number: int) -> bytes:
    return line.removeprefix(_MARK) if number == 1 else line


def _is_blank(line: bytes) -> bool:
    """Whether a line is no row; unlike bytes, strings also strip the ideographic space and others."""
    return not line.decode("utf-8", errors="replace").strip()


def _with_last(shards: list[Shard], count: int) -> list[Shard]:
    if shards:
        last = shards[-1]
        shards[-1] = Shard(last.first, count - last.first + 1, last.offset, last.line)
    return shards


def _json_lines(source: Path, shard: Shard, options: ReadOptions) -> Iterator[str]:
    left = shard.rows
    with source.open("rb") as lines:
        lines.seek(shard.offset)
        for number, marked in enumerate(lines, start=shard.line):
            line = _unmarked(marked, number)
            if _is_blank(line):
                continue
            place = f"{source}: line {number}"
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(f"{place}: is not valid UTF-8: {error.reason}") from error
            row = parse_json_row(text, place, keys=options.text_columns, remedy=_REMEDY)
            yield options.join([readable_text_of(row[name], place) for name in options.text_columns])
            left -= 1
            if left == 0:
                return
    raise _other_rows(source, shard, left)


def _other_rows(source: Path, shard: Shard, left: int) -> DataError:
    """The error that a file has fewer rows than were counted."""
    return DataError(
        f"{source}: has only {shard.rows - left:,} of the {shard.rows:,} rows that were counted from row "
        f"{shard.first:,} on. It has changed since; start again, in another folder"
    )


def _parquet_shards(source: Path, options: ReadOptions, rows: int) -> list[Shard]:
    import pyarrow.parquet as pq

    with reading_parquet(source), pq.ParquetFile(source) as file:
        names, count = file.schema_arrow.names, file.metadata.num_rows
    for name in options.text_columns:
        column_index(source, names, name, remedy=_REMEDY)
    return [Shard(start + 1, min(rows, count - start), start, line=0) for start in range(0, count, rows)]


def _parquet(source: Path, shard: Shard, options: ReadOptions) -> Iterator[str]:
    import pyarrow.parquet as pq

    columns = [*options.text_columns]
    with reading_parquet(source), pq.ParquetFile(source) as file:
        groups, skipped = _groups(file, shard)
        number = shard.first
        for batch in file.iter_batches(batch_size=_PARQUET_ROWS, row_groups=groups, columns=columns):
            wanted = batch.slice(min(skipped, len(batch)), shard.first + shard.rows - number)
            skipped -= len(batch) - len(batch.slice(min(skipped, len(batch))))
            for row in python_values(wanted, source):
                yield options.join([readable_text_of(row[name], f"{source}: row {number}") for name in columns])
                number += 1
            if number == shard.first + shard.rows:
                return
    raise _other_rows(source, shard, shard.first + shard.rows - number)


def _groups(file: Any, shard: Shard) -> tuple[list[int], int]:
    """The row groups that a shard lies in, and how many rows of the first one are before it."""
    metadata = file.metadata
    groups: list[int] = []
    begins = before = 0
    for index in range(metadata.num_row_groups):
        ends = begins + metadata.row_group(index).num_rows
        if ends > shard.offset and begins < shard.offset + shard.rows:
            before = before if groups else shard.offset - begins
            groups.append(index)
        begins = ends
    return groups, before
