"""`tanzaku compress`, and what its page tells to type."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tanzaku.cli import app
from tanzaku.data.prepared import Preparation, write_prepared
from tanzaku.ship.bundle import open_bundle
from tests.kinds import encoder_facts
from tests.ship.conftest import Study, study

__all__ = ["study"]  # the fixture


def test_it_prints_a_table_and_the_path(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "small"
    result = CliRunner().invoke(app, ["compress", str(study.bundles["lora"]), "--rank", "2", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}\n"
    before, after = (line for line in result.stderr.splitlines() if re.search(r"│ (before|after)", line))
    assert " 8 " in before
    assert " 2 " in after
    assert "not measured" in after


def test_a_bundle_that_takes_its_own_place_is_told_with_both_sizes(study: Study, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(study.bundles["lora"], bundle)
    result = CliRunner().invoke(app, ["compress", str(bundle), "--rank", "1", "--out", str(bundle), "--force"])
    assert result.exit_code == 0, result.output
    sizes = [float(line.split("│")[3]) for line in result.stderr.splitlines() if re.search(r"│ (before|after)", line)]
    assert sizes[0] > sizes[1]


def test_help_has_examples_and_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom typer.testing import CliRunner\nfrom tanzaku.cli import app\n"
        "print(CliRunner().invoke(app, ['compress', '--help']).output)\n"
        "assert not {'torch', 'transformers', 'numpy', 'pyarrow'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "tanzaku compress " in done.stdout


def test_what_the_documentation_tells_to_type_works(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "compress.md").read_text(encoding="utf-8")
    commands = [
        line for block in re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL) for line in block.splitlines()
    ]
    assert len(commands) == 2
    (tmp_path / "my-bundle").symlink_to(study.bundles["lora"])
    write_prepared(Preparation(study.dataset, source={}, options={}), tmp_path / "data" / "mine")
    monkeypatch.chdir(tmp_path)
    for command in commands:
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0, (done.stderr, done.exception)
        facts = encoder_facts(open_bundle(done.stdout.strip())).compressed
        assert facts is not None
        assert (facts.val is not None) == ("--data" in command)
