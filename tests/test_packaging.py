"""What pyproject.toml promises: dependencies that are imported, extras that say what is missing, one version."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

import tanzaku
from tanzaku.cli import app
from tanzaku.errors import TanzakuError
from tanzaku.extras import describe_missing
from tests.report.records import study, write_all

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]

# Where the name that is imported is not the one that is installed.
DISTRIBUTIONS = {"sklearn": "scikit-learn", "tomli_w": "tomli-w", "mlflow": "mlflow-skinny"}
# Imported by transformers for the tokenizers of Japanese encoders, and by nothing of ours.
FOR_TRANSFORMERS = {"sentencepiece", "protobuf", "unidic-lite"}
# Imported by PyTorch's exporter.
FOR_EXPORTERS = {"onnxscript"}
# Optuna's own dependency, for the address of its file.
WITH_OPTUNA = {"sqlalchemy"}


def _names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def _imported() -> set[str]:
    modules: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.partition(".")[0])
    others = modules - set(sys.stdlib_module_names) - {"tanzaku"}
    return {canonicalize_name(DISTRIBUTIONS.get(name, name)) for name in others}


def test_what_is_imported_is_a_dependency_or_of_an_extra_and_nothing_else_is() -> None:
    core = _names(PROJECT["dependencies"])
    extras = {name: _names(texts) - {"tanzaku"} for name, texts in EXTRAS.items() if name not in ("dev", "docs")}
    assert core.union(*extras.values()) == (_imported() | FOR_TRANSFORMERS | FOR_EXPORTERS) - WITH_OPTUNA
    assert all(core & packages == set() for packages in extras.values())
    assert extras["train"].isdisjoint(extras["report"] | extras["tune"] | extras["onnx"] | extras["openvino"])


def test_every_package_has_a_pinned_version() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}
    asked = _names([*PROJECT["dependencies"], *(text for texts in EXTRAS.values() for text in texts)])
    assert asked - {"tanzaku"} <= pinned


def test_a_command_that_trains_says_what_the_runtime_lacks() -> None:
    error = ModuleNotFoundError("No module named 'sklearn'", name="sklearn.svm")
    assert describe_missing(error) == (
        "this needs scikit-learn, which is not installed: only the runtime for exported bundles is; "
        "install all of Tanzaku with: pip install 'tanzaku[train]'"
    )
    assert describe_missing(ModuleNotFoundError("No module named 'ours'", name="ours")) is None


def test_the_version_has_one_source() -> None:
    assert "version" in PROJECT["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", tanzaku.__version__)


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_without_the_extra_a_report_says_how_to_install_it(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = write_all(study(), tmp_path)
    monkeypatch.setitem(sys.modules, missing, None)
    shown = CliRunner().invoke(app, ["study", "report", str(runs)])
    assert isinstance(shown.exception, TanzakuError)
    assert str(shown.exception) == (
        f"the report needs {missing}, which is not installed; install it with: pip install jinja2 matplotlib "
        "(the extra 'report')"
    )
    assert not (runs / "report").exists()


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == tanzaku.__version__
    assert citation["repository-code"] == PROJECT["urls"]["Repository"]


def test_the_workflow_calls_targets_that_the_makefile_has() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    workflow = ROOT / ".github" / "workflows" / "ci.yml"
    if not workflow.is_file():
        pytest.skip("a source distribution has no workflows")
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    lines = "\n".join(step["run"] for job in jobs.values() for step in job["steps"] if "run" in step)
    called = set(re.findall(r"\bmake ([a-z]+)", lines))
    assert called == {"lint", "test", "coverage", "package", "docs"}
    assert called <= targets
    supported = {text.rpartition(" ")[2] for text in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", text)}
    assert set(jobs["test"]["strategy"]["matrix"]["python"]) == supported
