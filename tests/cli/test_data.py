import json
import re
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from typer.testing import CliRunner, Result

from tanzaku.cli import app
from tanzaku.data.livedoor import PUBLISHED_ARTICLES
from tanzaku.data.loading import load_dataset
from tanzaku.errors import DataError


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)], catch_exceptions=False)


def write_rows(path: Path, *, rows: int = 40, header: str = "text,label") -> Path:
    body = "".join(f"本文その{row},{'ab'[row % 2]}\n" for row in range(rows))
    path.write_text(f"{header}\n{body}", encoding="utf-8")
    return path


def write_corpus(folder: Path) -> Path:
    for kind, category in enumerate(PUBLISHED_ARTICLES):
        (folder / category).mkdir(parents=True)
        for number in range(10):
            text = f"http://x.example/\n2024-01-01\n題{number}\n第{kind}類の本文その{number}\n"
            (folder / category / f"{category}-{number}.txt").write_text(text, encoding="utf-8")
    return folder


def test_sample_is_written_and_equals_the_embedded_one(tmp_path: Path) -> None:
    result = run("sample", "--out", tmp_path / "sample")
    assert f"Next: tanzaku fit {tmp_path / 'sample'} --out " in result.stdout.splitlines()[-2]
    assert result.stdout.splitlines()[-1].startswith("  or: tanzaku ")
    assert result.exit_code == 0
    assert "total" in result.stdout
    assert load_dataset(tmp_path / "sample") == load_dataset("sample")


def test_import_prints_a_table_or_json_and_keeps_standard_output_clean(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "mine.csv")
    result = run("import", path, "--out", tmp_path / "out", "--train-size", 0.5, "--val-size", 0.25, "--json")
    manifest = json.loads(result.stdout)
    assert manifest["counts"]["a"] == {"train": 10, "val": 5, "test": 5}
    assert json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8")) == manifest
    assert "documents" in run("import", path, "--out", tmp_path / "other").stdout


def test_import_says_what_it_dropped_and_warns_on_standard_error(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "mine.csv")
    with path.open("a", encoding="utf-8") as handle:
        handle.write(",a\n" + "".join(f"別の本文{row},A\n" for row in range(20)))
    with pytest.raises(DataError, match=r"1 of 61 rows has an empty text: row 41 \(line 42\)"):
        run("import", path, "--out", tmp_path / "out")
    result = run("import", path, "--out", tmp_path / "out", "--drop-empty")
    assert "Left out: 1 row with an empty text." in result.stdout
    assert "mine.csv: labels that differ only in case" in result.stderr
    assert json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["dropped"] == {
        "rows with an empty text": 1
    }


def test_a_folder_a_class_is_read_as_one_whatever_tables_lie_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "mails"
    for label in "ab":
        (folder / label).mkdir(parents=True)
        for number in range(20):
            (folder / label / f"{number}.txt").write_text(f"{label}の本文{number}", encoding="utf-8")
    write_rows(folder / "test.csv")
    manifest = json.loads(run("import", folder, "--out", tmp_path / "guessed", "--json").stdout)
    assert sum(manifest["counts"]["a"].values()) == 20
    write_rows(folder / "train.csv", rows=60)
    command = ["import", folder, "--out", tmp_path / "named", "--format", "folder", "--json"]
    assert json.loads(run(*command).stdout)["counts"] == manifest["counts"]
    manifest = json.loads(run("import", folder, "--out", tmp_path / "split", "--json").stdout)
    assert sum(manifest["counts"]["a"].values()) == 50


def test_import_reads_a_spreadsheet_with_joined_columns_and_tidies_its_labels(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["件名", "本文", "分類"])
    labels = [*["配送"] * 20, *["請求"] * 19, "請求 ", "退会"]
    for row, label in enumerate(labels):
        sheet.append([f"件名{row}", f"本文{row}", label])
    book.save(tmp_path / "受信.xlsx")
    columns = ("--text-column", "件名", "--text-column", "本文", "--label-column", "分類")
    tidy = ("--normalize-labels", "--drop-small", 5, "--text-separator", r" \n")
    result = run("import", tmp_path / "受信.xlsx", *columns, *tidy, "--out", tmp_path / "out")
    assert "Left out" not in result.stdout  # it is said once, with the names of the classes
    assert "Classes of fewer than 5 rows were left out: '退会' (1 row)." in result.stdout
    assert "Labels in another spelling: '請求 ' (1 row) became '請求'." in result.stdout
    dataset = load_dataset(tmp_path / "out")
    assert dataset.label_names == ("請求", "配送")
    assert all(re.fullmatch(r"件名(\d+) \n本文\1", text) for text in dataset.train.texts)
    merged = ("--merge-small", "5:その他")
    with pytest.raises(DataError, match=r"'その他' has 1; '請求 ' has 1|'その他' has 2"):
        run("import", tmp_path / "受信.xlsx", *columns, *merged, "--out", tmp_path / "merged")


def test_import_reads_standard_input_and_names_its_encoding(tmp_path: Path) -> None:
    def piped(data: bytes, *options: Any) -> Result:
        command = ["data", "import", "-", "--out", str(tmp_path / "out"), *map(str, options)]
        return CliRunner().invoke(app, command, input=data)

    content = write_rows(tmp_path / "mine.csv").read_text(encoding="utf-8").replace(",", ";")
    failed = piped(content.encode("cp932"))
    assert "standard input: line 2: the byte" in str(failed.exception)
    assert "--encoding cp932" in str(failed.exception)
    assert piped(content.encode("cp932"), "--encoding", "cp932", "--name", "受信").exit_code == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["name"], manifest["source"]["documents"]["given"]) == ("受信", "standard input")
    assert len(manifest["source"]["documents"]["sha256"]) == 64


def test_import_ends_with_the_command_that_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rows(tmp_path / "mine.csv")
    fit, last = run("import", path, "--out", tmp_path / "my data").stdout.splitlines()[-2:]
    assert shlex.split(fit) == [
        "Next:",
        "tanzaku",
        "fit",
        str(tmp_path / "my data"),
        "--out",
        str(tmp_path / "my data-classifier"),
    ]
    assert last.startswith("  or: tanzaku study run ")
    words = shlex.split(last.removeprefix("  or: tanzaku "))
    assert CliRunner().invoke(app, [*words, "--dry-run"], catch_exceptions=False).exit_code == 0
    assert f"data.source={tmp_path / 'my data'}" in words
    monkeypatch.setattr("tanzaku.cli.data.__file__", str(tmp_path / "a" / "b" / "c" / "d.py"))
    monkeypatch.chdir(tmp_path)
    *_, fit, last = run("import", path, "--out", "out").stdout.splitlines()
    assert fit == "Next: tanzaku fit out --out out-classifier"
    assert last == "  or: tanzaku data show out"


def test_import_takes_splits_as_they_are(tmp_path: Path) -> None:
    paths = {split: write_rows(tmp_path / f"{split}.csv", header="body,class") for split in ("train", "test")}
    columns = ("--text-column", "body", "--label-column", "class")
    result = run(
        "import", "--train", paths["train"], "--test", paths["test"], *columns, "--out", tmp_path / "out", "--json"
    )
    assert json.loads(result.stdout)["counts"]["b"] == {"train": 18, "val": 2, "test": 20}
    assert "test: 36 of 40 texts are in train too" in result.stderr


def test_import_takes_a_folder_of_splits(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for split, rows in (("train", 30), ("val", 6), ("test", 10)):
        write_rows(folder / f"{split}.csv", rows=rows)
    manifest = json.loads(run("import", folder, "--out", tmp_path / "out", "--json").stdout)
    assert manifest["counts"]["b"] == {"train": 15, "val": 3, "test": 5}
    assert manifest["name"] == "mine"
    (folder / "train.csv").rename(folder / "data.csv")
    (folder / "test.csv").unlink()
    with pytest.raises(DataError, match=r"holds no documents. It holds data\.csv; val\.csv: name one of these files"):
        run("import", folder, "--out", tmp_path / "out")


@pytest.mark.parametrize("arguments", [(), ("a.csv", "--train", "b.csv"), ("--train", "b.csv"), ("--test", "b.csv")])
def test_import_wants_one_source_or_splits(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="either one SOURCE to be split, or --train and --test"):
        run("import", *arguments, "--out", tmp_path)


def test_import_refuses_shares_for_data_that_is_split_already(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "mine.csv")
    with pytest.raises(DataError, match="--val-size can't have an effect here: this data is already split"):
        run("import", "--train", path, "--val", path, "--test", path, "--val-size", 0.2, "--out", tmp_path / "out")


def test_import_refuses_options_of_the_split_for_data_that_has_one(tmp_path: Path) -> None:
    paths = {f"--{split}": write_rows(tmp_path / f"{split}.csv") for split in ("train", "val", "test")}
    options = ("--seed", 42, "--split-duplicates")
    given = [word for option_and_path in paths.items() for word in option_and_path]
    for source in (given, [tmp_path]):
        with pytest.raises(DataError, match=r"--seed, --split-duplicates can't have an effect here: .* Leave them out"):
            run("import", *source, *options, "--out", tmp_path / "out")
    without_val = ["--train", paths["--train"], "--test", paths["--test"]]
    assert run("import", *without_val, *options, "--val-size", 0.2, "--out", tmp_path / "out").exit_code == 0
    with pytest.raises(DataError, match=r"^--train-size can't have an effect here: .* Leave it out"):
        run("import", *without_val, *options, "--train-size", 0.7, "--out", tmp_path / "out")


def test_the_documentations_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    commands = re.findall(r"^tanzaku data (.+)$", page, flags=re.MULTILINE)
    write_corpus(tmp_path / "corpus" / "text")
    with tarfile.open("ldcc-20140209.tar.gz", "w:gz") as archive:
        archive.add("corpus/text", "text")
    write_rows(Path("reviews.csv"), header="body,stars")
    book = openpyxl.Workbook()
    book.create_sheet("受信").append(["件名", "本文", "分類"])
    for row in range(40):
        book["受信"].append([f"件名{row}", f"本文{row}", "ab"[row % 2]])
    book.save("inquiries.xlsx")
    for label in ("private", "work"):
        for number in range(20):
            path = Path("mails") / label / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{label}の用件{number}", encoding="cp932")
    for split in ("train", "dev", "test"):
        rows = (json.dumps({"text": f"{split} {row}", "label": "ab"[row % 2]}) for row in range(10))
        Path(f"{split}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    downloading = [command for command in commands if command.startswith("livedoor") and "--archive" not in command]
    assert (len(commands), len(downloading)) == (9, 1)
    for command in commands:
        if command not in downloading:
            assert run(*shlex.split(command)).exit_code == 0


def test_other_data_is_replaced_only_by_force(tmp_path: Path) -> None:
    path, out = write_rows(tmp_path / "mine.csv"), tmp_path / "out"
    run("import", path, "--out", out)
    run("import", path, "--out", out)
    with pytest.raises(DataError, match="--force"):
        run("import", path, "--out", out, "--seed", 1)
    assert run("import", path, "--out", out, "--seed", 1, "--force").exit_code == 0


def test_livedoor_prints_the_table_in_the_thesiss_order(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus" / "text").parent
    result = run("livedoor", "--archive", corpus, "--out", tmp_path / "out")
    places = [result.stdout.index(category) for category in PUBLISHED_ARTICLES]
    assert places == sorted(places)
    assert "counts 512 articles" in result.stdout
    assert "warning: this is not the published corpus" in result.stderr
    assert (tmp_path / "out" / "test.csv").exists()
    assert "512" not in run("livedoor", "--archive", corpus, "--text", "unsigned", "--out", tmp_path / "u").stdout


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ([], "livedoor"),
        (["--keep-duplicates-together"], "livedoor-together"),
        (["--text", "unsigned"], "livedoor-unsigned"),
        (["--text", "unsigned", "--split-duplicates"], "livedoor-unsigned-split"),
    ],
)
def test_livedoors_splits_have_their_own_names(tmp_path: Path, options: list[str], name: str) -> None:
    corpus = write_corpus(tmp_path / "corpus" / "text").parent
    result = run("livedoor", "--archive", corpus, *options, "--out", tmp_path / "out")
    assert ("Table 3.1" in result.stdout) == (not options)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["name"] == name
    assert manifest["options"]["keep_duplicates_together"] == name.endswith(("-together", "-unsigned"))


def test_livedoor_refuses_an_unknown_cleaning_before_it_downloads(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no cleaning 'raw'"):
        run("livedoor", "--text", "raw", "--out", tmp_path, "--cache", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_show_prints_counts_lengths_and_duplicates(tmp_path: Path) -> None:
    run("import", write_rows(tmp_path / "mine.csv"), "--out", tmp_path / "out")
    shown = run("show", tmp_path / "out").stdout
    assert "median" in shown
    assert "0 texts occur more than once" in shown
    assert json.loads(run("show", "sample", "--json").stdout)["name"] == "sample"
    with pytest.raises(DataError, match="not prepared data"):
        run("show", tmp_path)


def test_long_names_of_classes_are_shown_whole(tmp_path: Path) -> None:
    names = [f"お問い合わせ・配送と返品に関するご質問や苦情・海外発送を含むもの（その{number}）" for number in "一二"]
    rows = "".join(f"本文その{row},{names[row % 2]}\n" for row in range(40))
    (tmp_path / "mine.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    for arguments in (["import", tmp_path / "mine.csv", "--out", tmp_path / "out"], ["show", tmp_path / "out"]):
        shown = re.sub(r"[\s│\d,]", "", run(*arguments).stdout)
        assert all(name in shown for name in names)


@pytest.mark.parametrize("verb", ["livedoor", "import", "sample", "show"])
def test_every_verb_has_examples_in_its_help(verb: str) -> None:
    assert f"tanzaku data {verb} " in run(verb, "--help").stdout


def test_an_error_is_one_message_on_standard_error(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from tanzaku.cli import main; main()", "data", "show", str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.startswith("error: ")
    assert "Traceback" not in finished.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, tanzaku.cli; "
        "sys.exit(','.join(sorted({'torch', 'sklearn', 'pandas', 'pyarrow', 'numpy'} & set(sys.modules))))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.stderr.strip() == ""
