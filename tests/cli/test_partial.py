"""`tanzaku classify --out`: files that are whole or not there, interruptions, rows that can't be read, spreadsheets."""

import csv
import io
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
from typer.testing import CliRunner, Result

from tanzaku.cli import app, partial
from tanzaku.data.streaming import stream_rows
from tanzaku.errors import TanzakuError
from tests.bundles import DATASET, make_bundle

# More than the first three chunks of 32, 64 and 128 texts.
TEXTS = [f"{text}{number}" for number, text in enumerate(15 * DATASET.train.texts)]
BAD = 150
BROKEN = {"csv": "one field too few", "jsonl": '{"text": "海", '}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    return make_bundle(folder / "b", folder, "tfidf-svm", {"analyzer": "character"})


def _run(*arguments: object, given: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["classify", *map(str, arguments)], input=given)


def _succeeds(*arguments: object, given: bytes | None = None) -> Result:
    done = _run(*arguments, given=given)
    assert done.exit_code == 0, (done.stderr, done.exception)
    return done


def _fails(*arguments: object) -> str:
    done = _run(*arguments)
    assert isinstance(done.exception, TanzakuError), (done.stderr, done.exception)
    return str(done.exception)


def _write(path: Path, *, broken: bool = False) -> Path:
    """A file with an empty text, characters that are changed, and in the row 150 too little or something complete."""
    texts = [*TEXTS]
    texts[3], texts[4] = "", "海\x07に"
    if path.suffix == ".csv":
        text = io.StringIO(newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["id", "text"])
        rows.writerows((f"00{number}", text) for number, text in enumerate(texts))
        lines = text.getvalue().split("\n")
        if broken:
            lines[BAD] = BROKEN["csv"]
    else:
        lines = [json.dumps({"id": f"00{number}", "text": text}) for number, text in enumerate(texts)] + [""]
        if broken:
            lines[BAD - 1] = BROKEN["jsonl"]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _content(path: Path) -> object:
    """Its bytes, or the cells of a workbook, which has the time in it."""
    if path.suffix != ".xlsx":
        return path.read_bytes()
    sheet = openpyxl.load_workbook(path).active
    assert sheet is not None
    return list(sheet.iter_rows(values_only=True))


def _left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if "partial" in path.name or path.name.startswith(".")}


@pytest.mark.parametrize(
    ("source", "out", "options"),
    [
        ("a.csv", "labels.csv", ["--output-encoding", "utf-8-sig", "--keep-columns"]),
        ("a.csv", "labels.jsonl", ["--top", 2, "--min-probability", "60%"]),
        ("a.jsonl", "labels.tsv", ["--output-encoding", "utf-16", "--keep-columns"]),
        ("a.jsonl", "labels.xlsx", ["--keep-columns"]),
    ],
)
@pytest.mark.parametrize("often", [True, False], ids=["after each chunk", "after the first"])
def test_what_was_interrupted_goes_on_to_the_same_bytes(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    out: str,
    options: list[str],
    often: bool,
) -> None:
    """The interruption is a row that can't be read, which is mended then."""
    if often:
        monkeypatch.setattr(partial, "_SECONDS", 0)
    whole = _succeeds(bundle, _write(tmp_path / source), "--out", tmp_path / f"whole-{out}", *options)
    arguments = [bundle, _write(tmp_path / source, broken=True), "--out", tmp_path / out, *options]
    assert f"{source}: " in _fails(*arguments)
    assert _left(tmp_path) == {f"{out}.partial", f"{out}.partial.json"}
    note = json.loads((tmp_path / f"{out}.partial.json").read_text(encoding="utf-8"))
    assert note["tally"]["texts"] == (96 if often else 32)
    assert "--resume, or start again with --force" in _fails(*arguments)
    with (tmp_path / f"{out}.partial").open("ab") as lines:
        lines.write(b"half a li")
    _write(tmp_path / source)
    resumed = _succeeds(*arguments, "--resume")
    assert _content(tmp_path / out) == _content(tmp_path / f"whole-{out}")
    assert resumed.stderr == whole.stderr.replace(f"whole-{out}", out)
    assert f"{len(TEXTS):,} texts have labels in {tmp_path / out}\n" in resumed.stderr
    assert "1 text is empty (number 4)" in resumed.stderr
    assert _left(tmp_path) == set()


def test_a_process_that_is_killed_leaves_what_can_be_continued(bundle: Path, tmp_path: Path) -> None:
    given = "".join(f"{text}\n" for text in TEXTS).encode()
    out = tmp_path / "labels.csv"
    command = [sys.executable, "-m", "tanzaku", "classify", str(bundle), "--out", str(out)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(given[: len(given) // 2])  # and no more, so that it waits
    process.stdin.flush()
    notes = tmp_path / "labels.csv.partial.json"
    deadline = time.monotonic() + 120
    while not notes.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    begun = (tmp_path / "labels.csv.partial").read_bytes()
    for option in ("--resume", "--force"):
        assert f"another process is classifying into {out}; wait for it" in _fails(bundle, "海", "--out", out, option)
    assert (tmp_path / "labels.csv.partial").read_bytes() == begun
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    assert notes.exists()
    assert not out.exists()
    _succeeds(bundle, "--out", out, "--resume", given=given)
    _succeeds(bundle, "--out", tmp_path / "new" / "whole.csv", given=given)
    assert out.read_bytes() == (tmp_path / "new" / "whole.csv").read_bytes()
    assert len(out.read_bytes().splitlines()) == len(TEXTS) + 1
    assert _left(tmp_path) == set()


def _interrupted(bundle: Path, folder: Path) -> list[object]:
    """The arguments of a classification that was interrupted."""
    arguments = [bundle, _write(folder / "a.csv", broken=True), "--out", folder / "labels.csv"]
    _fails(*arguments)
    _write(folder / "a.csv")
    return arguments


def _other_texts(folder: Path) -> None:
    text = (folder / "a.csv").read_text(encoding="utf-8")
    (folder / "a.csv").write_text(text.replace("001,", "002,").replace(TEXTS[1], "山"), encoding="utf-8")


def _cut(folder: Path) -> None:
    (folder / "labels.csv.partial").write_bytes(b"number")


def _damage(folder: Path) -> None:
    (folder / "labels.csv.partial.json").write_text("{}", encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda _: None, ["--top", 2], "begun with another setting of top"),
        (lambda _: None, ["--chunk", 7], "begun with another setting of chunk"),
        (_other_texts, [], "the first 32 texts are not those of"),
        (_cut, [], "is shorter than it was"),
        (_damage, [], "can't be read: "),
    ],
)
def test_what_is_not_the_same_is_not_continued(
    bundle: Path, tmp_path: Path, change: Callable[[Path], None], options: list[object], message: str
) -> None:
    arguments = _interrupted(bundle, tmp_path)
    change(tmp_path)
    assert message in _fails(*arguments, *options, "--resume")
    _succeeds(*arguments, "--force")
    assert _left(tmp_path) == set()
    assert "is there already; name another file, or replace it (--force)" in _fails(*arguments, "--resume")


@pytest.mark.parametrize("source", ["a.csv", "a.jsonl"])
def test_rows_that_cant_be_read_are_reported_and_skipped_on_request(bundle: Path, tmp_path: Path, source: str) -> None:
    done = _run(bundle, _write(tmp_path / source, broken=True), "--out", tmp_path / "some.csv", "--on-error", "skip")
    assert done.exit_code == 3
    line = "row 150 (line 151)" if source == "a.csv" else "line 150"
    assert f"warning: skipped: {tmp_path / source}: {line}" in done.stderr
    assert "warning: 1 row was skipped, because it can't be read." in done.stderr
    _succeeds(bundle, _write(tmp_path / source), "--out", tmp_path / "all.csv")
    some, every = (
        list(csv.DictReader((tmp_path / f"{name}.csv").read_text(encoding="utf-8").splitlines()))
        for name in ("some", "all")
    )
    assert [row["number"] for row in some] == [row["number"] for row in every if row["number"] != str(BAD)]
    assert [row["label"] for row in some] == [row["label"] for row in every if row["number"] != str(BAD)]


def test_a_skipped_row_and_an_interruption_together(bundle: Path, tmp_path: Path) -> None:
    source = _write(tmp_path / "a.jsonl")
    lines = source.read_text(encoding="utf-8").splitlines()
    lines[5] = '{"other": 1}'
    source.write_text("\n".join(lines), encoding="utf-8")
    skipping = [bundle, source, "--on-error", "skip", "--out"]
    whole = _run(*skipping, tmp_path / "whole.jsonl")
    broken = source.read_bytes()
    source.write_bytes(broken[: len(broken) // 2] + b"\xff" + broken[len(broken) // 2 :])  # not UTF-8: never skipped
    assert "is not valid utf-8" in _fails(*skipping, tmp_path / "labels.jsonl")
    source.write_bytes(broken)
    resumed = _run(*skipping, tmp_path / "labels.jsonl", "--resume")
    assert (resumed.exit_code, whole.exit_code) == (3, 3)
    assert resumed.stderr == whole.stderr.replace("whole.jsonl", "labels.jsonl")
    assert (tmp_path / "labels.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_workbook_has_texts_as_texts_and_is_read_again(bundle: Path, tmp_path: Path) -> None:
    texts = ["=1+1", "007", "海\x07に_x0041_", "a\r\nb", "あ" * 40_000]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text, "n": 1.5}) + "\n" for text in texts), encoding="utf-8")
    out = tmp_path / "labels.xlsx"
    done = _succeeds(bundle, path, "--out", out, "--keep-columns")
    assert "1 text was cut to the 32,767 characters that a cell holds" in done.stderr
    rows = _content(out)
    assert isinstance(rows, list)
    assert rows[0] == ("text", "n", "number", "label", "probability", "score")
    assert [row[0] for row in rows[1:3]] == ["=1+1", "007"]
    assert rows[3][0] == "海_x0007_に_x005F_x0041_"  # as Excel escapes them
    assert rows[4][0] == "a_x000D_\nb"
    assert len(rows[5][0]) == 32_767
    assert all(row[1] == 1.5 and isinstance(row[4], float) for row in rows[1:])
    assert next(iter(stream_rows(out))).text == "=1+1"


def test_a_sheet_that_is_not_read_is_reported(bundle: Path, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for name, text in (("1月", "海"), ("2月", "山"), ("empty", None)):
        sheet = book.create_sheet(name)
        for value in ("text", text) if text else ():
            sheet.append([value])
    book.save(path := tmp_path / "months.xlsx")
    warning = f"warning: {path}: only the sheet '1月' was read, not '2月'; use --sheet to read another."
    assert _succeeds(bundle, path, "--format", "csv").stderr.splitlines() == [warning]
    assert _succeeds(bundle, path, "--format", "csv", "--sheet", "2月").stderr == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--no-text"], "--no-text has no effect with --engine ray; leave it out"),
        (["--chunk", 64], "--chunk has no effect with --engine ray; leave it out"),
        (["--threads", 1], "--threads has no effect with --engine ray, whose .* --cpus-per-worker"),
        (["--device", "cuda"], "--device has no effect with --engine ray, whose .* --gpus-per-worker"),
        (["--top", 2], "--top has no effect with --engine ray; leave it out"),
    ],
)
def test_options_without_effect_on_ray_are_refused(
    bundle: Path, tmp_path: Path, options: list[object], message: str
) -> None:
    (tmp_path / "texts.jsonl").touch()  # without a row, so without a need for Ray
    given = [bundle, tmp_path / "texts.jsonl", "--engine", "ray", "--out", tmp_path / "labels"]
    assert re.search(message, _fails(*given, *options))
    assert not (tmp_path / "labels").exists()


def test_half_a_character_is_escaped_or_its_column_named(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.jsonl"
    path.write_text('{"text": "海", "name": "\\ud800x", "\\udfff": 1}\n', encoding="utf-8")
    keeping = [bundle, path, "--keep-columns"]
    _succeeds(*keeping, "--out", tmp_path / "labels.jsonl")
    row = json.loads((tmp_path / "labels.jsonl").read_bytes())
    assert (row["name"], row["\udfff"], row["text"]) == ("\ud800x", 1, "海")
    message = r"row 1: the column '%s' contains '\%s', half a surrogate pair.* correct .* or use --format jsonl"
    path.write_text('{"text": "海", "name": "\\ud800x"}\n', encoding="utf-8")
    for name in ("labels.csv", "labels.xlsx"):
        assert re.search(message % ("name", r"\ud800"), _fails(*keeping, "--out", tmp_path / name, "--force"))
    assert re.search(message % ("name", r"\ud800"), _fails(*keeping, "--format", "csv"))
    path.write_text('{"text": "海", "name": "🌊"}\n', encoding="utf-8")
    assert "row 1: the column 'name' contains '🌊', which cp932 can't encode; use" in _fails(
        *keeping, "--format", "csv", "--output-encoding", "cp932"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "xlsx"], "--format xlsx needs --out FILE"),
        (["--resume"], "--resume only has an effect with --out"),
        (["--force"], "--force only has an effect with --out"),
        (["--out", "labels.doc"], r"can't tell the format from the ending '\.doc'"),
        (["--out", "labels.csv", "--format", "table"], "--format table is for the terminal"),
        (["--out", "labels.csv", "--resume", "--force"], "--resume continues what --force would remove"),
        (["--out", "labels.xlsx", "--output-encoding", "cp932"], r"an \.xlsx file has its own"),
    ],
)
def test_what_does_not_go_together_is_said(bundle: Path, arguments: list[str], message: str) -> None:
    assert re.search(message, _fails(bundle, "海", *arguments))
