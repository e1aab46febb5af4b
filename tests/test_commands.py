"""What the README and the study files tell a newcomer to type: every command is run, scaled down where it is long."""

import contextlib
import csv
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tanzaku.cli import app
from tanzaku.fitting import candidates
from tanzaku.study.expansion import expand, read_study
from tanzaku.study.runs import read_records
from tests.forked import start_tanzaku
from tests.tiny import WORDS, make_documents

ROOT = Path(__file__).parents[1]
STUDIES = sorted((ROOT / "studies").glob("*.toml"))


def _run(command: list[str], folder: Path) -> Result:
    """Run a command in this process, since each new one spends more time on importing PyTorch than on its work."""
    with contextlib.chdir(folder):
        finished = CliRunner().invoke(app, command)
    assert finished.exit_code == 0, f"{command}: {finished.stderr} {finished.exception!r}"
    return finished


def _write_inquiries(folder: Path) -> None:
    documents = make_documents(90, seed=1)
    with (folder / "inquiries.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["body", "category"])
        writer.writerows(zip(documents.texts, documents.labels, strict=True))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the study files, and data that was imported as the README says."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "studies").symlink_to(ROOT / "studies")
    _write_inquiries(folder)
    for command in _commands("README.md"):
        if command[:2] == ["data", "import"]:
            _run(command, folder)
    assert (folder / "data" / "inquiries" / "manifest.json").is_file()
    return folder


def _commands(readme: str) -> list[list[str]]:
    """The `tanzaku` commands of a page's bash blocks, without the leading word."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / readme).read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("tanzaku ")]


def test_both_readmes_tell_the_same_commands() -> None:
    assert _commands("README.md") == _commands("README.ja.md")
    assert len(_commands("README.md")) == 13


def test_the_make_targets_that_are_told_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    told = set()
    for page in ("README.md", "README.ja.md", "CONTRIBUTING.md"):
        told |= set(re.findall(r"^make ([a-z]+)", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert {"setup", "test", "lint", "format", "quickstart"} <= told <= targets
    assert "bench" in targets


# Options that are lists themselves, not axes.
_LISTS = {"targets", "ranks", "truncate"}


def _scaled_down(study: Path, encoder: Path) -> list[str]:
    """Overrides that keep one seed, the last value of every axis, one epoch and a tiny encoder."""
    overrides = [
        f"encoder.name={encoder}",
        "encoder.max_tokens=24",
        "training.epochs=1",
        "data.source=data/inquiries",
        "seeds=[1]",
    ]
    for number, arm in enumerate(tomllib.loads(study.read_text(encoding="utf-8"))["arms"]):
        overrides += [
            f"arms.{number}.{key}={json.dumps(value[-1])}"
            for key, value in arm.items()
            if isinstance(value, list) and key not in _LISTS
        ]
        if "max_tokens" in arm:
            overrides.append(f"arms.{number}.max_tokens=16")
        if "pretrain" in arm:
            small = "{ steps = 2, max_tokens = 16, batch_tokens = 64, evaluations = 1 }"
            overrides.append(f"arms.{number}.pretrain={small}")
    return [part for override in overrides for part in ("--set", override)]


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_every_study_that_ships_runs(workplace: Path, tiny_encoder: Path, study: Path) -> None:
    out = Path("runs") / study.stem
    command = ["study", "run", f"studies/{study.name}", "--out", str(out), *_scaled_down(study, tiny_encoder)]
    summary = _run(command, workplace).stdout.splitlines()
    arms = tomllib.loads(study.read_text(encoding="utf-8"))["arms"]
    records = read_records(workplace / out)
    assert len(records) == len(summary) - 1 == len(arms)
    assert {record.status for record in records} == {"finished"}
    assert {record.data.label_names for record in records} == {tuple(sorted(WORDS))}
    assert {record.method for record in records} == {arm["method"] for arm in arms}


def test_the_readmes_fit_ends_with_a_classifier(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one candidate that needs no encoder."""
    arm = {"method": "tfidf-svm", "analyzer": "character", "max_terms": 200, "weight_bits": 8}
    monkeypatch.setattr(candidates, "TEXT_ARMS", (arm,))
    fit, classify = _commands("README.md")[:2]
    done = _run([*fit, "--encoder", "none", "--folds", "2"], workplace)
    assert done.stdout.strip() == fit[-1]
    assert "Take TF-IDF" in done.stderr
    assert "fold 2 of 2" in done.stderr
    assert json.loads(_run(classify, workplace).stdout)["label"] in WORDS


@pytest.mark.slow
def test_the_readmes_way_from_own_documents_to_labels(workplace: Path, tiny_encoder: Path) -> None:
    commands = _commands("README.md")
    first = next(place for place, command in enumerate(commands) if "name=inquiries" in command)
    study, report, pack, classify = commands[first : first + 4]
    _run([*study, *_scaled_down(ROOT / study[2], tiny_encoder)], workplace)
    _run(report, workplace)
    _run(pack, workplace)
    answer = json.loads(_run(classify, workplace).stdout)
    assert answer["text"] == classify[-1]
    assert answer["label"] in WORDS


def test_every_study_was_found() -> None:
    assert len(STUDIES) == 17


def test_the_studies_of_the_readme_can_be_run(workplace: Path) -> None:
    commands = [command for command in _commands("README.md") if command[:2] == ["study", "run"]]
    assert len(commands) == 3
    for command in commands:
        runs = _run([*command, "--dry-run"], workplace).stdout.splitlines()
        assert len(runs) >= 6


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_a_dry_run_tells_every_run_from_the_others(study: Path) -> None:
    listed = CliRunner().invoke(app, ["study", "run", str(study), "--dry-run"])
    assert listed.exit_code == 0, listed.output
    runs = [line.partition("\t")[2] for line in listed.stdout.splitlines()]
    assert len(set(runs)) == len(runs) == len(expand(read_study(study)))


def test_an_error_is_one_line_and_the_exit_status_says_it(tmp_path: Path) -> None:
    study = ROOT / "studies" / "quickstart.toml"
    finished = start_tanzaku("study", "run", study, "--set", "encoder.name=./nowhere", folder=tmp_path)
    assert finished.finish(status=1) == ""
    assert finished.errors.startswith("error: ")
    assert "Traceback" not in finished.errors
    assert "./nowhere" in finished.errors
