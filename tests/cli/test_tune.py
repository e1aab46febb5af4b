"""`tanzaku study tune`: what it prints, and that it never looks at the test set."""

import itertools
import json
import os
import re
import shlex
import signal
import sys
import time
import tomllib
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from tanzaku.cli import app
from tanzaku.cli.tune import _print_ranking, tune
from tanzaku.data.loading import load_dataset
from tanzaku.data.prepared import Preparation, write_prepared
from tanzaku.errors import DataError, TanzakuError
from tanzaku.study.expansion import read_study
from tanzaku.study.runs import read_records
from tanzaku.study.spec import StudySpec
from tanzaku.study.tune.record import TrialRecord, TuningRecord
from tanzaku.study.tune.space import DEFAULT_SPACE, search_space
from tanzaku.study.tune_settings import TuneSpec
from tests.forked import start_tanzaku
from tests.tiny import make_dataset

_ROOT = Path(__file__).parents[2]
_POISON = b"\xff\xfe no CSV, and no test document either \x00"


def _tune(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["study", "tune", *map(str, arguments)])


@pytest.fixture(scope="module")
def study_file(tmp_path_factory: pytest.TempPathFactory, tiny_masked_encoder: Path) -> Path:
    """A study on prepared data whose test split is poisoned."""
    folder = tmp_path_factory.mktemp("tune")
    write_prepared(Preparation(make_dataset(train=32, val=12), source={}, options={}), folder / "data")
    (folder / "data" / "test.csv").write_bytes(_POISON)
    with pytest.raises(DataError, match=r"test\.csv"):
        load_dataset(folder / "data")
    path = folder / "tiny.toml"
    path.write_text(
        f"""
name = "tiny"
[data]
source = '{folder / "data"}'
[encoder]
name = '{tiny_masked_encoder}'
max_tokens = 24
[training]
epochs = 2
[tune]
trials = 3
[tune.space]
learning_rate = {{ low = 1e-4, high = 1e-2, log = true }}
targets = [["query"], ["query", "value"]]
[[arms]]
method = "lora"
rank = 2
""",
        encoding="utf-8",
    )
    return path


def test_ranks_trials_without_the_test_set(study_file: Path) -> None:
    out = study_file.parent / "out"
    done = _tune(study_file, "--out", out)
    assert done.exit_code == 0, (done.stderr, done.exception)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows[0][:5] == ["place", "trial", "validation accuracy (%)", "loss", "epoch"]
    assert rows[0][6:] == ["learning_rate", "targets", "ended"]
    assert [row[0] for row in rows[1:]] == ["1", "2", "3"]
    assert sorted(row[1] for row in rows[1:]) == ["1", "2", "3"]
    accuracies = [float(row[2]) for row in rows[1:]]
    assert accuracies == sorted(accuracies, reverse=True)
    assert {row[7] for row in rows[1:]} <= {"query", "query+value"}
    assert f"3 finished, 0 pruned, 0 failed. Next: tanzaku study run {out / 'tuned.toml'}" in done.stderr
    assert "searching learning_rate 0.0001 to 0.01, targets query|query+value" in done.stderr
    assert (study_file.parent / "data" / "test.csv").read_bytes() == _POISON
    record = json.loads((out / "tuning.json").read_text(encoding="utf-8"))
    assert record["data"]["test_documents"] == 0
    assert read_study(out / "tuned.toml").data.source == str(study_file.parent / "data")

    # It works as well where the test set is missing altogether, and goes on with more trials.
    (study_file.parent / "data" / "test.csv").unlink()
    done = _tune(study_file, "--out", out, "--trials", 4)
    assert done.exit_code == 0, (done.stderr, done.exception)
    assert "3 trials ended earlier" in done.stderr
    assert len(done.stdout.splitlines()) == 5


def test_the_ranking_is_a_table_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = {"number": 3, "run_id": "r", "status": "finished", "settings": {"targets": ["query", "value"], "rank": 4}}
    record = TuningRecord.model_construct(
        trials=(TrialRecord.model_validate(trial | {"val_accuracy": 0.9, "val_loss": 0.25, "best_epoch": 2}),),
        space={"targets": [], "rank": []},
        settings={"objective": "accuracy"},
    )
    monkeypatch.setattr("tanzaku.cli.tune.plain_console", lambda **options: Console(force_terminal=True, width=120))
    _print_ranking(record)
    (row,) = [line.split() for line in capsys.readouterr().out.splitlines() if "query+value" in line]
    assert " ".join(row) == "1 3 90.00 0.2500 2 0.0 targets query+value, rank 4 finished"
    # In a narrow window, the settings stand below.
    monkeypatch.setattr("tanzaku.cli.tune.plain_console", lambda **options: Console(force_terminal=True, width=70))
    _print_ranking(record)
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "1. trial 3: validation accuracy 90.00 %",
        "    loss 0.2500, epoch 2, seconds 0.0",
        "    targets query+value, rank 4",
    ]


def test_without_a_finished_trial_the_exit_status_says_so(study_file: Path, tmp_path: Path) -> None:
    done = _tune(study_file, "--out", tmp_path, "--minutes", 1e-9)
    assert done.exit_code == 1
    assert "Run the same command again to continue, or give more --minutes." in done.stderr
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("missing", ["optuna"])
def test_without_the_extra_nothing_is_read(
    study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    done = _tune(study_file, "--out", tmp_path, "--set", "data.source=nowhere")
    assert isinstance(done.exception, TanzakuError)
    assert f"needs {missing}, which is not installed; install it with: pip install optuna" in str(done.exception)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_when_asked_to_and_goes_on(study_file: Path, tmp_path: Path, number: signal.Signals) -> None:
    settings = ["--set", "training.epochs=60", "--set", "tune.space={learning_rate=[1e-4]}", "--trials", "1"]
    out = tmp_path / "out"
    process = start_tanzaku("study", "tune", study_file, "--out", out, *settings, folder=tmp_path)
    while process.poll() is None and not list(out.glob("trials/*/checkpoints/step-*")):
        time.sleep(0.02)
    os.kill(process.pid, number)
    process.finish(status=130)
    assert "run the same command again to resume" in process.errors
    done = _tune(study_file, "--out", out, *settings)
    assert done.exit_code == 0, (done.stderr, done.exception)
    (log,) = out.glob("trials/*/log.jsonl")
    assert '"event": "Resumed"' in log.read_text(encoding="utf-8")


def _page() -> str:
    return (_ROOT / "docs" / "tuning.md").read_text(encoding="utf-8")


def _told_commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", _page(), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("tanzaku ")]


def test_the_help_has_the_examples_of_the_documentation() -> None:
    assert tune.__doc__ is not None
    examples = tune.__doc__.split("```")[1]
    assert [line.strip() for line in examples.splitlines() if line.strip()] == _told_commands()


def test_the_first_example_tunes_the_ranks_of_a_lora() -> None:
    arguments = shlex.split(_told_commands()[0])
    overrides = [value for name, value in itertools.pairwise(arguments) if name == "--set"]
    space = search_space(read_study(_ROOT / arguments[3], overrides=overrides, check_arms=False))
    assert set(space.searched) == {"rank", "alpha", "schedule"}
    assert space.fixed == {
        "method": "lora",
        "targets": "all-linear",
        "learning_rate": 1e-3,
        "head_learning_rate": 5e-3,
    }


@pytest.mark.slow
def test_what_the_documentation_tells_to_type_works(
    tiny_masked_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a tiny encoder on few documents, one epoch, one trial and one seed."""
    commands = _told_commands()
    assert len(commands) == 3
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").symlink_to(_ROOT / "studies")
    (example,) = re.findall(r"```toml\n(.*?)```", _page(), flags=re.DOTALL)
    (tmp_path / "my-study.toml").write_text(example, encoding="utf-8")
    write_prepared(Preparation(make_dataset(train=32, val=12), source={}, options={}), tmp_path / "data" / "mine")
    settings = [f"encoder.name={tiny_masked_encoder}", "encoder.max_tokens=24", "training.epochs=1", "seeds=[1]"]
    scaled = [part for setting in (*settings, "data.source=data/mine") for part in ("--set", setting)]
    for command in commands:
        arguments = shlex.split(command)[1:]
        trials = ["--trials", "1"] if arguments[1] == "tune" else []
        done = CliRunner().invoke(app, [*arguments, *scaled, *trials])
        assert done.exit_code == 0, (done.stderr, done.exception)
    assert (tmp_path / "runs" / "my-study-tune" / "tuned.toml").is_file()
    methods = [record.spec["method"]["name"] for record in read_records(tmp_path / "runs" / "quickstart-tuned")]
    assert sorted(methods) == ["lora", "tfidf-svm"]


def test_the_documentation_has_every_setting_with_its_default(tmp_path: Path) -> None:
    page = _page()
    (example,) = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    told = tomllib.loads(example)
    assert set(told["tune"]) == set(TuneSpec.model_fields)
    defaults = TuneSpec().model_dump(mode="json")
    for name in set(told["tune"]) - {"arm", "minutes", "space"}:
        assert told["tune"][name] == defaults[name], name
    space = search_space(StudySpec.model_validate(told))
    assert space.corners(seed=1)
    assert set(space.searched) == {*told["tune"]["space"], "dropout"}
    for name in DEFAULT_SPACE:
        assert f"| `{name}` |" in page
