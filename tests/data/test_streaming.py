"""Texts from files of any size: what `read_documents` reads, but one by one."""

import csv
import json
import tracemalloc
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanzaku.data.decoding import check_encoding, decode
from tanzaku.data.options import ReadOptions
from tanzaku.data.readers import read_documents
from tanzaku.data.streaming import Remedies, column_names, stream_lines, stream_rows, stream_texts
from tanzaku.errors import DataError, TanzakuWarning

TEXTS = ["海", '引用"符, と\n改行\tと\r\n行', "", "終わり\u2028行"]


def _write(path: Path, texts: list[str], *, column: str = "text") -> Path:
    rows = [{column: text, "label": "x"} for text in texts]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        sheet = book.active
        assert sheet is not None
        for row in ([column, "label"], *([row[column] or None, "x"] for row in rows)):
            sheet.append(row)
        book.save(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8-sig", newline="") as handle:
            writer = csv.DictWriter(handle, [column, "label"], delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".xlsx", ".jsonl", ".parquet"])
def test_rows_come_as_the_importer_reads_them(tmp_path: Path, ending: str) -> None:
    path = _write(tmp_path / f"texts{ending}", TEXTS, column="body")
    options = ReadOptions(text_column="body")
    # XML has no carriage returns.
    texts = [text.replace("\r\n", "\n") for text in TEXTS] if ending == ".xlsx" else TEXTS
    assert list(stream_texts(path, options)) == texts == read_documents(path, options=options).texts
    assert column_names(path, options) == (() if ending == ".jsonl" else ("body", "label"))
    with pytest.raises(DataError, match=r"named 'text'.*'body', 'label'|no key 'text'.*'body', 'label'"):
        list(stream_texts(path))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\ufeff"))))
def test_a_line_is_a_text_and_no_line_is_lost(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("lines") / "texts.txt"
    path.write_bytes("".join(f"{text}\n" for text in texts).encode())
    assert list(stream_texts(path)) == texts
    with path.open("rb") as handle:
        assert list(stream_lines(handle, name="x")) == texts


def test_the_last_line_needs_no_end_and_windows_line_ends_are_ends(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes("\ufeff海\r\n\r\n山".encode())
    assert list(stream_texts(path)) == ["海", "", "山"]
    path.write_bytes("海\n山\n".encode("cp932"))
    assert list(stream_texts(path, ReadOptions(encoding="cp932"))) == ["海", "山"]


def test_a_file_is_read_as_it_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "海"}\n' * 10_000 + "broken\n", encoding="utf-8")
    texts = stream_texts(path)
    assert [next(texts) for _ in range(9_000)] == ["海"] * 9_000
    with pytest.raises(DataError, match="line 10001: is not JSON"):
        list(texts)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"text,label\na,b\na,b,c\n", r"row 2 \(line 3\): has 3 fields, the header has 2"),
        ("a.csv", b'text,label\n"a"b,c\n', "the row from line 2 on"),
        ("a.csv", b"text,text\na,b\n", "there are 2 columns named 'text'"),
        ("a.jsonl", b"[1]\n", "line 1: holds a JSON list"),
        ("a.jsonl", b'{"text": 1}\n', "line 1: the text is 1, of the type int"),
        ("a.jsonl", b'\n{"text": "\\ud83d"}\n', "line 2: the text has half a surrogate pair"),
        ("a.parquet", b"no parquet", "can't be read as Parquet"),
        ("a.txt", "海\n山".encode("cp932"), r"line 1: the byte .* pass --encoding cp932"),
        ("a.txt", "a\n海山".encode("iso2022_jp"), r"escape sequences of ISO-2022-JP.* --encoding iso"),
        ("a.tsv", "text\n海山".encode("iso2022_jp"), r"escape sequences of ISO-2022-JP.* --encoding iso"),
    ],
)
def test_what_can_not_be_read_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(stream_texts(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b""),
        ("a.csv", b"text,label\na,b\na,b,c\n"),
        ("a.csv", b'text,label\n"a"b,c\n'),
        ("a.jsonl", b"{"),
        ("a.jsonl", b"[1]\n"),
        ("a.jsonl", b'{"text": 1, "label": "x"}\n'),
        ("a.parquet", b"no parquet"),
        ("a.csv", b"PK\x03\x04"),
        ("a.xlsx", b"<html>"),
    ],
)
def test_errors_read_as_those_of_labelled_documents(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as streamed:
        list(stream_texts(tmp_path / name))
    with pytest.raises(DataError) as read:
        read_documents(tmp_path / name)
    assert str(streamed.value) == str(read.value)


def test_a_field_may_have_any_length_and_the_processs_limit_stays(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    texts = ["海" * (limit + 1), "山"]
    rows = stream_texts(_write(tmp_path / "long.csv", texts))
    assert next(rows) == texts[0]
    assert csv.field_size_limit() == limit  # while the file is being read, too
    assert list(rows) == texts[1:]


def test_what_no_file_can_be_is_found_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        stream_texts(tmp_path / "none.txt")
    (tmp_path / "a.ods").touch()
    with pytest.raises(DataError, match=r"the ending '.ods'. Save this spreadsheet as"):
        stream_texts(tmp_path / "a.ods")
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match="no column 'body'"):
        stream_texts(tmp_path / "a.txt", ReadOptions(text_column="body"))


def test_bytes_in_a_stream_that_are_no_text_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes("海\n".encode("cp932"))
    with path.open("rb") as handle, pytest.raises(DataError, match="standard input, line 1: the byte 0x8a"):
        list(stream_lines(handle, name="standard input"))
    path.write_bytes(b"abc\n" * 5_000 + "海に船がある。\n".encode("cp932") * 5_000)
    hint = r"standard input, line 5001: .*reads as cp932: pass --encoding cp932"
    with path.open("rb") as handle, pytest.raises(DataError, match=hint):
        list(stream_lines(handle, name="standard input"))
    path.write_bytes("a\n海山\n".encode("iso2022_jp"))
    with (
        path.open("rb") as handle,
        pytest.raises(DataError, match=r"standard input, line 2: has the escape .*--encoding"),
    ):
        list(stream_lines(handle, name="standard input"))
    with path.open("rb") as handle:
        assert list(stream_lines(handle, name="standard input", encoding="iso2022_jp")) == ["a", "海山"]
    with path.open("rb") as handle, pytest.raises(DataError, match="'klingon' is not a known text encoding"):
        list(stream_lines(handle, name="x", encoding="klingon"))


def test_separators_alone_are_no_row_and_another_separator_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text\n1,海\n,,\n,\n2,\n,\n", encoding="utf-8")
    with pytest.warns(TanzakuWarning, match="left out 2 blank rows between the others"):
        assert list(stream_texts(path)) == ["海", ""]
    path.write_text("\n,,\nid,text\n1,海\n", encoding="utf-8")
    assert list(stream_texts(path)) == ["海"]  # without a warning of what is above the names
    path.write_text("  \nid,text\n1,海\n   \n2,山\n\u3000\n", encoding="utf-8")
    assert list(stream_texts(path)) == ["海", "山"]
    path.write_text('text\n海\n \n""\n\n', encoding="utf-8")
    assert list(stream_texts(path)) == ["海", " ", ""]
    path.write_text("text\n海\n\n山\n\n", encoding="utf-8")
    with pytest.warns(TanzakuWarning, match="left out 1 blank row between the others. The numbers of the results do"):
        assert list(stream_texts(path)) == ["海", "山"]
    book = openpyxl.Workbook()
    for row in (["本文"], ["海"], [], ["山"], []):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    with pytest.warns(TanzakuWarning, match=r"a\.xlsx: left out 1 blank row between the others"):
        assert list(stream_texts(tmp_path / "a.xlsx", ReadOptions(text_column="本文"))) == ["海", "山"]
    path.write_text("id;text\n1;海、山,空\n", encoding="utf-8")
    assert list(stream_texts(path)) == ["海、山,空"]
    with pytest.raises(DataError, match="no column named 'text'"):
        list(stream_texts(path, ReadOptions(delimiter=",")))


def test_a_wrong_encoding_of_a_large_file_is_found_without_reading_it_whole(tmp_path: Path) -> None:
    """The first wrong byte is beyond those that are read at once, of which the last ones are not a whole character."""
    content = b"text\n" + b"a\n" * 1_999_997 + "海\n".encode() + "山\n".encode("cp932")
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as whole:
        decode(content, name=str(path))
    assert f"at offset {len(content) - 3} is not valid utf-8. The text reads as cp932" in str(whole.value)
    peaks = []
    for times in (2, 5):
        path.write_bytes(content * times)
        tracemalloc.start()
        with pytest.raises(DataError) as found:
            check_encoding(path, encoding="utf-8")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert str(found.value) == str(whole.value)
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.parametrize("encoding", ["utf-8", "cp932", "utf-16"])
def test_a_file_that_is_cut_off_has_the_advice_that_its_beginning_gives(tmp_path: Path, encoding: str) -> None:
    content = "海の山。\n空と雲".encode(encoding)[:-1]
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError) as whole:
        decode(content, name=str(tmp_path / "a.txt"), encoding=encoding)
    with pytest.raises(DataError) as found:
        list(stream_texts(tmp_path / "a.txt", ReadOptions(encoding=encoding)))
    assert str(found.value) == str(whole.value)


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("utf-8-sig", "has the escape sequences of ISO-2022-JP, which is not utf-8"),
        ("base64", "'base64' is not a known text encoding"),
    ],
)
def test_other_encodings_are_errors_of_ours(tmp_path: Path, encoding: str, message: str) -> None:
    (tmp_path / "a.txt").write_bytes("海の山".encode("iso-2022-jp"))
    with pytest.raises(DataError, match=message):
        list(stream_texts(tmp_path / "a.txt", ReadOptions(encoding=encoding)))


def test_texts_of_several_columns_are_joined_as_the_importer_joins_them(tmp_path: Path) -> None:
    options = ReadOptions(text_column=("題", "本文"), text_separator=" ")
    (tmp_path / "a.csv").write_text("本文;題\n海;一\n山;\n", encoding="utf-8")
    (tmp_path / "a.jsonl").write_text('{"本文": "海", "題": "一"}\n{"本文": "山", "題": null}\n', encoding="utf-8")
    pq.write_table(pa.table({"本文": ["海", "山"], "題": ["一", None]}), tmp_path / "a.parquet")
    for ending in ("csv", "jsonl", "parquet"):
        assert list(stream_texts(tmp_path / f"a.{ending}", options)) == ["一 海", "山"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16"])
def test_a_byte_order_mark_is_not_part_of_the_first_text(tmp_path: Path, encoding: str) -> None:
    mark = "" if encoding == "utf-16" else "\ufeff"
    (tmp_path / "a.txt").write_bytes(f"{mark}海\n山\n".encode(encoding))
    assert list(stream_texts(tmp_path / "a.txt", ReadOptions(encoding=encoding))) == ["海", "山"]
    if encoding == "utf-16":  # its mark says so
        assert list(stream_texts(tmp_path / "a.txt")) == ["海", "山"]
        with (tmp_path / "a.txt").open("rb") as handle:
            assert list(stream_lines(handle, name="x")) == ["海", "山"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_columns_of_the_same_name_are_not_kept_silently(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"texts.{ending}"
    if ending == "csv":
        path.write_text("text,date,date\n海,1,2\n", encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_arrays([["海"], ["1"], ["2"]], names=["text", "date", "date"]), path)
    assert [row.text for row in stream_rows(path)] == ["海"]
    with pytest.raises(DataError, match=r"2 columns are named 'date', .* apart.* or leave --keep-columns out"):
        list(stream_rows(path, keep_columns=True))
    remedies = Remedies(repeated="Ask Mr. Sato.", text="Ask Ms. Ito.")
    with pytest.raises(DataError, match=r"told apart\. Ask Mr\. Sato\."):
        list(stream_rows(path, keep_columns=True, remedies=remedies, distinct=("date",)))
    with pytest.raises(DataError, match=r"no column named 'body'.* Ask Ms\. Ito\."):
        list(stream_rows(path, ReadOptions(text_column="body"), remedies=remedies))
    kept = [row.columns for row in stream_rows(path, keep_columns=True, distinct=("text",))]
    assert kept == [{"text": "海", "date": "2"}]


def test_utf_16_without_a_mark_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("海と山".encode("utf-16-le"))
    with pytest.raises(DataError, match=r"a\.txt: .*BOM.* such as utf-16-le"):
        list(stream_texts(tmp_path / "a.txt", ReadOptions(encoding="utf-16")))
    assert list(stream_texts(tmp_path / "a.txt", ReadOptions(encoding="utf-16-le"))) == ["海と山"]


def test_values_to_the_right_of_a_spreadsheets_columns_are_warned_of(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in [["text", "label"], *[[f"海{number}", "a"] for number in range(12)]]:
        sheet.append(row)
    sheet["D13"] = "a note"
    book.save(path := tmp_path / "a.xlsx")
    message = r"values to the right of the columns were left out, in 1 row \(13\); give their columns names"
    with pytest.warns(TanzakuWarning, match=message):
        assert len(list(stream_rows(path, ReadOptions(), keep_columns=True))) == 12
    found = [problem.message for problem in read_documents(path, check=False).problems]
    assert any("in 1 row (13)" in one for one in found), found
