"""The public interface: what `tanzaku` exports, what importing it costs, and the examples of its page."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import tanzaku
from tanzaku.methods import METHODS
from tanzaku.study.runs import read_records
from tests.report.records import failed, finished

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "python.md"
HEAVY = {"torch", "transformers", "peft", "sklearn", "scipy", "pyarrow", "matplotlib", "jinja2", "optuna", "pandas"}


def _python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"},
        check=False,
    )


def test_every_exported_name_is_there_and_listed() -> None:
    assert dir(tanzaku) == sorted(tanzaku.__all__)
    for name in tanzaku.__all__:
        assert getattr(tanzaku, name) is not None
    assert tanzaku.METHODS is METHODS
    with pytest.raises(AttributeError, match="no attribute 'Clasifier'"):
        tanzaku.Clasifier  # type: ignore[attr-defined]  # noqa: B018


def test_what_is_exported_for_type_checkers_is_what_is_imported() -> None:
    source = (ROOT / "src" / "tanzaku" / "__init__.py").read_text(encoding="utf-8")
    block = source.partition("if TYPE_CHECKING:\n")[2].partition("\n__all__")[0]
    typed: dict[str, str] = {}
    for module, names in re.findall(r"from (\S+) import (\([^)]*\)|.+)", block):
        typed |= {name.strip(): module for name in names.strip("()\n").split(",") if name.strip()}
    assert sorted([*typed, "__version__"]) == sorted(tanzaku.__all__)
    for name, module in typed.items():
        assert getattr(sys.modules[module], name) is getattr(tanzaku, name)


@pytest.mark.parametrize("name", ["Classifier", "run_study", "pack", "write_report", "METHODS"])
def test_a_name_is_imported_without_anything_heavy(name: str, tmp_path: Path) -> None:
    script = (
        "import sys\nimport tanzaku\n"
        "assert not [name for name in sys.modules if name.startswith('tanzaku.')]\n"
        f"tanzaku.{name}\nprint(*sys.modules)"
    )
    finished = _python("-c", script, folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert HEAVY & set(finished.stdout.split()) == set()


def _examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_examples_of_the_page_run_as_a_script(tmp_path: Path) -> None:
    (tmp_path / "studies").symlink_to(ROOT / "studies")
    blocks = _examples()
    assert len(blocks) == 10
    # As a reader copies them: without `if __name__ == "__main__":`, which no run's process may need.
    (tmp_path / "examples.py").write_text("\n".join(["print('started')", *blocks]), encoding="utf-8")
    finished = _python("examples.py", folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines().count("started") == 1
    assert "did you mean 'penalty'?" in finished.stdout
    assert [record.status for record in read_records(tmp_path / "runs" / "penalties")] == ["finished"] * 2
    assert 'lang="ja"' in (tmp_path / "runs" / "penalties" / "report" / "report.html").read_text(encoding="utf-8")
    for bundle in ("my-bundle", "penalties-bundle"):
        assert (tmp_path / bundle / "manifest.json").is_file()


def test_the_example_of_a_study_can_print_a_run_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = (block for block in _examples() if "for record in tanzaku.run_study" in block)
    records = [failed({"name": "lora", "rank": 2}, error="no memory"), finished({"name": "full"}, accuracy=0.9)]
    exec(example, {"tanzaku": SimpleNamespace(run_study=lambda *_, **__: records)})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [record.run_id for record in records]
    assert "no memory" in lines[0]
