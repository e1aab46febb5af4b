"""What pyproject.toml promises: dependencies that are imported, extras that say what is missing, one version."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer import Context
from typer.main import get_command
from typer.testing import CliRunner

import tanzaku
from tanzaku.cli import app
from tanzaku.cli.serve import PORT_VARIABLE
from tanzaku.errors import TanzakuError
from tanzaku.extras import _PACKAGES, describe_missing, require_extra
from tests.dockerfile import DOCKERFILE, command_of, read_steps
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
# Jinja's own dependency, for what is escaped already.
WITH_JINJA = {"markupsafe"}
# What openpyxl reads XML with.
FOR_OPENPYXL = {"defusedxml"}
# Files of ours, which mini/ packs.
INCLUDED = {"tanzaku-mini"}

# 200 MB with Python's compiled modules, which pip adds and which this does not count: they are a fifth more.
LARGEST_RUNTIME = 170_000_000


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
    assert (
        core.union(*extras.values())
        == (_imported() | FOR_TRANSFORMERS | FOR_EXPORTERS | FOR_OPENPYXL | INCLUDED) - WITH_OPTUNA - WITH_JINJA
    )
    assert all(core & packages == set() for packages in extras.values())
    assert extras["train"].isdisjoint(extras["report"] | extras["tune"] | extras["onnx"] | extras["openvino"])


@pytest.mark.parametrize("readme", ["README.md", "README.ja.md"])
def test_the_readmes_say_what_every_extra_is_for(readme: str) -> None:
    rows = [line for line in (ROOT / readme).read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row.split("|")[1])}
    assert set(EXTRAS) - {"dev", "docs"} <= named


def test_pages_install_tanzaku_from_the_folder_since_it_is_not_on_pypi() -> None:
    pages = [ROOT / "README.md", ROOT / "README.ja.md", *(ROOT / "docs").glob("*.md")]
    assert not [page.name for page in pages if re.search(r"pip install '?tanzaku", page.read_text(encoding="utf-8"))]


def test_every_package_has_a_pinned_version() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}
    asked = _names([*PROJECT["dependencies"], *(text for texts in EXTRAS.values() for text in texts)])
    assert asked - {"tanzaku"} - INCLUDED <= pinned


def test_a_command_that_trains_says_what_the_runtime_lacks() -> None:
    error = ModuleNotFoundError("No module named 'sklearn'", name="sklearn.svm")
    assert describe_missing(error) == (
        "this needs scikit-learn, which is not installed: only the runtime for exported bundles is; "
        "install all of Tanzaku in its cloned folder with: pip install '.[train]' ./mini"
    )
    assert describe_missing(ModuleNotFoundError("No module named 'ours'", name="ours")) is None
    alone = describe_missing(ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow.parquet"))
    assert alone == "this needs pyarrow, which is not installed; install it with: pip install pyarrow"


def test_the_code_names_the_packages_of_each_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without defusedxml, openpyxl expands entities, which a few kilobytes of a spreadsheet can make gigabytes."""
    monkeypatch.setitem(sys.modules, "defusedxml", None)
    with pytest.raises(TanzakuError, match=r"needs defusedxml.*pip install openpyxl defusedxml \(the extra 'xlsx'\)"):
        require_extra("xlsx", purpose="this")
    for extra, packages in _PACKAGES.items():
        assert {canonicalize_name(name) for name in packages.values()} <= _names(EXTRAS[extra]), extra


def test_classifying_imports_only_what_the_runtime_has() -> None:
    """Whatever a command of `classify` and `inspect` imports at the top of its modules."""
    code = (
        "import sys\nimport tanzaku.cli.classify, tanzaku.cli.partial, tanzaku.cli.inspect, tanzaku.ship.classifier\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split()) - set(sys.stdlib_module_names)
    owners = {canonicalize_name(one) for name in modules for one in packages_distributions().get(name, [])}
    assert "filelock" in owners
    assert owners - set(_needed_by("tanzaku", frozenset({"runtime"}), {})) <= {
        "setuptools",
        "coverage",
    }  # of `make coverage`


def test_packages_do_not_report_their_use_unless_that_is_wished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    monkeypatch.setenv("NNCF_CI", "")
    monkeypatch.delenv("NNCF_CI")
    require_extra("runtime", purpose="this")
    assert (os.environ["ORT_DISABLE_TELEMETRY"], os.environ["NNCF_CI"]) == ("0", "1")
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    require_extra("runtime", purpose="this")
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


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


def _needed_by(name: str, extras: frozenset[str], seen: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """The distributions, with the extras asked for, that pip installs for one, itself included."""
    name = canonicalize_name(name)
    if extras <= seen.get(name, frozenset()) and name in seen:
        return seen
    seen[name] = seen.get(name, frozenset()) | extras
    requirements = [*PROJECT["dependencies"], *(text for extra in extras for text in EXTRAS[extra])]
    if name != "tanzaku":
        requirements = requires(name) or []
    for one in map(Requirement, requirements):
        environments = [{"extra": extra} for extra in (*extras, "")]
        if one.marker is None or any(map(one.marker.evaluate, environments)):
            _needed_by(one.name, frozenset(one.extras), seen)
    return seen


def _bytes_of(name: str) -> int:
    """Those that pip writes; Python's compiled modules are not counted."""
    if name == "tanzaku":
        folder = Path(tanzaku.__file__).parent
        files = [
            path for path in folder.rglob("*") if path.is_file() and folder / "encoders" / "mini" not in path.parents
        ]
    else:
        files = [Path(str(path.locate())) for path in distribution(name).files or []]
    return sum(path.stat().st_size for path in files if path.suffix != ".pyc" and path.is_file())


def test_the_runtime_is_small() -> None:
    """`python -m benchmarks.runtime` installs it; here, what it installs is looked up in this environment."""
    found = set(_needed_by("tanzaku", frozenset({"runtime"}), {}))
    heavy = {"torch", "transformers", "tokenizers", "huggingface-hub", "scikit-learn", "scipy", "pyarrow"}
    assert "onnxruntime" in found
    assert found.isdisjoint(heavy)
    sizes = {name: _bytes_of(name) for name in found}
    assert sum(sizes.values()) < LARGEST_RUNTIME, sorted(sizes.items(), key=lambda item: -item[1])


def test_the_dockerfile_names_what_exists() -> None:
    """There is no Docker in CI. tests/serving/test_serve.py runs the image's command and its health check."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    steps = [line.split() for line in read_steps()]
    copied = [name for step in steps if step[0] == "COPY" and "--from" not in step[1] for name in step[1:-1]]
    assert {"pyproject.toml", "constraints.txt", "src"} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)
    named = re.findall(r"EXTRAS=([\w,-]+)", text)
    assert named
    assert {extra for names in named for extra in names.split(",")} <= set(EXTRAS)
    stages = [step[3] if len(step) == 4 else "" for step in steps if step[0] == "FROM"]
    assert stages == ["build", "base", "serve", ""]
    users = [step[1] for step in steps if step[0] == "USER"]
    assert users == ["65534:65534"]  # in the stage that both images have
    settings = dict(name.split("=") for step in steps if step[0] == "ENV" for name in step[1:])
    assert int(settings[PORT_VARIABLE]) == _option_of_serve("--port").default
    assert [step[1] for step in steps if step[0] == "EXPOSE"] == [f"${PORT_VARIABLE}"]
    command = command_of("CMD", stage="serve")
    assert command[:2] == ["serve", "/bundle"]
    assert all(_option_of_serve(option) for option in command[2::2])
    assert command_of("ENTRYPOINT", stage="base") == list(PROJECT["scripts"])


def _option_of_serve(flag: str) -> Any:
    command = get_command(app).commands["serve"]  # type: ignore[attr-defined]
    (option,) = (one for one in command.get_params(Context(command)) if flag in one.opts)
    return option
