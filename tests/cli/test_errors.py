"""What the system refuses, and text that looks like markup: one line that names the path, and nothing is lost."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tanzaku.cli import main
from tanzaku.study.listing import read_list
from tanzaku.study.runs import read_records
from tests.study.compared import remount

_STUDY = 'name = "t"\n[data]\nsource = "sample"\n[[arms]]\nmethod = "tfidf-svm"\n'
_NAME = "x[/y] :smile: [red]"

Tanzaku = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tanzaku(capfd: pytest.CaptureFixture[str], workplace: Path) -> Tanzaku:
    """Runs the command line in the workplace; gives the exit status, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(workplace)
            patch.setattr(sys, "argv", ["tanzaku", *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                main()
        output, errors = capfd.readouterr()
        return int(ended.value.code or 0), output, errors

    return run


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "t.toml").write_text(_STUDY, encoding="utf-8")
    (folder / "text.txt").write_text("海に船がある。\n", encoding="utf-8")
    (folder / "mine.csv").write_text("text,label\n" + "".join(f"海{row},a\n山{row},b\n" for row in range(20)))
    (folder / "file").write_text("", encoding="utf-8")
    return folder


def test_text_that_looks_like_markup_is_printed_as_it_stands(tanzaku: Tanzaku) -> None:
    status, output, errors = tanzaku("study", "run", "t.toml", "--out", _NAME)
    assert status == 0, errors
    assert output.count("tfidf-svm") == 1
    assert f"1 run in {_NAME}" in errors
    assert errors.splitlines()[-1].endswith(f"Next: tanzaku study report {shlex.quote(_NAME)}")
    assert f"tanzaku classify '{_NAME} bundle' TEXT" in tanzaku("pack", _NAME, "--out", f"{_NAME} bundle")[2]
    assert f"Written to {_NAME} data." in tanzaku("data", "sample", "--out", f"{_NAME} data")[1]
    assert f"error: nowhere{_NAME}" in tanzaku("study", "run", f"nowhere{_NAME}")[2].replace("the study file ", "")


@pytest.mark.parametrize(
    "command",
    [
        ["data", "sample"],
        ["data", "import", "mine.csv"],
        ["study", "run", "t.toml"],
        ["study", "report", _NAME],
        ["pack", _NAME],
        ["pretrain", "text.txt", "--steps", "1"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_folder_that_can_not_be_written_is_one_line(tanzaku: Tanzaku, command: list[str]) -> None:
    status, _, errors = tanzaku(*command, "--out", "file/x")
    assert status == 1
    assert errors.count("\n") == 1
    assert errors.startswith("error: file")
    assert "Not a directory" in errors
    assert "choose another path" in errors


def test_long_work_does_not_begin_where_its_result_can_not_be_written(tanzaku: Tanzaku, workplace: Path) -> None:
    for out in ("海" * 90, "file"):
        status, _, errors = tanzaku("study", "run", "t.toml", "--out", out)
        assert status == 1
        assert f"error: {out}: this folder can't be written" in errors
        assert "run 1 of 1" not in errors
    assert not [path for path in workplace.iterdir() if path.name.startswith(".tanzaku")]


def test_a_full_disk_stops_the_study_and_the_same_command_resumes_it(
    tanzaku: Tanzaku, workplace: Path, small_disk: Path
) -> None:
    (workplace / "two.toml").write_text(_STUDY.replace('"t"', '"two"') + "penalty = [1.0, 2.0]\n", encoding="utf-8")
    out = small_disk / "full"
    status, _, errors = tanzaku("study", "run", "two.toml", "--out", out)
    assert status == 1
    assert "No space left on device; free some space" in errors
    assert "Traceback" not in errors
    listed = read_list(out)
    assert listed is not None
    first, second = (run.name for run in listed.runs)
    assert f"error: the run {first} stopped" in errors
    assert str(out / first / "model") in errors
    assert second not in errors
    assert not list(out.rglob("record.json"))
    remount(small_disk, "size=64m")
    assert tanzaku("study", "run", "two.toml", "--out", out)[0] == 0
    assert [record.status for record in read_records(out)] == ["finished"] * 2
