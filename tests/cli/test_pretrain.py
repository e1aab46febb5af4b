import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tanzaku.cli import app
from tanzaku.errors import TanzakuError
from tests.tiny import VOCABULARY

_TANZAKU = [sys.executable, "-c", "from tanzaku.cli import main; main()"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    words = VOCABULARY[5:]
    lines = ["".join(words[(place * step) % len(words)] for place in range(1, 25)) for step in range(1, 150)]
    path = tmp_path / "tiny.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_tiny_encoder_goes_on_from_the_command_line(text: Path, tiny_masked_encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "encoder"
    command = ["pretrain", str(text), "--out", str(out), "--from", str(tiny_masked_encoder), "--documents", "line"]
    command += ["--max-tokens", "16", "--batch-tokens", "128", "--steps", "12", "--evaluations", "2"]
    done = subprocess.run([*_TANZAKU, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}\n"
    assert "step 12, " in done.stderr
    assert "held-out loss" in done.stderr
    assert (out / "record.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "1", "--shape", "large"], "the shape 'large' is not understood"),
        ([], "either as steps, as minutes or as epochs"),
        (["--steps", "1", "--from", "x", "--no-tie"], "tie is fixed by the encoder"),
    ],
)
def test_bad_options(text: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["pretrain", str(text), "--out", str(tmp_path / "out"), *arguments])
    assert isinstance(result.exception, TanzakuError)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_help_does_not_import_pytorch() -> None:
    script = "import sys; from tanzaku.cli import app; assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
    started = time.perf_counter()
    result = CliRunner().invoke(app, ["pretrain", "--help"])
    assert time.perf_counter() - started < 5
    assert "Ctrl-C" not in result.output
    assert "--masking-rate" in result.output
