"""The whole report, in files."""

import csv
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tanzaku.errors import RecordError, TanzakuError
from tanzaku.files import write_atomically
from tanzaku.report.write import write_report
from tests.report.records import baseline, data_facts, failed, finished, lora, study, write_all

FIGURES = ("arms", "accuracy", "time", "size", "pareto", "loss", "calibration", "confusion")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_everything_is_written_and_valid(tmp_path: Path) -> None:
    runs = write_all(study(), tmp_path / "runs")
    report = write_report(runs, tmp_path / "report")
    figures = {f"figures/{name}.{suffix}" for name in FIGURES for suffix in ("svg", "png", "pdf")}
    written = {path.relative_to(tmp_path / "report").as_posix() for path in report.paths}
    assert written == {"report.html", "report.md", "tables.tex", "arms.csv", "runs.csv", "comparisons.csv", *figures}
    assert {path for path in (tmp_path / "report").rglob("*") if path.is_file()} == set(report.paths)
    for path in report.paths:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        if path.suffix == ".pdf":
            assert path.read_bytes().startswith(b"%PDF")
            assert b"/Type3" not in path.read_bytes()  # which journals refuse
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert all(f"](figures/{name}.svg)" in text for name in FIGURES)


def test_equal_records_give_equal_bytes(tmp_path: Path) -> None:
    runs = write_all([baseline(), *(finished(lora(rank), accuracy=0.9) for rank in (2, 8))], tmp_path / "runs")
    first, second = write_report(runs, tmp_path / "one"), write_report(runs, tmp_path / "two")
    assert [path.name for path in first.paths] == [path.name for path in second.paths]
    for one, two in zip(first.paths, second.paths, strict=True):
        assert one.read_bytes() == two.read_bytes(), one.name


@pytest.mark.usefixtures("no_figures")
def test_csvs_are_raw_and_complete(tmp_path: Path) -> None:
    tfidf, adapted = baseline(), finished(lora(8), accuracy=0.9)
    broken = failed(lora(4), error='a "quoted"\n error, long', seed=3)
    write_report(write_all([tfidf, adapted, broken], tmp_path / "runs"), tmp_path / "report")
    runs = rows_of(tmp_path / "report" / "runs.csv")
    assert [row["status"] for row in runs] == ["finished", "failed", "finished"]
    assert runs[1]["error"] == 'a "quoted"\n error, long'
    assert float(runs[2]["test_accuracy"]) == adapted.test.accuracy
    assert runs[2]["method.targets"] == '["query", "value"]'
    arms = rows_of(tmp_path / "report" / "arms.csv")
    assert [row["arm"] for row in arms] == [
        "TF-IDF + SVM",
        "LoRA r=4",
        "LoRA r=8",
    ]
    assert arms[2]["thesis_table"] == "3.2"
    assert float(arms[2]["thesis_test_accuracy"]) == pytest.approx(0.9322)
    assert [row["best"] for row in arms] == [row["recommended"] for row in arms] == ["True", "False", "False"]
    compared, turned_round = rows_of(tmp_path / "report" / "comparisons.csv")
    assert (compared["arm"], compared["reference"]) == ("LoRA r=8", "TF-IDF + SVM")
    difference = adapted.test.accuracy - tfidf.test.accuracy
    assert float(compared["test_accuracy_difference"]) == pytest.approx(difference)
    low, high = (float(compared[f"test_accuracy_difference_{end}"]) for end in ("low", "high"))
    assert low < difference < high
    assert float(turned_round["test_accuracy_difference"]) == pytest.approx(-difference)
    assert (arms[1]["runs_finished"], arms[1]["runs_failed"], arms[1]["test_accuracy_mean"]) == ("0", "1", "")


def test_a_second_section_has_files_of_its_own_and_old_figures_go(tmp_path: Path) -> None:
    other = finished(lora(8), accuracy=0.8, data=data_facts(("a", "b"), fingerprint="f" * 64))
    out = tmp_path / "report"
    write_report(write_all([finished(lora(8), accuracy=0.9)], tmp_path / "one"), out)
    for name in ("mine.png", "calibration.png"):
        (out / "figures" / name).write_bytes(b"")
    assert (out / "figures" / "confusion.png").exists()
    write_report(write_all([finished(lora(8), accuracy=0.9), other], tmp_path / "two"), out)
    names = {path.name for path in (out / "figures").iterdir()}
    assert {name for name in names if not name.startswith("section-")} == {"mine.png"}
    assert {"section-1-confusion.png", "section-2-confusion.svg", "mine.png"} <= names


def test_only_an_earlier_report_is_replaced(tmp_path: Path) -> None:
    runs = write_all([finished(lora(8), accuracy=0.9)], tmp_path / "runs")
    (paper := tmp_path / "paper" / "figures").mkdir(parents=True)
    (paper / "time.png").write_text("mine", encoding="utf-8")
    with pytest.raises(TanzakuError, match="contains files but no earlier report"):
        write_report(runs, paper.parent)
    assert [path.name for path in paper.parent.rglob("*")] == ["figures", "time.png"]
    write_report(runs, tmp_path / "report")
    write_report(runs, tmp_path / "report")


def test_a_report_that_was_interrupted_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = write_all([finished(lora(8), accuracy=0.9)], tmp_path / "runs")
    written: list[Path] = []

    def write(path: Path, content: str | bytes) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        write_atomically(path, content)

    with monkeypatch.context() as patched:
        patched.setattr("tanzaku.report.write.write_atomically", write)
        with pytest.raises(KeyboardInterrupt):
            write_report(runs, tmp_path / "report")
    assert len(written) == 1
    assert all(path.is_file() for path in write_report(runs, tmp_path / "report").paths)


def test_only_failed_runs_still_make_a_report(tmp_path: Path) -> None:
    report = write_report(write_all([failed(lora(8), error="boom")], tmp_path / "runs"), tmp_path / "report")
    assert [path.name for path in report.paths] == [
        "report.html",
        "report.md",
        "tables.tex",
        "arms.csv",
        "runs.csv",
        "comparisons.csv",
    ]
    assert "boom" in report.paths[1].read_text(encoding="utf-8")


def test_without_records_the_error_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="tanzaku study run"):
        write_report(tmp_path, tmp_path / "report")
