"""The structure of the code: tests beside their packages, small files, and a command line that starts at once.

Which package may import which is checked by `lint-imports`; see [tool.importlinter] in pyproject.toml.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "tanzaku"


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_tests_mirror_the_source() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    missing = [room for room in rooms if not list((Path(__file__).parent / room).glob("test_*.py"))]
    assert missing == []


def test_files_are_small_and_nothing_is_called_utils() -> None:
    for path in _modules():
        assert "util" not in path.stem, path
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, f"{path}: is there a second room in it?"


def test_functions_are_short() -> None:
    """At most 50 lines, from `def` to the end: signature and docstring count, also those of commands."""
    for path in _modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                assert lines <= 50, f"{path}:{node.lineno}: {node.name} has {lines} lines; it does several things"


def test_only_the_command_line_prints() -> None:
    for path in _modules():
        if path.is_relative_to(PACKAGE / "cli"):
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        printed = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
        assert printed == [], f"{path}:{printed}"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["study", "run", "--help"], ["study", "tune", "--help"], ["data", "livedoor", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom tanzaku.cli import main\n"
        f"sys.argv = ['tanzaku', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'peft', 'sklearn', 'pandas', 'matplotlib', 'pyarrow', 'statsmodels'}\n"
        "heavy |= {'optuna', 'sqlalchemy'}\n"
        "sys.exit(f'imported {heavy & set(sys.modules)}' if heavy & set(sys.modules) else 0)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_only_display_makes_consoles() -> None:
    """Its console takes no text for markup; another would drop the [x] of a path or a label, or fail on it."""
    for path in _modules():
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        made = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Console"]
        assert made == [] or path.stem == "display", f"{path}:{made}"
