"""Files as people have them: each is answered by one message with every problem and its remedy."""

import csv
import gzip
import io
import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tanzaku.data.findings import ProblemsError
from tanzaku.data.importing import import_documents, import_splits
from tanzaku.data.options import ReadOptions
from tanzaku.errors import DataError, TanzakuWarning
from tanzaku.fitting.documents import labelled
from tanzaku.fitting.run import fit

THINGS = ("荷物", "請求書", "アプリ", "パスワード", "領収書", "会員証")
WISHES = ("が届きません", "を送り直してください", "の使い方を教えてください", "に誤りがあります", "を取り消したいです")
LABELS = ("配送", "請求")
Rows = list[list[Any]]


def inquiries(count: int = 40, *, labels: Sequence[str] = LABELS) -> Rows:
    """Rows of a text and a label, every text another."""
    return [
        [f"{THINGS[row % 6]}{WISHES[row % 5]}。受付番号は{row + 1}番です。", labels[row % len(labels)]]
        for row in range(count)
    ]


def separated(rows: Iterable[Sequence[Any]], *, header: Sequence[str] = ("text", "label"), delimiter: str = ",") -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter).writerows([header, *rows])
    return stream.getvalue()


def workbook(rows: Iterable[Sequence[Any]], *, merged: str | None = None) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(list(row))
    if merged:
        sheet.merge_cells(merged)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def lines(*rows: Any) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)


def parquet(columns: dict[str, list[Any]]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def objects(rows: Rows) -> list[dict[str, Any]]:
    return [{"text": text, "label": label} for text, label in rows]


@dataclass(frozen=True)
class Ugly:
    """A file, and what must be reported of it: {kind: words of the remedy}; without kinds, of the source as a whole."""

    name: str
    content: Callable[[], str | bytes]
    problems: dict[str, tuple[str, ...]]
    options: dict[str, Any] = field(default_factory=dict)
    whole: tuple[str, ...] = ()
    warned: str = ""


JAPANESE = {"text_column": "本文", "label_column": "分類"}
COLUMNS = ("件名", "本文", "分類")


def with_subjects(rows: Rows) -> Rows:
    return [[f"件{number}", *row] for number, row in enumerate(rows)]


UGLY = {
    "a title above the names of the columns": Ugly(
        "a.csv",
        lambda: "問い合わせ一覧\r\n\r\n" + separated(with_subjects(inquiries()), header=COLUMNS),
        {"header-row": ("'本文'", "Delete titles")},
        JAPANESE,
    ),
    "a title and other names than the default": Ugly(
        "a.csv",
        lambda: separated(with_subjects(inquiries()), header=COLUMNS).join(["問い合わせ一覧,,\n", ""]),
        {"header-row": ("Delete titles",), "missing-column": ("--text-column 本文 --label-column 分類",)},
    ),
    "no names of columns": Ugly(
        "a.csv", lambda: separated(inquiries()[1:], header=inquiries()[0]), {"no-header": ("text, label",)}
    ),
    "a name in full-width letters, rows without text": Ugly(
        "a.csv",
        lambda: separated([*inquiries(), ["", "配送"], [" ", "請求"]], header=("ＴＥＸＴ", "label")),
        {"missing-column": ("'ＴＥＸＴ' differs from 'text' only",), "empty-text": ("2 of 42", "--drop-empty")},
    ),
    "the same name twice": Ugly(
        "a.csv",
        lambda: separated([[*row, "x"] for row in inquiries()], header=("text", "label", "label")),
        {"repeated-column": ("2 columns", "Rename")},
    ),
    "one column for two purposes": Ugly(
        "a.csv", lambda: separated(inquiries()), {"same-column": ("different columns",)}, {"label_column": "text"}
    ),
    "another delimiter than the file's": Ugly(
        "a.csv", lambda: separated(inquiries()), {"missing-column": ("comma", "--delimiter")}, {"delimiter": ";"}
    ),
    "cp932, other names, rows without label": Ugly(
        "a.csv",
        lambda: separated([*inquiries(), ["本文です", ""]], header=("本文", "分類")).encode("cp932"),
        {
            "encoding": ("--encoding cp932",),
            "missing-column": ("--text-column 本文",),
            "no-label": ("1 of 41", "--drop-unlabelled"),
        },
    ),
    "EUC-JP": Ugly("a.csv", lambda: separated(inquiries()).encode("euc-jp"), {"encoding": ("--encoding euc-jp",)}),
    "ISO-2022-JP": Ugly(
        "a.tsv",
        lambda: separated(inquiries(), delimiter="\t").encode("iso-2022-jp"),
        {"encoding": ("--encoding iso-2022-jp",)},
    ),
    "UTF-16 without its mark": Ugly(
        "a.csv", lambda: separated(inquiries()).encode("utf-16-le"), {"encoding": ("--encoding utf-16-le",)}
    ),
    "commas in texts, a quote that is never closed, rows without text": Ugly(
        "a.csv",
        lambda: separated([*inquiries(), ["", "配送"]]) + 'a,b,配送\nc,d,e,請求\n"開いたまま,配送\n',
        {"fields": ("row 42", "row 43", "double quotes"), "quotes": ("--no-quotes",), "empty-text": ("row 41",)},
    ),
    "Excel's empty rows, empty cells, joined labels": Ugly(
        "a.csv",
        lambda: (
            "\ufeff"
            + separated([*inquiries(), ["", "配送"], ["本文", ""], ["二つです", "配送;請求"]], delimiter=";")
            + ";\n;\n;\n"
        ),
        {"empty-text": ("1 of 43",), "no-label": ("1 of 43",), "several-labels": ("1 of 41", "';'", "one label")},
    ),
    "labels joined by 、": Ugly(
        "a.csv",
        lambda: separated([*inquiries(), *[["二つです" + str(n), "請求、配送"] for n in range(7)]]),
        {"several-labels": ("7 of 47 rows", "'、'")},
    ),
    "texts in the column of the labels": Ugly(
        "a.csv",
        lambda: separated(
            [[*row, f"件名{number % 193}"] for number, row in enumerate(inquiries(200))],
            header=("text", "分類", "label"),
        ),
        {"text-as-label": ("193 different labels in 200 rows", "--label-column 分類")},
    ),
    "swapped columns": Ugly(
        "a.csv",
        lambda: separated(inquiries(), header=("label", "text")),
        {"swapped-columns": ("--text-column", "--label-column")},
    ),
    "measurements for labels": Ugly(
        "a.csv",
        lambda: separated([[row[0], f"{number * 0.37:.2f}"] for number, row in enumerate(inquiries())]),
        {"numbers": ("ranges",)},
    ),
    "one class": Ugly("a.csv", lambda: separated(inquiries(labels=("配送",))), {"one-class": ("two classes",)}),
    "small classes, spelled in two ways": Ugly(
        "a.csv",
        lambda: separated([*inquiries(), ["返金してほしい", "返金"], ["返金がまだ", "返金 "], ["退会", "退会"]]),
        {"small-class": ("'返金' has 1", "'退会' has 1", "--drop-small")},
        warned="--normalize-labels",
    ),
    "a class of copies of another class": Ugly(
        "a.csv",
        lambda: separated([*inquiries(), *[[row[0], "複写"] for row in inquiries()[:10]]]),
        {"small-class": ("different texts", "'複写' has 0")},
        warned="10 texts have several labels",
    ),
    "merged cells in the names of the columns": Ugly(
        "a.xlsx",
        lambda: workbook(
            [["番号", "内容", None, "分類"], [None, "件名", "本文", None]]
            + [[number, f"件{number}", *row] for number, row in enumerate(inquiries())],
            merged="B1:C1",
        ),
        {"header-row": ("'番号', '件名', '本文', '分類'", "merged cells")},
        JAPANESE,
    ),
    "merged cells among the labels": Ugly(
        "a.xlsx",
        lambda: workbook(
            [
                ["text", "label"],
                *[[row[0], "配送" if not number % 5 else None] for number, row in enumerate(inquiries())],
            ],
            merged="B2:B6",
        ),
        {"no-label": ("32 of 40", "merged cells", "row 3; row 4"), "one-class": ()},
    ),
    "error values of formulas": Ugly(
        "a.xlsx",
        lambda: workbook([["text", "label"], *inquiries(), ["#REF!", "配送"], ["本文", "#N/A"]]),
        {"error-value": ("row 42; row 43", "formula")},
    ),
    "a spreadsheet with a password": Ugly(
        "a.xlsx", lambda: b"\xd0\xcf\x11\xe0" + bytes(100), {}, whole=("password", "CSV UTF-8")
    ),
    "a spreadsheet that is none": Ugly("a.xlsx", lambda: "text,label\n", {}, whole=("spreadsheet", "CSV UTF-8")),
    "a sheet that is not there": Ugly(
        "a.xlsx", lambda: workbook(inquiries()), {}, {"sheet": "回答"}, whole=("'回答'", "'Sheet'", "--sheet")
    ),
    "JSON lines of all kinds": Ugly(
        "a.jsonl",
        lambda: lines(
            *objects(inquiries()),
            [1],
            '{"text": ',
            {"text": "本文"},
            {"text": "本文", "label": ["配送", "請求"]},
            {"text": 3, "label": "配送"},
            {"text": "本文", "label": 0.5},
            r'{"text": "\ud800", "label": "配送"}',
            {"text": None, "label": "配送"},
        ),
        {
            "json": ("line 41", "line 42"),
            "missing-key": ("line 43", "'label'"),
            "several-labels": ("line 44", "one label"),
            "text-type": ("line 45",),
            "label-type": ("line 46",),
            "half-character": ("line 47",),
            "empty-text": ("line 48",),
        },
    ),
    "a table in Parquet with other names": Ugly(
        "a.parquet",
        lambda: parquet({"本文": [*(row[0] for row in inquiries()), None], "分類": [*LABELS * 20, "配送"]}),
        {"missing-column": ("--text-column 本文 --label-column 分類",), "empty-text": ("1 of 41", "row 41")},
    ),
    "groups that are too few": Ugly(
        "a.csv",
        lambda: separated(
            [[*row, "甲" if row[1] == "配送" else f"乙{number}"] for number, row in enumerate(inquiries())],
            header=("text", "label", "顧客"),
        ),
        {"small-class": ("groups", "'配送' has 1")},
        {"group_column": "顧客"},
    ),
    "nothing": Ugly("a.csv", lambda: "", {}, whole=("empty", "columns' names")),
    "only names of columns": Ugly("a.csv", lambda: "text,label\n;\n", {"fields": ("row 1",)}),
    "only empty rows": Ugly("a.csv", lambda: "text,label\n,\n,\n", {}, whole=("no documents",)),
    "a spreadsheet that was renamed": Ugly(
        "a.csv",
        lambda: workbook([["text", "label"], *inquiries()]),
        {},
        whole=("a spreadsheet", "not csv", "the ending .xlsx"),
    ),
    "a compressed file that was renamed": Ugly(
        "a.csv", lambda: gzip.compress(separated(inquiries()).encode()), {}, whole=("gzip", "Unpack")
    ),
    "a Parquet file that was renamed": Ugly(
        "a.jsonl", lambda: parquet({"text": ["本文"], "label": ["配送"]}), {}, whole=("the ending .parquet",)
    ),
    "a web page with the ending of a spreadsheet": Ugly(
        "a.xlsx", lambda: "\ufeff\n<HTML><table><tr><td>text</td></tr></table>", {}, whole=("HTML", "CSV UTF-8")
    ),
    "a pointer of Git LFS": Ugly(
        "a.csv", lambda: "version https://git-lfs.github.com/spec/v1\noid sha256:1\n", {}, whole=("git lfs pull",)
    ),
    "a table in Parquet that is cut off": Ugly(
        "a.parquet",
        lambda: parquet({"text": ["本文"], "label": ["配送"]})[:60],
        {},
        whole=("Parquet", "Write it again"),
    ),
    "a JSON list": Ugly(
        "a.jsonl", lambda: json.dumps(objects(inquiries()), indent=1), {}, whole=("one JSON list", "one object a line")
    ),
    "rows of another encoding at the end": Ugly(
        "a.csv",
        lambda: separated(inquiries()).encode() + "追加の本文です,配送\n".encode("cp932"),
        {"encoding": ("line 42", "--encoding", "save it as UTF-8")},
    ),
    "dates for labels": Ugly(
        "a.csv",
        lambda: separated([[row[0], f"2026-01-{number % 28 + 1:02}"] for number, row in enumerate(inquiries())]),
        {"text-as-label": ("28 different labels", "--label-column")},
    ),
    "ids for texts, and no label where pandas had none": Ugly(
        "a.csv",
        lambda: separated([[f"{number:05}", ("nan", row[1])[number % 2]] for number, row in enumerate(inquiries())]),
        {"numbers-as-text": ("'00000'", "--text-column")},
        warned="'nan' (20 rows)",
    ),
    "labels that are objects": Ugly(
        "a.jsonl",
        lambda: lines(*[{"text": text, "label": {"name": label}} for text, label in inquiries()]),
        {"several-labels": ("line 1", "of the type dict")},
    ),
    "an encoding that is not the file's": Ugly(
        "a.csv",
        lambda: separated(inquiries()).encode("cp932"),
        {"encoding": ("not valid utf-16", "--encoding cp932")},
        {"encoding": "utf-16"},
    ),
    "an encoding that does not exist": Ugly(
        "a.csv", lambda: separated(inquiries()), {}, {"encoding": "utf-99"}, whole=("'utf-99'", "cp932")
    ),
    "a format that is not read": Ugly("a.xls", lambda: b"\xd0\xcf", {}, whole=(".xlsx", "CSV UTF-8")),
}


@pytest.mark.parametrize("case", UGLY.values(), ids=UGLY.keys())
def test_an_ugly_file_is_answered_with_every_problem_and_remedy(case: Ugly, tmp_path: Path) -> None:
    path = tmp_path / case.name
    content = case.content()
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    reading = ReadOptions(**case.options)
    with warnings.catch_warnings(record=True, action="always") as caught_warnings, pytest.raises(DataError) as caught:
        import_documents(path, reading=reading)
    message = str(caught.value)
    assert message.count(str(path)) == 1
    warned = [str(one.message) for one in caught_warnings if issubclass(one.category, TanzakuWarning)]
    assert len(warned) == bool(case.warned)
    assert case.warned in "".join(warned)
    assert isinstance(caught.value, ProblemsError) == bool(case.problems)
    findings = caught.value.findings if isinstance(caught.value, ProblemsError) else ()
    assert {finding.kind for finding in findings} == set(case.problems)
    for finding in findings:
        assert finding.message in message
        for words in case.problems[finding.kind]:
            assert words in finding.message
    for words in case.whole:
        assert words in message


# A class may have few documents, which are then warned of: nothing but the sizes of three splits needs them.
_FIT_READS = {"small classes, spelled in two ways", "a class of copies of another class", "groups that are too few"}


@pytest.mark.parametrize("name", UGLY)
def test_fit_answers_it_alike_and_begins_nothing(name: str, tmp_path: Path) -> None:
    case = UGLY[name]
    path, study = tmp_path / case.name, tmp_path / "study"
    content = case.content()
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    reading = ReadOptions(**case.options)
    if name in _FIT_READS:
        with warnings.catch_warnings(record=True, action="always") as caught:
            labelled(path, reading)
        warned = "".join(str(one.message) for one in caught)
        assert ("can't be measured in each fold: '返金' has 1" in warned) is name.startswith("small classes")
        return
    with warnings.catch_warnings(action="ignore"):
        with pytest.raises(DataError) as imported:
            import_documents(path, reading=reading)
        with pytest.raises(DataError) as fitted:
            fit(path, reading=reading, study=study)
    assert str(fitted.value) == str(imported.value)
    assert not study.exists()


def test_a_folder_without_texts_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no documents\. Documents of a folder are \.txt files"):
        import_documents(tmp_path)


def test_there_are_more_than_forty() -> None:
    assert len(UGLY) >= 40


def test_a_folder_of_classes_names_each_text_in_another_encoding(tmp_path: Path) -> None:
    for label in LABELS:
        (tmp_path / label).mkdir()
        for number, (text, _) in enumerate(inquiries(12)):
            encoding = "cp932" if number in (3, 5) else "utf-8"
            (tmp_path / label / f"{number:02}.txt").write_text(f"{label}: {text}", encoding=encoding)
        (tmp_path / label / "99.txt").touch()
    with pytest.raises(ProblemsError) as caught:
        import_documents(tmp_path)
    assert sorted(finding.kind for finding in caught.value.findings) == ["empty-text", "encoding"]
    assert "4" in str(caught.value)
    assert "請求/05.txt, line 1" in str(caught.value)
    assert str(caught.value).count("--encoding cp932") == 1


def test_the_problems_of_all_splits_are_reported_together(tmp_path: Path) -> None:
    content = {
        "train": separated([*inquiries(), ["", "配送"]]).encode(),
        "val": separated(inquiries(8), header=("body", "label")).encode("cp932"),
        "test": separated([*inquiries(8), ["請求先を変えたい", "変更"]]).encode(),
    }
    for split, data in content.items():
        (tmp_path / f"{split}.csv").write_bytes(data)
    paths = {split: tmp_path / f"{split}.csv" for split in content}
    with pytest.raises(ProblemsError) as caught, pytest.warns(TanzakuWarning, match="are in train too"):
        import_splits(train=paths["train"], val=paths["val"], test=paths["test"])
    found = {(Path(finding.source).stem, finding.kind) for finding in caught.value.findings}
    assert found == {("train", "empty-text"), ("val", "encoding"), ("val", "missing-column"), ("test", "unknown-class")}
    with pytest.raises(ProblemsError) as caught:
        import_splits(train=paths["train"], val=tmp_path / "none.csv", test=paths["test"])
    assert {finding.kind for finding in caught.value.findings} == {"empty-text", "unreadable"}
