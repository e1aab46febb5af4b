"""A file in shards reads as the whole file does."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanzaku.data.options import ReadOptions
from tanzaku.data.shards import read_shard, shards_of
from tanzaku.data.streaming import stream_texts
from tanzaku.errors import DataError

_OPTIONS = ReadOptions(text_column=("title", "body"), text_separator=" ")


def _rows(count: int) -> list[dict[str, str | None]]:
    return [{"title": f"題{number}", "body": None if number % 5 == 0 else f"文\r{number}"} for number in range(count)]


def _check(source: Path, count: int, rows: int) -> None:
    shards = shards_of(source, _OPTIONS, rows=rows)
    assert [shard.first for shard in shards] == list(range(1, count + 1, rows))
    assert sum(shard.rows for shard in shards) == count
    texts = [list(read_shard(source, shard, _OPTIONS)) for shard in reversed(shards)]
    assert [len(part) for part in texts] == [shard.rows for shard in reversed(shards)]
    assert [text for part in reversed(texts) for text in part] == list(stream_texts(source, _OPTIONS))


@given(count=st.integers(0, 40), group=st.integers(1, 12), rows=st.integers(1, 12))
def test_a_parquet_file_is_cut_anywhere(
    tmp_path_factory: pytest.TempPathFactory, count: int, group: int, rows: int
) -> None:
    source = tmp_path_factory.mktemp("shards") / "texts.parquet"
    schema = pa.schema([("title", pa.string()), ("body", pa.string())])
    pq.write_table(pa.Table.from_pylist(_rows(count), schema=schema), source, row_group_size=group)
    _check(source, count, rows)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_json_lines_are_cut_at_rows_and_blank_lines_are_none(tmp_path: Path, mark: str, rows: int) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in _rows(11)]
    # What strings strip and bytes don't, too.
    lines[4:4] = ["", "  ", "\u3000", "\u00a0\t", "\u0085", "\x1c"]
    (tmp_path / "texts.jsonl").write_text(mark + "\n" + "\n".join(lines) + "\n\n", encoding="utf-8", newline="\n")
    _check(tmp_path / "texts.jsonl", 11, rows)


def test_a_row_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_bytes(b'{"text": "a"}\n\n{"text": "b"}\n{"text": 3}\n{"text": "\xff"}\n')
    options = ReadOptions()
    first, second = shards_of(source, options, rows=2)
    assert list(read_shard(source, first, options)) == ["a", "b"]
    with pytest.raises(DataError, match="line 4: the text is 3"):
        list(read_shard(source, second, options))
    source.write_bytes(b'{"text": "\\ud83d"}\n')
    with pytest.raises(DataError, match="line 1: the text has half a surrogate pair"):
        list(read_shard(source, shards_of(source, options, rows=2)[0], options))
    source.write_bytes(b'{"text": "\xff"}\n')
    with pytest.raises(DataError, match="line 1: is not valid UTF-8"):
        list(read_shard(source, shards_of(source, options, rows=2)[0], options))


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_a_file_that_lost_rows_since_they_were_counted_is_refused(tmp_path: Path, ending: str) -> None:
    source = tmp_path / f"texts{ending}"

    def write(count: int) -> None:
        if ending == ".parquet":
            pq.write_table(pa.table({"title": ["題"] * count, "body": ["文"] * count}), source)
        else:
            source.write_text('{"title": "題", "body": "文"}\n' * count, encoding="utf-8")

    write(5)
    *_, last = shards_of(source, _OPTIONS, rows=3)
    write(4)
    with pytest.raises(DataError, match="only 1 of the 2 rows that were counted from row 4 on"):
        list(read_shard(source, last, _OPTIONS))


def test_what_can_not_be_cut_is_refused(tmp_path: Path) -> None:
    (tmp_path / "texts.csv").touch()
    pq.write_table(pa.table({"body": ["a"]}), tmp_path / "texts.parquet")
    for name, message in (
        ("texts.csv", "only .parquet and .jsonl files"),
        ("missing.jsonl", "there is no such file"),
        ("texts.parquet", "'text'"),
    ):
        with pytest.raises(DataError, match=message):
            shards_of(tmp_path / name, ReadOptions(), rows=1)
