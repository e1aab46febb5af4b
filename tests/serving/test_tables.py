"""Files of texts, given back with labels."""

import datetime
import io
import math
import traceback
import zipfile
from pathlib import PurePath

import pytest
from hypothesis import given, settings
from openpyxl import Workbook, load_workbook

from tanzaku.errors import DataError, TanzakuError
from tanzaku.serving.engine import Engine, LateError
from tanzaku.serving.failures import ApiError
from tanzaku.serving.tables import Table, read_table, write_table
from tanzaku.ship.classifier import Prediction
from tests.corruption import damaged, outcome

LABELLED = [Prediction("空", 0.75, 1.0), Prediction("海", 0.5, 1.0)]


def _sheet(rows: list[list[object]], **others: list[list[object]]) -> bytes:
    book = Workbook()
    for row in rows:
        book.active.append(row)
    for title, other in others.items():
        sheet = book.create_sheet(title)
        for row in other:
            sheet.append(row)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


_SHEET = "xl/worksheets/sheet1.xml"
_NAMESPACES = (
    b'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    b'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
)


def _with_xml(
    content: bytes,
    xml: bytes,
    *,
    part: str = _SHEET,
    before: bytes = b"</sheetData>",
    added: dict[str, bytes] | None = None,
) -> bytes:
    """The spreadsheet with more XML in one of its parts, by default more rows at the end of its sheet."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            found = old.read(name)
            if name == part:
                assert before in found
                found = found.replace(before, xml + before, 1)
            new.writestr(name, found)
        for name, found in (added or {}).items():
            new.writestr(f"xl/{name}", found)
    return changed.getvalue()


def _with_strings(content: bytes, strings: bytes) -> bytes:
    """The spreadsheet with shared strings, which Excel writes, and openpyxl may not."""
    override = (
        b'<Override PartName="/xl/strings.xml" ContentType="application/vnd.openxmlformats-officedocument.'
        b'spreadsheetml.sharedStrings+xml"/>'
    )
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        assert "xl/sharedStrings.xml" not in file.namelist()
    strings = b"<sst " + _NAMESPACES + b">" + strings + b"</sst>"
    return _with_xml(content, override, part="[Content_Types].xml", before=b"</Types>", added={"strings.xml": strings})


def test_columns_are_kept_and_names_in_use_are_left_alone() -> None:
    content = "id,label,text\n1,x,空\n2,y,海\n".encode("utf-8-sig")
    table = read_table(content, name="a.csv", column=None, most_rows=2)
    written, media_type = write_table(table, LABELLED)
    assert written.decode("utf-8-sig").splitlines() == [
        "id,label,text,predicted_label,probability",
        "1,x,空,空,0.75",
        "2,y,海,海,0.5",
    ]
    assert media_type.startswith("text/csv")


def test_columns_of_one_name_keep_their_values() -> None:
    """Commas at the ends of the lines, which spreadsheet programs write, make columns without a name."""
    for content in (
        b"id,text,,,id\n1,a,x,y,2\n,b,,,\n",
        _sheet([["id", "text", "", "", "id"], ["1", "a", "x", "y", "2"]]),
    ):
        name = "a.csv" if content.startswith(b"id") else "a.xlsx"
        table = read_table(content, name=name, column=None, most_rows=9)
        assert (table.column, list(table.rows[0])) == ("text", ["1", "a", "x", "y", "2"])


def test_what_shifts_or_hides_a_row_is_remarked() -> None:
    table = read_table(_sheet([["text"], ["a"], [], [], ["b"]]), name="a.xlsx", column=None, most_rows=9)
    assert table.remarks == (
        "left out 2 blank rows between the others. The numbers of the results do not count blank rows.",
    )
    for content, name in ((b"a" * 101 + b"\nb\n", "a.csv"), (_sheet([["a" * 101], ["b"]]), "a.xlsx")):
        (remark,) = read_table(content, name=name, column=None, most_rows=9).remarks
        assert remark.startswith("The first row was read as the names of the columns")


def test_the_column_with_the_longest_texts_is_found() -> None:
    content = "番号,ご意見\n12345,空が見える、とてもよい\n2,海\n".encode("cp932")
    table = read_table(content, name="a.csv", column=None, most_rows=9)
    assert (table.column, table.texts) == ("ご意見", ["空が見える、とてもよい", "海"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp932", "euc-jp", "iso-2022-jp"])
@pytest.mark.parametrize("text", ["空が見える、とてもよい。", "a" * 70_000 + "ほんはほん。"], ids=["short", "long"])
def test_japanese_encodings_are_told_apart(encoding: str, text: str) -> None:
    content = f"id,text\n1,{text}\n".encode(encoding)
    assert read_table(content, name="a.csv", column=None, most_rows=9).texts == [text]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text\n海\n".encode("euc-jp"), "a.csv: can be cp932 and euc-jp alike.* UTF-8"),
        (b"text\n\x81 \n", "a.csv, line 2: the byte 0x81 .* Save it as UTF-8"),
    ],
)
def test_an_unclear_encoding_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        read_table(content, name="a.csv", column=None, most_rows=9)
    assert "--encoding" not in str(raised.value)


def test_spreadsheets_come_back_as_spreadsheets_without_formulas() -> None:
    book = Workbook()
    for row in (["text", "n"], ["=1+1 は数式", 1], ["海", 2]):
        book.active.append(row)
    book.active["A2"].data_type = "s"
    content = io.BytesIO()
    book.save(content)
    table = read_table(content.getvalue(), name="a.xlsx", column="text", most_rows=9)
    written, _ = write_table(table, LABELLED)
    sheet = load_workbook(io.BytesIO(written)).active
    assert [cell.value for cell in sheet[1]] == ["text", "n", "label", "probability"]
    assert (sheet["A3"].value, sheet["C3"].value, sheet["D3"].value) == ("海", "海", 0.5)
    assert sheet["A2"].data_type in ("s", "inlineStr")


def test_formulas_without_a_value_are_remarked() -> None:
    rows: list[list[object]] = [["text", "n", "m"], ["海", 1, 2], ['=A2&"です"', "=1+1", 3]]
    table = read_table(_sheet(rows), name="a.xlsx", column="text", most_rows=9)
    assert table.texts == ["海", ""]
    (remark,) = table.remarks
    assert remark.startswith("2 formulas without a stored value are read as empty. Open and save the file")


def test_a_file_in_a_later_version_of_zip_is_refused() -> None:
    content = bytearray(_sheet([["text"], ["海"]]))
    place = content.index(b"PK\x01\x02")
    content[place + 6] = 99
    with pytest.raises(DataError, match=r"a\.xlsx: can't be read as a spreadsheet"):
        read_table(bytes(content), name="a.xlsx", column="text", most_rows=9)


def test_looking_for_formulas_takes_no_more_than_linear_time() -> None:
    spaces = b"<row><c><f>1</f>" + 1_000_000 * b" " + b"x</c></row>"
    starts = b"<row><c><!--" + 500_000 * b"<c " + b"--></c></row>"
    for xml in (spaces, starts):
        table = read_table(_with_xml(_sheet([["text"], ["海"]]), xml), name="a.xlsx", column="text", most_rows=9)
        assert table.remarks == ()


def test_spreadsheets_keep_types_and_cells_and_name_the_sheets_that_are_left_out() -> None:
    day = datetime.datetime(2026, 1, 2)
    rows: list[list[object]] = [["id", "text"], [12, "海"], [day, 34], *([n, "空"] for n in range(12))]
    content = _sheet([*rows, [1.5, "山", None, "a note"]], 空=[], 他=[["x"]])
    table = read_table(content, name="a.xlsx", column=None, most_rows=99)
    assert (table.column, table.texts[:3], table.texts[-1]) == ("text", ["海", "34", "空"], "山")
    assert (table.sheet, table.other_sheets) == ("Sheet", ("他",))
    written, _ = write_table(table, [LABELLED[0]] * len(table.texts))
    sheet = load_workbook(io.BytesIO(written)).active
    assert [sheet.cell(2, 1).value, sheet.cell(3, 1).value, sheet.cell(3, 2).value] == [12, day, 34]
    assert [cell.value for cell in sheet[sheet.max_row]] == [1.5, "山", None, "a note", "空", 0.75]
    assert sheet.title == "Sheet"


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (b"<row>" + b"<c/>" * 2_100_000 + b"</row>", "too large when it is unpacked"),
        (b"<row/>" + b" " * 31_000_000, "too large when it is unpacked"),
        (b'<row r="999999999"/>', "more than 1000000 cells, empty ones included"),
        (b'<row><c r="XFD9"/></row>' * 100, "more than 1000000 cells"),
        (
            b'<row><c r="XFD9"><v>1</v></c></row>' + b'<row><c r="A10"><v>1</v></c></row>' * 70,
            "more than 1000000 cells",
        ),
    ],
    ids=["tags", "bytes", "rows", "columns", "wide"],
)
def test_a_small_spreadsheet_can_not_keep_the_server_busy(xml: bytes, message: str) -> None:
    content = _with_xml(_sheet([["text"], ["海"]]), xml)
    assert len(content) < 200_000
    with pytest.raises(ApiError, match=message) as raised:
        read_table(content, name="a.xlsx", column=None, most_rows=200)
    assert raised.value.status == 413


@pytest.mark.parametrize(
    ("xml", "part", "before"),
    [
        (b"<xf/>" * 150_000, "xl/styles.xml", b"</cellXfs>"),
        (b'<sheetView workbookViewId="0"/>' * 150_000, _SHEET, b"</sheetViews>"),
        (b'<col min="1"/>' * 150_000, _SHEET, b"<sheetData>"),
        (b'<row:xf xmlns:row="a"/>' * 150_000, "xl/styles.xml", b"</cellXfs>"),
    ],
    ids=["formats", "views", "columns", "prefixes"],
)
def test_few_tags_may_be_of_another_kind_than_those_of_cells(xml: bytes, part: str, before: bytes) -> None:
    """Of each, openpyxl would make an object, wherever they are."""
    content = _with_xml(_sheet([["text"], ["海"]]), xml, part=part, before=before)
    with pytest.raises(ApiError, match="too large when it is unpacked") as raised:
        read_table(content, name="a.xlsx", column=None, most_rows=9)
    assert raised.value.status == 413


def test_many_texts_and_few_parts_of_texts_may_be_stored() -> None:
    """Excel stores how a Japanese text is pronounced, too."""
    texts = "".join(
        f'<si><t>海{number}</t><rPh sb="0" eb="1"><t>ウミ</t></rPh><phoneticPr fontId="1"/></si>'
        for number in range(100_000)
    )
    rows = "".join(f'<row><c t="s"><v>{number}</v></c></row>' for number in range(100_000))
    content = _with_strings(_with_xml(_sheet([["text"]]), rows.encode()), texts.encode())
    table = read_table(content, name="a.xlsx", column=None, most_rows=200_000)
    assert (len(table.texts), table.texts[-1]) == (100_000, "海99999")
    with pytest.raises(ApiError, match="too large when it is unpacked"):
        read_table(
            _with_strings(_sheet([["text"]]), b"<si>" + b"<r/>" * 600_000 + b"</si>"),
            name="a.xlsx",
            column=None,
            most_rows=9,
        )


def test_cells_with_a_prefix_and_copies_of_cells_are_no_other_tags() -> None:
    """Some programs write a prefix before each tag; the copies are of pivot tables."""
    content = _with_xml(
        _sheet([["text"], ["海"]]),
        b'<x:row xmlns:x="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
        b"<x:c><x:v>1</x:v></x:c></x:row>" * 40_000,
        added={"copies.xml": b"<records>" + b'<r><x v="0"/><n v="1"/></r>' * 100_000 + b"</records>"},
    )
    assert len(read_table(content, name="a.xlsx", column=None, most_rows=50_000).rows) == 40_001


def test_no_part_is_read_many_times() -> None:
    """Each chart sheet would be an object of its own, with all that is in the part that they share."""
    sheets = b"".join(
        b"<sheet " + _NAMESPACES + b' name="c%d" sheetId="%d" r:id="c"/>' % (number, number) for number in range(9, 39)
    )
    relation = (
        b'<Relationship Id="c" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/chartsheet" '
        b'Target="/xl/chart.xml"/>'
    )
    content = _with_xml(_sheet([["text"], ["海"]]), sheets, part="xl/workbook.xml", before=b"</sheets>")
    content = _with_xml(
        content,
        relation,
        part="xl/_rels/workbook.xml.rels",
        before=b"</Relationships>",
        added={"chart.xml": b"<chartsheet " + _NAMESPACES + b"/>", "_rels/chart.xml.rels": b"<Relationships/>"},
    )
    with pytest.raises(ApiError, match="the same sheet or picture many times") as raised:
        read_table(content, name="a.xlsx", column=None, most_rows=9)
    assert raised.value.status == 422


def test_the_copies_of_other_files_that_a_spreadsheet_refers_to_are_not_read() -> None:
    """Each of their rows would be an object; here the copy is missing."""
    reference = b"<externalReferences><externalReference " + _NAMESPACES + b' r:id="e"/></externalReferences>'
    relation = b'<Relationship Id="e" Type="externalLink" Target="/xl/missing.xml"/>'
    content = _with_xml(_sheet([["text"], ["海"]]), reference, part="xl/workbook.xml", before=b"<calcPr")
    content = _with_xml(content, relation, part="xl/_rels/workbook.xml.rels", before=b"</Relationships>")
    assert read_table(content, name="a.xlsx", column=None, most_rows=9).texts == ["海"]


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_python_unpacks_at_once_is_not_unpacked(kind: int) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", kind) as file:
        file.writestr("any", b"\0" * 10_000_000)
    with pytest.raises(ApiError, match="compressed in a way that no spreadsheet program uses"):
        read_table(content.getvalue(), name="a.xlsx", column=None, most_rows=9)


def test_cells_are_no_longer_than_excel_writes_them() -> None:
    """One string, of which a program may keep one copy, can be in every row."""
    for text in (b"_x000D_" * 33_000, b"_x000D_" * 5 + b"a" * 32_768):
        content = _with_xml(_sheet([["text"], ["海"]]), b'<row><c t="str"><v>' + text + b"</v></c></row>")
        with pytest.raises(DataError, match="a cell of more than 32,767 characters"):
            read_table(content, name="a.xlsx", column=None, most_rows=9)


def test_cells_with_many_line_breaks_come_back_whole() -> None:
    """Excel writes a carriage return in seven characters, which count as one for the length of a cell."""
    text = "一行です。_x000D_\n" * 3200 + "_x005F_x000D_"
    content = _with_xml(
        _sheet([["text"], ["海"]]), f'<row><c t="str"><v xml:space="preserve">{text}</v></c></row>'.encode()
    )
    table = read_table(content, name="a.xlsx", column=None, most_rows=9)
    written, _ = write_table(table, LABELLED)
    (cell,) = [row[0] for row in load_workbook(io.BytesIO(written)).active.iter_rows(min_row=3, values_only=True)]
    assert cell == "一行です。\n" * 3200 + "_x005F_x000D_"
    assert table.texts[1] == "一行です。\n" * 3200 + "_x000D_"


@pytest.mark.filterwarnings("error")
def test_lines_that_a_quote_may_have_joined_are_told_to_the_client() -> None:
    content = '番号,本文\n1,"一\n2,二\n3,三"\n'.encode()
    table = read_table(content, name="a.csv", column=None, most_rows=9)
    (remark,) = table.remarks
    assert remark.startswith("lines 2 to 4: a double quote opens")
    assert remark.endswith('double their quotes ("").')


def test_a_table_of_very_many_columns_is_refused_at_once() -> None:
    header = ",".join(f"c{number}" for number in range(16_385)).encode()
    with pytest.raises(ApiError, match="more than 16384 columns") as raised:
        read_table(header + b"\n", name="a.csv", column=None, most_rows=9)
    assert raised.value.status == 413
    fewer = header[: header.rindex(b",")]
    rows = fewer + b"\n" + b"," * 16_383 + b"\n"
    assert len(read_table(rows, name="a.csv", column=None, most_rows=9).columns) == 16_384


def test_entities_of_a_spreadsheet_are_not_expanded() -> None:
    """A few kilobytes of them can stand for gigabytes."""
    content = _with_xml(_sheet([["text"], ["海"]]), b'<row><c t="str"><v>&a;</v></c></row>')
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            part = old.read(name)
            if name == "xl/worksheets/sheet1.xml":
                part = b'<!DOCTYPE worksheet [<!ENTITY a "sea">]>' + part[part.index(b"<worksheet") :]
            new.writestr(name, part)
    with pytest.raises(DataError, match=r"a\.xlsx"):
        read_table(changed.getvalue(), name="a.xlsx", column=None, most_rows=99)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b"text\na\nb\n"), ("a.xlsx", _sheet([["text"], ["a"], ["b"]]))],
    ids=["csv", "xlsx"],
)
def test_reading_ends_when_the_time_is_over(name: str, content: bytes) -> None:
    engine = Engine()
    assert read_table(content, name=name, column=None, most_rows=9, check=lambda: engine.check(math.inf)).texts
    with pytest.raises(LateError, match="took longer"):
        read_table(content, name=name, column=None, most_rows=9, check=lambda: engine.check(0))
    engine.close()
    with pytest.raises(LateError, match="shutting down"):
        read_table(content, name=name, column=None, most_rows=9, check=lambda: engine.check(math.inf))


@pytest.mark.parametrize("function", ["_check_size", "load_workbook", "_with_values", "_formulas_alone"])
def test_a_spreadsheet_ends_in_each_of_its_steps_when_the_time_is_over(function: str) -> None:
    def check() -> None:
        if any(frame.name == function for frame in traceback.extract_stack()):
            raise LateError("late")

    with pytest.raises(LateError, match="late"):
        read_table(_sheet([["text"], ["海"]]), name="a.xlsx", column=None, most_rows=9, check=check)


@pytest.mark.parametrize(
    "content",
    [
        b"text\na\n" + b"\n" * 100,
        b"text,b\na,b\n" + b",\n" * 100,
        b"\n" * 100 + b"text\na\n",
        b'text\n"a' + b"\n" * 100 + b'"\n',
    ],
    ids=["blank", "separators", "above", "quoted"],
)
def test_reading_can_end_at_each_line_of_a_table_that_is_no_row_of_its_own(content: bytes) -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls > 90:
            raise LateError("late")

    with pytest.raises(LateError, match="late"):
        read_table(content, name="a.csv", column=None, most_rows=9, check=check)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("a.exe", b"", ApiError, "send a .csv"),
        ("a.csv", b"", DataError, "a.csv"),
        ("a.csv", b"text\na\nb\nc\n", ApiError, "more than 2 rows"),
        ("a.csv", b"x,y\na\n", DataError, "a.csv"),
        ("a.xlsx", b"nothing", DataError, "a.xlsx"),
    ],
)
def test_what_can_not_be_read_is_named(name: str, content: bytes, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        read_table(content, name=name, column=None, most_rows=2)
    assert "tanzaku-table" not in str(raised.value)
    assert PurePath(name).suffix in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "column", "message"),
    [
        ("a.csv", b"id,id,text\n1,2,y\n", "id", "with the parameter column"),
        ("a.csv", b"text,text,id\na,b,1\n", None, "with the parameter column"),
        ("a.xlsx", _sheet([["text", "text", "id"], ["a", "b", "1"]]), None, "with the parameter column"),
        ("a.csv", b'text\n"a\n', None, "Double the quotes inside a quoted field"),
        ("a.csv", b"text\na\n", "body", "with the parameter column"),
        ("a.xlsx", _sheet([["text"], ["a"]]), "body", "with the parameter column"),
    ],
    ids=["repeated", "usual", "usual in a sheet", "quotes", "csv", "xlsx"],
)
def test_remedies_are_those_of_a_client(name: str, content: bytes, column: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        read_table(content, name=name, column=column, most_rows=9)
    assert "--" not in str(raised.value)


def test_the_column_with_the_texts_is_one_that_can_be_named() -> None:
    rows: list[list[object]] = [["n", "words", "", ""], [1, "海が見える", "a long remark", "another one"]]
    assert read_table(_sheet(rows), name="a.xlsx", column=None, most_rows=9).column == "words"


def test_the_column_that_is_named_decides_what_separates_the_columns() -> None:
    table = read_table("a;b;c,text2\nx;y;z,海\n".encode(), name="a.csv", column="text2", most_rows=9)
    assert (table.columns, table.texts) == (("a;b;c", "text2"), ["海"])


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".xlsx"])
def test_a_damaged_upload_is_an_error_of_ours_or_a_table(ending: str) -> None:
    rows = [("本文", "番号"), ("海に船がある。", "1"), ("山に雪が降る。", "2")]
    content = "\n".join(("\t" if ending == ".tsv" else ",").join(row) for row in rows).encode()
    if ending == ".xlsx":
        content = _sheet([list(row) for row in rows])

    @given(damaged(content))
    @settings(max_examples=80, deadline=None, derandomize=True)
    def read(upload: bytes) -> None:
        table = outcome(
            lambda: read_table(upload, name=f"a{ending}", column=None, most_rows=10), ApiError, TanzakuError
        )
        if not isinstance(table, Table):
            assert "tanzaku-table" not in str(table)
            return
        assert table.column in table.columns
        assert all(isinstance(text, str) for text in table.texts)

    read()


@pytest.mark.parametrize("name", ["../../a.csv", "/etc/a.csv", "..\\a.csv", "a" * 300 + ".csv", "\0.csv", "con.csv"])
def test_the_name_of_an_upload_leads_nowhere(name: str) -> None:
    content = "text\n海\n".encode()
    table = outcome(lambda: read_table(content, name=name, column=None, most_rows=10), ApiError, TanzakuError)
    assert not isinstance(table, Table) or table.texts == ["海"]
