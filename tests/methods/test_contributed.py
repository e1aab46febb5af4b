"""A method from outside: its file in a package of its own, and nothing changed in Tanzaku."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from tanzaku.data.prepared import Preparation, write_prepared
from tanzaku.errors import MethodError
from tanzaku.methods import EncoderMethod, Title
from tanzaku.methods.full import Full
from tanzaku.methods.registry import MethodRegistry
from tests.tiny import make_dataset, make_encoder

METHOD = Path(__file__).with_name("last_biases.py")
STUDY = """
name = "biases"
seeds = [1]
data.source = "data"
encoder = { name = "encoder", max_tokens = 16 }
training = { epochs = 2, learning_rate = 5e-3, precision = "float32" }

[[arms]]
method = "tfidf-svm"

[[arms]]
method = "last-biases"
layers = [1, 2]
"""


def install(folder: Path, *, name: str = "last-biases", package: str = "tanzaku-last-biases", code: str = "") -> None:
    """Install a distribution with one method as pip does: its module, its metadata and its entry point."""
    module = package.removeprefix("tanzaku-").replace("-", "_")
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text(code or METHOD.read_text(encoding="utf-8"), encoding="utf-8")
    metadata = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[tanzaku.methods]\n{name} = {module}:LastBiases\n", encoding="utf-8")


def run(*arguments: str, folder: Path, installed: Path | None) -> subprocess.CompletedProcess[str]:
    """Run Python in a fresh process that finds the packages in `installed`."""
    paths = [str(installed)] if installed else []
    paths += [path for path in (os.environ.get("PYTHONPATH"),) if path]
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8"},
        check=False,
    )


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder, prepared documents and a study of the method, and the package beside them."""
    folder = tmp_path_factory.mktemp("contributed")
    install(folder / "installed")
    make_encoder(folder / "encoder")
    write_prepared(Preparation(make_dataset(), source={}, options={"text": "cleaned"}), folder / "data")
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    return folder


# Runs commands one after the other, and prints the output of each as a line of JSON. A pattern names its first match.
_COMMANDS = """
import glob, json, sys
from typer.testing import CliRunner
from tanzaku.cli import app
for command in json.loads(sys.argv[1]):
    words = [min(glob.glob(word), default=word) for word in command]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    print(json.dumps(done.stdout))
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_method_of_another_package_is_studied_reported_packed_and_classifies(workplace: Path) -> None:
    commands = [
        ["methods", "encoder"],
        ["study", "run", "study.toml", "--out", "runs"],
        ["study", "report", "runs", "--out", "en"],
        ["study", "report", "runs", "--out", "ja", "--language", "ja"],
        ["pack", "runs/last-biases-*", "--out", "bundle", "--with-encoder"],
        ["classify", "bundle", "海に船がある。", "空に雲がある。", "--format", "jsonl"],
    ]
    done = run("-c", _COMMANDS, json.dumps(commands), folder=workplace, installed=workplace / "installed")
    assert done.returncode == 0, done.stderr
    listed, *_, classified = map(json.loads, done.stdout.splitlines())

    (line,) = (line for line in listed.splitlines() if line.startswith("last-biases\t"))
    assert line.endswith("\tafter Ben Zaken et al. 2021, arXiv 2106.10199")

    records = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((workplace / "runs").glob("last-biases-*/record.json"))
    ]
    assert [record["status"] for record in records] == ["finished"] * 2
    assert [record["spec"]["method"] for record in records] == [{"name": "last-biases", "layers": n} for n in (1, 2)]
    # A layer's biases: four of attention, two of the feed-forward network and two of normalisations.
    layer, head = 4 * 32 + 64 + 32 + 2 * 32, 3 * 33
    assert [record["costs"]["trainable_parameters"] for record in records] == [layer + head, 2 * layer + head]

    page = (workplace / "en" / "report.html").read_text(encoding="utf-8").replace("\u00a0", " ")
    assert "Last biases, last 1" in page
    assert "Last biases, last 2" in page
    assert "最後のバイアス" in (workplace / "ja" / "report.html").read_text(encoding="utf-8")

    labels = [json.loads(line)["label"] for line in classified.splitlines()]
    assert set(labels) <= {"空", "海", "山"}
    assert len(labels) == 2


def test_without_the_package_a_study_says_what_is_missing(workplace: Path) -> None:
    finished = run("-m", "tanzaku", "study", "run", "study.toml", "--dry-run", folder=workplace, installed=None)
    assert finished.returncode != 0
    assert "there is no method 'last-biases'; choose one of full," in finished.stderr
    assert "or install the package that brings it" in finished.stderr


def test_an_option_that_is_called_as_a_setting_of_every_arm_is_refused(workplace: Path) -> None:
    install(workplace / "epochs", code=METHOD.read_text(encoding="utf-8").replace("layers:", "epochs:"))
    study = STUDY.replace("layers = [1, 2]", "")
    (workplace / "epochs.toml").write_text(study, encoding="utf-8")
    command = ("-m", "tanzaku", "study", "run", "epochs.toml", "--dry-run")
    finished = run(*command, folder=workplace, installed=workplace / "epochs")
    assert finished.returncode != 0
    assert "last-biases has an option 'epochs', which every arm has; it needs another name" in finished.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_program_registers_a_method_of_its_own(workplace: Path) -> None:
    folder = workplace / "program"
    folder.mkdir()
    shutil.copy(METHOD, folder)
    script = """
from pathlib import Path

import tanzaku
from last_biases import LastBiases
from tanzaku.fitting.measuring import measure_bundle
from tanzaku.ship.packing import pack

tanzaku.register_method(LastBiases)
study = {
    "name": "registered",
    "data": {"source": "../data"},
    "encoder": {"name": "../encoder", "max_tokens": 16},
    "training": {"epochs": 1, "learning_rate": 5e-3},
    "arms": [{"method": "last-biases"}],
}
(record,) = tanzaku.run_study(study, out="runs")
bundle = pack(next(Path("runs").glob("last-biases*")), Path("bundle")).folder
print(record.status, record.method, measure_bundle(bundle, ["海"]).milliseconds > 0)
"""
    (folder / "program.py").write_text(script, encoding="utf-8")
    finished = run("program.py", folder=folder, installed=None)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split() == ["finished", "last-biases", "True"]


_BROKEN = [
    (
        {"package": "tanzaku-missing", "code": "import there_is_no_such_module"},
        r"can't be imported: ModuleNotFoundError: .*there_is_no_such_module",
    ),
    ({"package": "tanzaku-number", "code": "LastBiases = 1"}, r"is no subclass of EncoderMethod or TextMethod"),
    ({"package": "tanzaku-renamed", "name": "other-biases"}, r"calls itself 'last-biases'"),
]


@pytest.mark.parametrize(("changes", "complaint"), _BROKEN)
def test_a_package_that_can_not_be_used_is_named_and_the_others_still_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], complaint: str
) -> None:
    install(tmp_path / "installed", **changes)
    monkeypatch.syspath_prepend(tmp_path / "installed")
    registry = MethodRegistry([Full])
    name = changes.get("name", "last-biases")
    assert list(registry) == ["full", name]
    assert registry["full"] is Full
    with pytest.raises(
        MethodError, match=f"the method '{name}' of the package {changes['package']} 1.0 .*{complaint}.*;"
    ):
        registry[name]


def test_packages_that_bring_a_method_of_the_same_name_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "installed", package="tanzaku-one")
    install(tmp_path / "installed", package="tanzaku-two")
    monkeypatch.syspath_prepend(tmp_path / "installed")
    with pytest.raises(MethodError, match=r"tanzaku-one 1\.0 and the package tanzaku-two 1\.0 both .*'last-biases'"):
        list(MethodRegistry([Full]))


def test_a_package_can_not_take_the_name_of_a_method_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "installed", name="full", package="tanzaku-other")
    monkeypatch.syspath_prepend(tmp_path / "installed")
    with pytest.raises(MethodError, match=r"the package tanzaku-other 1\.0 brings a method called 'full'"):
        list(MethodRegistry([Full]))


class _Other(Full):
    """Another method."""


def test_a_registered_method_must_be_complete_and_have_a_name_of_its_own() -> None:
    registry = MethodRegistry([Full])
    with pytest.raises(MethodError, match=r"_Other: there is a method called 'full' already, tanzaku\.methods\.full"):
        registry.register(_Other)

    class Nameless(EncoderMethod):
        """It has none of what a method needs."""

    with pytest.raises(MethodError, match=r"Nameless lacks the class attribute name"):
        registry.register(Nameless)

    class Abstract(EncoderMethod):
        """It has the attributes of a method, and nothing else."""

        name: ClassVar[str] = "abstract"
        title: ClassVar[Title] = Title("Abstract")
        paper: ClassVar[str] = ""

    with pytest.raises(MethodError, match=r"does not implement attach, load, merge, save, trainable_parameters"):
        registry.register(Abstract)

    class InScript(Full):
        """As if a script had defined it."""

        name: ClassVar[str] = "in-script"
        __module__ = "__main__"

    with pytest.raises(MethodError, match=r"is defined in a script, .*; define it in a module"):
        registry.register(InScript)
    assert list(registry)[:1] == ["full"]
