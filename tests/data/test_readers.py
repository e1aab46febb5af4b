import contextlib
import csv
import datetime
import io
import json
import os
import re
import sys
import threading
import tracemalloc
import unicodedata
import warnings
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tanzaku.data.decoding import decode
from tanzaku.data.findings import warn_of
from tanzaku.data.intake import read_labelled
from tanzaku.data.options import ReadOptions
from tanzaku.data.raw import RowError
from tanzaku.data.readers import Source, read_documents, source_of
from tanzaku.data.rows import label_of
from tanzaku.data.shards import read_shard, shards_of
from tanzaku.data.streaming import stream_texts
from tanzaku.errors import DataError, TanzakuError, TanzakuWarning

ROWS = [('改行\nと、"引用", comma', "スポーツ"), ("絵文字 🎋\u2028 end", "映画"), (" 前後の空白 ", "スポーツ")]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def as_csv(rows: list[tuple[str, str]], delimiter: str = ",") -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter).writerows([("text", "label"), *rows])
    return stream.getvalue()


def write_rows(path: Path) -> Path:
    texts, labels = [text for text, _ in ROWS], [label for _, label in ROWS]
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"id": [1, 2, 3], "text": texts, "label": pa.array(labels).dictionary_encode()}), path)
    elif path.suffix == ".jsonl":
        lines = (json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in ROWS)
        write(path, "\n".join(lines) + "\n\n")
    else:
        write(path, as_csv(ROWS, "\t" if path.suffix == ".tsv" else ","))
    return path


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_rows_unchanged(tmp_path: Path, ending: str) -> None:
    documents = read_documents(write_rows(tmp_path / f"rows.{ending}"))
    assert list(zip(documents.texts, documents.labels, strict=True)) == ROWS
    assert len(set(documents.places)) == 3


def test_a_folder_per_class_is_read_in_name_order_and_tells_what_it_left(tmp_path: Path) -> None:
    for name, text in (
        ("b/2.txt", "二"),
        ("b/1.txt", "一"),
        ("a/x.TXT", "壱"),
        ("a/LICENSE.txt", "l"),
        ("a/y.pdf", "p"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, text)
    write(tmp_path / "README.txt", "about")
    documents = read_documents(tmp_path, options=ReadOptions(skip=("LICENSE*",)))
    assert documents.texts == ["壱", "一", "二"]
    assert documents.labels == ["a", "b", "b"]
    assert documents.unread == ["README.txt", "a/LICENSE.txt", "a/y.pdf"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp932", "euc-jp"])
def test_text_files_are_read_in_their_encoding_without_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path / "rows.csv", as_csv([("日本語", "和")]).encode(encoding))
    named = "utf-8" if encoding == "utf-8-sig" else encoding
    documents = read_documents(path, options=ReadOptions(encoding=named))
    assert (documents.texts, documents.labels) == (["日本語"], ["和"])


def test_an_undecodable_byte_is_placed_and_the_fitting_encoding_named(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", as_csv([("abc", "x"), ("日本語の文章です", "和")]).encode("cp932"))
    with pytest.raises(DataError, match=r"rows\.csv: line 3: the byte 0x93 at offset 19 .* pass --encoding cp932"):
        read_documents(path)


@pytest.mark.parametrize("name", ["utf-ate", "hex", ""])
def test_an_unknown_encoding_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"rows\.csv: .* is not a known text encoding"):
        decode(b"text,label\n", name="rows.csv", encoding=name)


def test_a_missing_column_names_the_columns_there_are(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "body,class\nx,y\n")
    with pytest.raises(DataError, match=r"rows\.csv: there is no column named 'text'.*'body', 'class'.*--text-column"):
        read_documents(path)
    assert read_documents(path, options=ReadOptions(text_column="body", label_column="class")).texts == ["x"]


def test_a_missing_parquet_column_names_the_columns_there_are(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"no column named 'body'.*'id', 'text', 'label'"):
        read_documents(path, options=ReadOptions(text_column="body"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "text,label\n", "holds no documents"),
        ("a.csv", "text,text,label\nx,y,z\n", "there are 2 columns named 'text'"),
        ("a.csv", "text,label\nx,y\nx,y,z\n", r"row 2 \(line 3\): has 3 fields, the header has 2"),
        ("a.csv", 'text,label\n"two\nlines",y\nx\n', r"row 2 \(line 4\): has 1 field,"),
        ("a.csv", 'text,label\nx,y\n"open,z\n', "the row from line 3 on .*--no-quotes"),
        ("a.csv", 'text,label\n"x" y,z\n', "the row from line 2 on"),
        ("a.jsonl", '{"text": "x", "label": "y"}\n{"text": ', "line 2: is not JSON"),
        ("a.jsonl", "[1]\n", "line 1: holds a JSON list"),
        ("a.jsonl", '{"body": "x", "label": "y"}\n', "there is no key named 'text'.*'body', 'label'"),
        ("a.jsonl", '{"text": 3, "label": "y"}\n', "line 1: the text is 3, of the type int"),
        ("a.jsonl", '{"text": "x", "label": ["y"]}\n', "line 1: the label is"),
        ("a.jsonl", '{"text": "x", "label": 0.5}\n', "line 1: the label is 0.5"),
        ("a.parquet", "no parquet", "can't be read as Parquet"),
        ("a.xlsx", "x", "can't be read as a spreadsheet: .*CSV UTF-8"),
        ("a.ods", "x", "can't tell the format from the ending '.ods'.*CSV UTF-8"),
        ("a.odt", "x", "can't tell the format from the ending '.odt'.*csv, tsv, xlsx, jsonl, parquet, folder"),
    ],
)
def test_bad_input_is_placed_and_explained(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_documents(write(tmp_path / name, content))
    assert name in str(caught.value)


def test_a_source_that_is_not_there_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        read_documents(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="is a folder, which can't be read as csv"):
        read_documents(tmp_path, options=ReadOptions(format="csv"))
    with pytest.raises(DataError, match="there is no format 'xml'"):
        read_documents(tmp_path, options=ReadOptions(format="xml"))


def test_labels_of_every_plain_type_become_names(tmp_path: Path) -> None:
    values = [1, True, "a", None, 2.0, float("nan")]
    path = write(tmp_path / "a.jsonl", "\n".join(json.dumps({"text": "x", "label": value}) for value in values))
    assert read_documents(path).labels == ["1", "true", "a", "", "2", ""]


@pytest.mark.parametrize("ending", ["csv", "tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_that_the_header_shows(tmp_path: Path, ending: str, delimiter: str) -> None:
    texts = ["a,b;c\td|e", "一、二,三;四;五", "x;y"]
    body = as_csv([(text, "z") for text in texts], delimiter)
    for content in (body, body.encode("utf-16"), f"sep={delimiter}\r\n{body}"):
        assert read_documents(write(tmp_path / f"a.{ending}", content)).texts == texts
    named = {"\t": "tab", ";": "semicolon"}.get(delimiter, delimiter)
    assert read_documents(tmp_path / f"a.{ending}", options=ReadOptions(delimiter=named)).texts == texts
    options = ReadOptions(delimiter=";" if delimiter == "," else ",")
    with pytest.raises(DataError, match=r"separated by a|there is no column named"):
        read_documents(write(tmp_path / f"a.{ending}", body), options=options)


@pytest.mark.parametrize("delimiter", ["", "ab", '"', "\n"])
def test_what_can_not_separate_columns_is_refused(delimiter: str) -> None:
    with pytest.raises(DataError, match=r"is not valid; give one character .*comma, semicolon, tab, pipe"):
        ReadOptions(delimiter=delimiter)


def test_several_text_columns_are_joined_in_their_order_without_the_empty_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "本文,件名,label\n届かない,配送,x\n返したい,,y\n")
    options = ReadOptions(text_column=("件名", "本文"))
    assert read_documents(path, options=options).texts == ["配送\n届かない", "返したい"]
    options = ReadOptions(text_column=("件名", "本文"), text_separator=" / ")
    assert read_documents(path, options=options).texts == ["配送 / 届かない", "返したい"]


def test_a_group_is_read_from_its_column(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "a", "label": 1, "k": 7}\n{"text": "b", "label": 2, "k": null}\n')
    assert read_documents(path, options=ReadOptions(group_column="k")).groups == ["7", ""]
    assert read_documents(path).groups == []


def test_a_spreadsheet_is_read_as_a_csv_file_would_be(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (
        [" 本文 ", None, "年", "メモ"],
        ["配送が\n遅い", "x", 2024, None],
        [None, None],
        [12.0, "x", datetime.date(2024, 1, 2), "a", "outside"],
        [True, None, 0.5],
    ):
        sheet.append(row)
    book.create_sheet("空")
    book.create_sheet("回答").append(["text", "label"])
    book["回答"].append(["本文", "y"])
    book.save(path := tmp_path / "a.xlsx")
    documents = read_documents(path, options=ReadOptions(text_column="本文", label_column="年"))
    assert documents.texts == ["配送が\n遅い", "12", "TRUE"]
    assert documents.labels == ["2024", "2024-01-02", "0.5"]
    assert documents.places == ["row 2", "row 4", "row 5"]
    assert documents.blank == 1
    assert [problem.kind for problem in documents.problems] == ["other-sheets"]
    assert "only the sheet 'Sheet' was read, not '回答'; use --sheet" in documents.problems[0].message
    assert read_documents(path, options=ReadOptions(sheet="回答")).texts == ["本文"]


def test_formulas_without_a_value_are_not_taken_for_empty_cells(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["text", "label"], ["海", "a"], ['=A2&"です"', "a"], ["山", "=B2"]):
        book.active.append(row)
    book.save(path := tmp_path / "a.xlsx")
    message = "2 formulas without a stored value are read as empty. Open and save the file in a spreadsheet program"
    assert [problem.message.partition(", which")[0] for problem in read_documents(path).problems] == [message]
    with pytest.warns(TanzakuWarning, match=message):
        assert list(stream_texts(path)) == ["海", "", "山"]
    # Excel stores the values; that of a text is another type of cell, and may be empty.
    _rewrite(path, rb'<c r="A3"><f>([^<]*)</f><v ?/?>(</v>)?</c>', rb'<c r="A3" t="str"><f>\1</f><v></v></c>')
    _rewrite(path, rb'<c r="B4"><f>([^<]*)</f><v ?/?>(</v>)?</c>', rb'<c r="B4" t="str"><f>\1</f><v>a</v></c>')
    documents = read_documents(path)
    assert documents.texts == ["海", "", "山"]
    assert documents.labels == ["a", "a", "a"]
    assert "formulas" not in [problem.kind for problem in documents.problems]


def _rewrite(path: Path, pattern: bytes, new: bytes) -> None:
    """Change the XML of a spreadsheet's one sheet."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    parts[sheet], found = re.subn(pattern, new, parts[sheet])
    assert found == 1
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def test_a_spreadsheet_leaves_others_their_warnings(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["text", "label"], ["海", "a"], ["山", "b"]):
        book.active.append(row)
    book.save(path := tmp_path / "a.xlsx")
    all_are_ignored = ("ignore", None, Warning, None, 0)
    assert all_are_ignored not in warnings.filters
    first, second = stream_texts(path), stream_texts(path)
    assert (next(first), next(second)) == ("海", "海")
    assert all_are_ignored not in warnings.filters
    assert [*first, *second] == ["山", "山"]
    assert all_are_ignored not in warnings.filters


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff\xfe"]).buffers()), "can't decode byte 0xff"),
        (pa.array([0, 2**61]).cast(pa.timestamp("us")), "out of range"),
    ],
    ids=["not UTF-8", "after the year 9999"],
)
def test_values_of_parquet_that_python_does_not_have_are_refused(
    tmp_path: Path, values: pa.Array, message: str
) -> None:
    pq.write_table(pa.table({"text": values, "label": ["a", "b"]}), path := tmp_path / "a.parquet")
    (shard,) = shards_of(path, ReadOptions(), rows=2)
    for read in (
        lambda: read_documents(path),
        lambda: list(stream_texts(path)),
        lambda: list(read_shard(path, shard, ReadOptions())),
    ):
        with pytest.raises(DataError, match=rf"a\.parquet: can't be read as Parquet: .*{message}"):
            read()


def test_columns_of_parquet_with_the_same_name_are_said_to_be_so(tmp_path: Path) -> None:
    columns = [pa.array(["海"]), pa.array(["山"]), pa.array(["a"])]
    pq.write_table(pa.Table.from_arrays(columns, names=["text", "text", "label"]), path := tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: .*2 columns .*'text'"):
        read_documents(path)


def test_characters_that_excel_escapes_are_read_as_what_they_are(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["text", "label"], ["一_x000B_二_x000D_\n三", "a"], ["_x005F_x0041_と_x0042_", "b"]):
        book.active.append(row)
    book.save(path := tmp_path / "a.xlsx")
    expected = ["一\x0b二\n三", "_x0041_と_x0042_"]
    assert read_documents(path).texts == expected
    assert list(stream_texts(path)) == expected


def test_reading_a_spreadsheet_without_openpyxl_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(
        TanzakuError, match=r"a\.xlsx needs openpyxl.*pip install openpyxl defusedxml \(the extra 'xlsx'\)"
    ):
        read_documents(write(tmp_path / "a.xlsx", "x"))


def test_a_file_from_a_pipe_is_recognised_by_its_content(tmp_path: Path) -> None:
    for ending in ("csv", "tsv", "jsonl", "parquet"):
        data = write_rows(tmp_path / f"rows.{ending}").read_bytes()
        documents = read_documents(Source("standard input", data=data))
        assert list(zip(documents.texts, documents.labels, strict=True)) == ROWS
    with pytest.raises(DataError, match=r"^standard input: line 2: the byte .*--encoding cp932"):
        read_documents(Source("standard input", data="text,label\n本文です,x\n".encode("cp932")))
    with pytest.raises(DataError, match=r"^standard input: holds one JSON list.*jq -c"):
        read_documents(Source("standard input", data=b'[\n {"text": "a", "label": "b"}]'))


def test_a_named_pipe_is_read_once(tmp_path: Path) -> None:
    """Its checksum is that of what was read."""
    content = write_rows(tmp_path / "rows.csv").read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,), daemon=True)
    writer.start()
    source = source_of(pipe)
    writer.join(20)
    assert (source.name, source.content()) == (str(pipe), content)
    documents = read_documents(source)
    assert list(zip(documents.texts, documents.labels, strict=True)) == ROWS


def _arrow(rows: list[tuple[Any, ...]], columns: list[str]) -> pa.Table:
    return pa.table([*map(list, zip(*rows, strict=True))], names=columns)


@pytest.mark.parametrize("make", [pd.DataFrame, _arrow])
def test_columns_of_one_name_in_memory_are_only_an_error_if_they_are_wanted(make: Any) -> None:
    rows = [("a", "x", 1, 2), ("b", "y", 3, 4)]
    documents = read_documents(make(rows, columns=["text", "label", "note", "note"]))
    assert (documents.texts, documents.labels) == (["a", "b"], ["x", "y"])
    with pytest.raises(DataError, match="there is no column named 'text'"):
        read_documents(make(rows, columns=["body", "label", "note", "note"]))
    with pytest.raises(DataError, match="there are 2 columns named 'text'"):
        read_documents(make(rows, columns=["text", "label", "text", "note"]))


def test_labels_of_numpy_are_names_and_minus_one_is_no_class_of_a_hub_data_set() -> None:
    pairs = list(zip(["a", "b"], np.array([1, 2]), strict=True))
    assert read_documents(pairs).labels == ["1", "2"]
    assert read_documents([("a", np.True_), ("b", np.float64(3.0))]).labels == ["true", "3"]
    assert label_of(-1, "row 1", names=["配送", "請求"]) == ""
    with pytest.raises(RowError, match=r"row 1: the label is 2\. The data set names classes 0 to 1"):
        label_of(2, "row 1", names=["配送", "請求"])


def test_rows_that_a_quotation_joined_are_warned_of(tmp_path: Path) -> None:
    """A text with a line break is no such row, unless each of its lines looks like one."""
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"これは良い。\tpos\n中間\tpos\nしかし高い。"\tneg\n次\tneg\n')
    rows, findings = read_labelled(path, ReadOptions())
    with pytest.warns(TanzakuWarning, match=r"lines 2 to 4: a double quote opens.* pass --no-quotes"):
        warn_of(findings)
    assert len(rows.documents) == 2
    assert len(read_documents(path, options=ReadOptions(quotes=False)).texts) == 4
    with pytest.warns(TanzakuWarning, match=r"a\.tsv: lines 2 to 4: "):
        assert len(list(stream_texts(path, ReadOptions()))) == 2
    broken = write(tmp_path / "b.csv", 'text,label\n"一行目\n二行目",pos\n"a\n\nb",neg\n')
    assert [one.kind for one in read_labelled(broken, ReadOptions())[1] if one.kind == "quotes"] == []


def test_a_name_that_is_also_a_value_is_no_header_below(tmp_path: Path) -> None:
    rows = "".join(f"2026-01-0{day},太郎,text,こんにちは{day}さん,{'ab'[day % 2]}\n" for day in range(1, 7))
    path = write(tmp_path / "a.csv", f"date,user,type,body,label\n{rows}")
    with pytest.raises(DataError, match=r"there is no column named 'text'\..*Probably: --text-column body"):
        read_documents(path)
    frame = pd.DataFrame({"body": ["text", "b", "c"], "kind": ["label", "y", "y"]})
    with pytest.raises(DataError, match="there is no column named 'text' or 'label'"):
        read_documents(frame)  # whose names are above all rows


class Features(dict[str, Any]):
    pass


class ClassLabel:
    names: ClassVar = ["配送", "請求"]


class HubDataset:
    """The interface of `datasets.Dataset` that is used."""

    column_names: ClassVar = ["text", "label"]
    features: ClassVar = Features(text="string", label=ClassLabel())

    def __getitem__(self, name: str) -> list[Any]:
        columns: dict[str, list[Any]] = {"text": ["a", "b", None], "label": [1, 0, None]}
        return columns[name]


class PolarsFrame:
    """The interface of `polars.DataFrame` that is used."""

    columns: ClassVar = ["text", "label"]

    def __getitem__(self, name: str) -> Any:
        return pa.chunked_array([{"text": ["a", "b", None], "label": ["請求", "配送", None]}[name]])


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"id": [1, 2, 3], "text": ["a", "b", None], "label": ["請求", "配送", np.nan]}, index=[7, 7, 9]),
        pd.DataFrame({"text": ["a", "b", pd.NA], "label": ["請求", "配送", None]}, dtype="string"),
        pa.table({"text": ["a", "b", None], "label": ["請求", "配送", None]}),
        [("a", "請求"), ["b", "配送"], (None, None)],
        iter([("a", "請求"), ("b", "配送"), ("", "")]),
        HubDataset(),
        PolarsFrame(),
    ],
    ids=lambda table: type(table).__name__,
)
def test_tables_and_pairs_in_memory_are_read(table: Any) -> None:
    documents = read_documents(table)
    assert documents.texts == ["a", "b", ""]
    assert documents.labels == ["請求", "配送", ""]
    assert len(set(documents.places)) == 3


def test_numbers_of_a_data_frame_are_labels_and_groups_and_no_texts() -> None:
    frame = pd.DataFrame({"t": ["a", "b"], "y": [1.0, 2.0], "k": [3, 4]})
    documents = read_documents(frame, options=ReadOptions(text_column="t", label_column="y", group_column="k"))
    assert (documents.labels, documents.groups) == (["1", "2"], ["3", "4"])
    with pytest.raises(DataError, match=r"^the DataFrame: row 1: the text is 3, of the type int; row 2"):
        read_documents(frame, options=ReadOptions(text_column="k", label_column="y"))
    with pytest.raises(DataError, match=r"^the DataFrame: there is no column named 'text' or 'label'"):
        read_documents(frame)


def test_what_has_no_documents_is_refused() -> None:
    with pytest.raises(DataError, match=r"a dictionary of the splits .train., .test.\. Give one"):
        read_documents({"train": HubDataset(), "test": HubDataset()})
    with pytest.raises(
        DataError, match=r"can't read documents from an object of the type int. Give a path, a DataFrame"
    ):
        read_documents(3)
    with pytest.raises(DataError, match=r"^the list: item 2: is of the type str and not a pair\. Give pairs"):
        read_documents([("a", "b"), "ab"])
    with pytest.raises(DataError, match=r"^the list: holds no documents"):
        read_documents([])


def test_quotes_can_be_plain_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"半端な引用\ty\n')
    assert read_documents(path, options=ReadOptions(quotes=False)).texts == ['"半端な引用']


def test_a_text_of_any_length_is_read_and_the_csv_module_is_left_as_it_was(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    path = write(tmp_path / "a.csv", f"text,label\n{'長' * 200_000},y\n")
    assert len(read_documents(path).texts[0]) == 200_000
    assert csv.field_size_limit() == limit


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(max_size=200), ending=st.sampled_from(["csv", "tsv", "jsonl", "parquet"]))
def test_no_bytes_at_all_raise_anything_but_a_data_error(tmp_path: Path, data: bytes, ending: str) -> None:
    path = write(tmp_path / f"any.{ending}", data)
    with contextlib.suppress(DataError):
        assert len(read_documents(path))


def test_an_object_without_a_group_has_none(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "海", "label": "a", "k": 1}\n{"text": "空", "label": "b"}\n', encoding="utf-8")
    assert read_documents(path, options=ReadOptions(group_column="k")).groups == ["1", ""]


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b"\n\n", b"\xef\xbb\xbf \r\n"])
def test_json_lines_are_recognised_behind_a_mark_and_blank_lines(start: bytes) -> None:
    content = start + '{"text": "海", "label": "a"}\n'.encode()
    assert read_documents(Source("standard input", data=content)).texts == ["海"]


def test_the_name_of_a_class_is_in_nfc_as_people_type_it(tmp_path: Path) -> None:
    """macOS writes the names of folders in NFD."""
    for name in ("バグ", unicodedata.normalize("NFD", "バグ")):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        write(folder / f"{len(name)}.txt", "動かない")
    assert read_documents(tmp_path).labels == ["バグ"] * 2


ROWS_THAT_LACK_KEYS = """{"text": "海", "label": "a"}
{"text": "山"}
{"label": "b"}
{"text": "空", "label": "b"}
"""


def test_an_object_without_text_or_label_is_left_out_where_empty_ones_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ROWS_THAT_LACK_KEYS)
    rows, findings = read_labelled(path, ReadOptions(drop_empty=True, drop_unlabelled=True))
    assert (rows.texts, rows.labels, findings) == (["海", "空"], ["a", "b"], [])
    assert rows.dropped == {"rows with an empty text": 1, "rows without a label": 1}
    with pytest.raises(DataError, match=r"line 3: there is no key 'text', the keys are: 'label'\. .* --drop-empty"):
        read_documents(path, options=ReadOptions(drop_unlabelled=True))
    with pytest.raises(
        DataError, match=r"line 2: there is no key 'label', the keys are: 'text'\. .* --drop-unlabelled"
    ):
        read_documents(path, options=ReadOptions(drop_empty=True))
    with pytest.raises(DataError, match="there is no key named '分類'"):  # that no row has
        read_documents(path, options=ReadOptions(label_column="分類", drop_unlabelled=True))


def test_an_object_without_one_of_several_texts_has_the_others(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"件名": "海", "本文": "青い", "label": "a"}\n{"本文": "山", "label": "b"}\n')
    options = ReadOptions(text_column=["件名", "本文"], drop_empty=True)
    assert read_documents(path, options=options).texts == ["海\n青い", "山"]


def _with_a_key_per_row(count: int) -> str:
    rows = ({"本文": f"本文その{row}", "分類": "ab"[row % 2], f"メモ{row}": "x"} for row in range(count))
    return "\n".join(map(json.dumps, rows))


def test_keys_that_differ_from_row_to_row_take_memory_by_their_number_only(tmp_path: Path) -> None:
    """A table of all keys would have nine million cells, of eight bytes each."""
    path = write(tmp_path / "a.jsonl", _with_a_key_per_row(3000))
    tracemalloc.start()
    documents = read_documents(path, options=ReadOptions(text_column="本文", label_column="分類"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(documents), documents.labels[:3]) == (3000, ["a", "b", "a"])
    assert peak < 25e6


def test_all_keys_of_a_file_are_listed_where_none_has_the_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", _with_a_key_per_row(300))
    keys = ", ".join(f"'メモ{row}'" for row in range(300))
    with pytest.raises(DataError) as caught:
        read_documents(path)
    assert str(caught.value) == (
        f"{path}: there is no key named 'text' or 'label'. The keys are: '本文', '分類', {keys}. Probably: "
        "--text-column 本文 --label-column 分類."
    )
    with pytest.raises(DataError, match=r"'メモ299' differs from 'メモ２９９' only in width"):
        read_documents(path, options=ReadOptions(text_column="本文", label_column="メモ２９９"))
