"""`tanzaku trim`."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tanzaku.cli import app
from tanzaku.encoders.trimming.record import RECORD_FILE, TrimmingRecord
from tests.checkpoints import make_roberta, sentences


def test_it_prints_a_table_and_the_path(tmp_path: Path) -> None:
    encoder = make_roberta(tmp_path / "encoder")
    texts = tmp_path / "texts"
    texts.mkdir()
    for half in (0, 1):
        (texts / f"{half}.txt").write_text("\n".join(sentences()[half::2]) + "\n", encoding="utf-8")
    out = tmp_path / "out"
    result = CliRunner().invoke(
        app, ["trim", str(encoder), "--texts", str(texts), "--out", str(out), "--held-out", "0.2"]
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}\n"
    record = TrimmingRecord.model_validate_json((out / RECORD_FILE).read_text(encoding="utf-8"))
    assert [text.name for text in record.texts] == ["0.txt", "1.txt"]
    assert record.held_out is not None
    assert record.lines + record.held_out.lines == len(sentences())
    pieces = next(line for line in result.stderr.splitlines() if " pieces " in line)
    assert [cell.strip() for cell in pieces.split("│")[2:4]] == [
        f"{record.before.pieces:,}",
        f"{record.after.pieces:,}",
    ]
    assert f"of the tokens of {record.held_out.lines:,} held-out lines are kept pieces" in result.stderr


@pytest.mark.parametrize(
    ("share", "reason"),
    [("0.05", "none of the held-out lines (1) has only kept pieces"), ("0", "no line was held out")],
)
def test_it_warns_where_nothing_could_be_compared(tmp_path: Path, share: str, reason: str) -> None:
    encoder = make_roberta(tmp_path / "encoder")
    (tmp_path / "texts.txt").write_text("\n".join(sentences()[:5]) + "\n", encoding="utf-8")
    command = ["trim", str(encoder), "--texts", str(tmp_path / "texts.txt"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*command, "--held-out", share, "--characters", "seen"])
    assert result.exit_code == 0, result.output
    assert f"warning: tokens and hidden states were not compared with the original's, because {reason}" in result.stderr


def test_help_has_examples_and_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom typer.testing import CliRunner\nfrom tanzaku.cli import app\n"
        "print(CliRunner().invoke(app, ['trim', '--help']).output)\n"
        "assert not {'torch', 'transformers', 'numpy', 'pyarrow'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "tanzaku trim " in done.stdout
