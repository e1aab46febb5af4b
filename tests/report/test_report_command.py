"""`tanzaku study report` as a command."""

import io
import re
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from tanzaku.analysis.arms import sections_of
from tanzaku.cli.options import with_options
from tanzaku.cli.report import _print_recommendation, _print_tables, report
from tanzaku.cli.study import app as study_app
from tanzaku.cli.tables import print_table
from tanzaku.data.loading import load_dataset
from tanzaku.errors import TanzakuWarning
from tanzaku.report.render import Column, Table
from tanzaku.report.tables import results_table
from tanzaku.report.write import Report
from tanzaku.ship.choosing import choose_run
from tanzaku.study.listing import ListedRun, StudyList, write_list
from tanzaku.study.record import RunRecord
from tanzaku.words import words_of
from tests.report.page.trees import Tree
from tests.report.records import (
    baseline,
    data_facts,
    evidence,
    finished,
    lora,
    scores,
    study,
    training,
    write_all,
)

pytestmark = pytest.mark.usefixtures("no_figures")
app = typer.Typer()
app.command()(with_options(report))


def test_the_table_goes_to_standard_output_and_the_path_of_the_page_to_standard_error(tmp_path: Path) -> None:
    runs = write_all(study(), tmp_path / "my [runs]")
    result = CliRunner().invoke(app, [str(runs)])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("| Method ")
    assert len(lines) == 2 + 17
    told = result.stderr.splitlines()
    assert told[0].startswith("Take TF-IDF + SVM.")
    assert told[1].startswith("Of the arms that adapt the encoder, take Full fine-tuning")
    assert "Next:" not in result.stderr  # these records lie there without their models
    assert told[2].startswith("The models are not stored with these records")
    assert told[3:] == [f"Tables and figures: {runs / 'report'}", f"Report: {runs / 'report' / 'report.html'}"]
    (runs / "run-00" / "model").mkdir()
    told = CliRunner().invoke(app, [str(runs)]).stderr.splitlines()
    assert told[2].startswith(f"Next: tanzaku pack '{runs / 'run-00'}' --out")
    again = CliRunner().invoke(app, [str(runs), "--out", str(tmp_path / "elsewhere")])
    assert again.stdout == result.stdout
    assert (tmp_path / "elsewhere" / "tables.tex").is_file()


def test_the_margin_is_in_points_and_moves_the_recommendation(tmp_path: Path) -> None:
    records = [finished(lora(rank), accuracy=accuracy) for rank, accuracy in ((2, 0.89), (64, 0.90))]
    (found,) = evidence(records)
    assert found.recommendation is not None
    assert found.recommendation.arm.rank == 64
    runs = write_all(records, tmp_path / "runs")
    result = CliRunner().invoke(app, [str(runs), "--margin", "2", "--language", "ja"])
    assert result.stderr.startswith("LoRA r=2")
    assert "を使うとよいでしょう。" in result.stderr
    assert result.stdout.startswith("| 手法 ")
    page = (runs / "report" / "report.html").read_text(encoding="utf-8")
    assert '<html lang="ja">' in page
    assert "--margin 2 --choose-by accuracy --language ja" in Tree(page).words
    assert CliRunner().invoke(app, [str(runs), "--margin", "-1"]).exit_code == 2


def test_the_terminal_says_whether_the_verdict_covers_seeds(tmp_path: Path) -> None:
    arms = ((2, 0.9), (64, 0.901))
    records = [finished(lora(rank), accuracy=accuracy, seed=seed) for rank, accuracy in arms for seed in (1, 2)]
    several = CliRunner().invoke(app, [str(write_all(records, tmp_path / "several")), "--margin", "5"])
    single = CliRunner().invoke(app, [str(write_all(records[::2], tmp_path / "single")), "--margin", "5"])
    assert "The test set confirms it" in several.stderr
    assert "other seeds are not covered" not in several.stderr
    assert "The test set confirms it" in single.stderr
    assert "This holds for these trained models; other seeds are not covered." in single.stderr


def test_the_sample_corpus_may_be_the_data(tmp_path: Path) -> None:
    dataset = load_dataset("sample")
    facts = data_facts(dataset.label_names, fingerprint=dataset.fingerprint, name="sample")
    documents = len(dataset.test)
    facts = facts.model_copy(update={"test_documents": documents})
    test = scores(0.8, documents=documents, label_names=dataset.label_names)
    runs = write_all([finished(lora(8), accuracy=0.8, data=facts, test=test)], tmp_path / "runs")
    result = CliRunner().invoke(app, [str(runs), "--data", "sample"])
    assert result.exit_code == 0, result.output
    page = (runs / "report" / "report.html").read_text(encoding="utf-8")
    assert 'class="excerpt"' in page


@pytest.mark.parametrize("command", ["run", "status", "report", "tune"])
def test_every_command_of_studies_shows_itself(command: str) -> None:
    result = CliRunner().invoke(study_app, [command, "--help"], env={"COLUMNS": "120", "TERM": "dumb"})
    assert "Examples:" in result.stdout
    assert result.stdout.count(f"tanzaku study {command} ") >= 2


def test_sections_are_told_apart_on_standard_output(tmp_path: Path) -> None:
    other = finished(lora(8), accuracy=0.8, data=data_facts(("a", "b"), fingerprint="f" * 64))
    result = CliRunner().invoke(app, [str(write_all([finished(lora(8), accuracy=0.9), other], tmp_path))])
    assert [line for line in result.stdout.splitlines() if line.startswith("#")] == [
        "## Group 1: livedoor, small-encoder",
        "## Group 2: livedoor, small-encoder",
    ]
    lines = result.stderr.splitlines()
    assert [lines.index(f"Group {number}: livedoor, small-encoder") for number in (1, 2)] == [0, 2]
    assert lines[1].startswith("Take LoRA.")
    assert lines[3].startswith("Take LoRA.")


def _on_a_terminal(records: list[RunRecord], *, width: int) -> tuple[str, list[str]]:
    """What a terminal shows, and the headings of the columns that it leaves out."""
    written = Report(
        records=tuple(records),
        sections=tuple(sections_of(records)),
        evidence=tuple(evidence(records)),
        recommended_run=None,
        paths=(),
    )
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    _print_tables(written, console, words_of("en"))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    named = re.search(r"In report\.html, and in a wider window: (.*?)\.\s", shown, flags=re.DOTALL)
    return shown, " ".join(named[1].split()).split(", ") if named else []


def test_a_name_without_blanks_goes_on_in_the_next_line() -> None:
    name = "フルファインチューニングと同じくらいに長い手法の名前"
    others = tuple(Column(f"結果{number}", numeric=True, place=number) for number in range(1, 5))
    table = Table("表", (Column("手法"), *others), ((name, *(4 * ("123.45–678.90",))),))
    console = Console(file=io.StringIO(), width=80)
    print_table(table, console, words_of("ja"))
    assert isinstance(console.file, io.StringIO)
    assert name in "".join(re.findall(r"^  (\S+)", console.file.getvalue(), flags=re.MULTILINE))


@pytest.mark.parametrize("width", [80, 130, 400])
def test_a_terminal_gets_one_table_that_fits_the_most_important_columns_first(width: int) -> None:
    records = study()
    shown, missing = _on_a_terminal(records, width=width)
    assert shown.count("TF-IDF + SVM") == 1
    (section,), (found,) = sections_of(records), evidence(records)
    table = results_table(section, found, words=words_of("en"))
    assert set(missing) < {column.heading for column in table.columns}
    assert bool(missing) == (width < 400)
    # The rate distinguishes the LoRAs here, so it stays as long as the results.
    kept = {"Method", "Learning rate", "Test accuracy (%)", "95 % interval (%)", "Saved (MB)", "Macro-F1 (%)"}
    assert not kept & set(missing)
    for index, column in enumerate(table.columns):
        assert column.heading in missing or all(row[index] in shown for row in table.rows)
    assert "…" not in shown
    assert "17 runs" in shown
    assert max(map(len, shown.splitlines())) <= width


def test_settings_that_do_not_identify_an_arm_leave_a_narrow_terminal_before_results() -> None:
    settings = training(5e-4, epochs=3)
    records: list[RunRecord] = [
        baseline(),
        finished({"name": "full"}, accuracy=0.9, training=settings, learning_rate=5e-4),
        *(finished(lora(rank), accuracy=0.8, training=training(1e-4), learning_rate=1e-4) for rank in (2, 8)),
    ]
    shown, missing = _on_a_terminal(records, width=80)
    results = {"Test accuracy (%)", "95 % interval (%)", "Saved (MB)", "Macro-F1 (%)", "Training (s)"}
    assert {"Learning rate", "Epochs"} <= set(missing)
    assert not results & set(missing)
    assert "LoRA r=8" in shown


def test_long_names_of_methods_take_two_lines_so_that_the_results_stay() -> None:
    options = {"initialization": "pissa", "variant": "rslora", "targets": ["query", "value", "attention.output.dense"]}
    records: list[RunRecord] = [finished(lora(rank, **options), accuracy=0.8) for rank in (2, 8)]
    records.append(finished(lora(8), accuracy=0.9))
    shown, missing = _on_a_terminal(records, width=80)
    assert max(len(str(arm.full_name())) for section in sections_of(records) for arm in section.arms) > 45
    assert not {"Test accuracy (%)", "95 % interval (%)", "Saved (MB)"} & set(missing)
    assert max(map(len, shown.splitlines())) <= 80


def test_people_get_the_recommendation_wrapped_and_programs_in_one_line() -> None:
    (found,) = evidence(study())
    written = Report(
        records=(), sections=(), evidence=(found,), recommended_run=None, paths=(Path("a" * 90) / "report.html",)
    )
    for is_terminal, longest in ((True, 80), (False, 10_000)):
        console = Console(file=io.StringIO(), force_terminal=is_terminal, width=80, color_system=None)
        _print_recommendation(written, console, words_of("en"))
        assert isinstance(console.file, io.StringIO)
        *lines, folder, page = console.file.getvalue().splitlines()
        assert max(map(len, lines)) <= longest
        assert (len(lines) == 2) == (not is_terminal)
        assert folder.endswith(f": {'a' * 90}")  # whole, to be copied
        assert page.endswith("a/report.html")


def test_missing_runs_of_a_study_are_named(tmp_path: Path) -> None:
    records: list[RunRecord] = [finished(lora(rank), accuracy=0.8) for rank in (2, 8)]
    runs = write_all(records, tmp_path / "runs")
    names = [*(path.parent.name for path in runs.glob("*/record.json")), "lora-r32", "lora-r64"]
    listed = tuple(ListedRun(name=name, kind="encoder", method="lora") for name in names)
    complete = StudyList(study="synthetic", overrides=(), file={"name": "synthetic"}, runs=listed[:2])
    write_list(runs, complete.model_copy(update={"runs": listed}))
    said = "2 of 4 runs are missing, because they have not ended; the recommendation may change."
    result = CliRunner().invoke(app, [str(runs)])
    assert f"warning: {said}" in result.stderr
    for name in ("report.html", "report.md"):
        assert said in (runs / "report" / name).read_text(encoding="utf-8")
    with pytest.warns(TanzakuWarning, match=r"2 of 4 runs in .* have not ended"):
        choose_run(runs)
    write_list(runs, complete)
    assert "are missing" not in CliRunner().invoke(app, [str(runs)]).stderr
    choose_run(runs)  # a warning would be an error
