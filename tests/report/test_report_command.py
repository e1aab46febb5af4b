"""`tanzaku study report` as a command."""

import io
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from tanzaku.cli.report import _print_tables, report
from tanzaku.report.write import write_report
from tests.report.records import data_facts, finished, lora, study, write_all

app = typer.Typer()
app.command()(report)


def test_the_table_goes_to_standard_output_and_the_paths_to_standard_error(tmp_path: Path) -> None:
    runs = write_all(study(), tmp_path / "runs")
    result = CliRunner().invoke(app, [str(runs)])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("| Method ")
    assert len(lines) == 2 + 17
    assert result.stderr.splitlines()[0] == str(runs / "report" / "report.md")
    again = CliRunner().invoke(app, [str(runs), "--out", str(tmp_path / "elsewhere")])
    assert again.stdout == result.stdout
    assert (tmp_path / "elsewhere" / "tables.tex").is_file()


def test_sections_are_told_apart_on_standard_output(tmp_path: Path) -> None:
    other = finished(lora(8), accuracy=0.8, data=data_facts(("a", "b"), fingerprint="f" * 64))
    result = CliRunner().invoke(app, [str(write_all([finished(lora(8), accuracy=0.9), other], tmp_path))])
    assert [line for line in result.stdout.splitlines() if line.startswith("#")] == [
        "## Section 1: livedoor, small-encoder",
        "## Section 2: livedoor, small-encoder",
    ]


@pytest.mark.parametrize(("width", "tables"), [(100, ["accuracy", "cost"]), (400, ["Results"])])
def test_a_terminal_gets_tables_that_fit(tmp_path: Path, width: int, tables: list[str]) -> None:
    written = write_report(write_all(study(), tmp_path / "runs"), tmp_path / "report")
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    _print_tables(written, console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert all(title in shown for title in tables)
    assert "93.35" in shown
    assert "17 runs" in shown
    assert max(map(len, shown.splitlines())) <= width
