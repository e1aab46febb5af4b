"""The benchmarks of `tanzaku fit`: what they measure from outside, and that they resume part by part."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binom

from benchmarks import budgets, fit, fit_page, promises
from benchmarks.budgets import with_fasttext, write_words
from benchmarks.outside import bytes_of
from benchmarks.record import read_alone
from benchmarks.resuming import Parts
from tanzaku.data.dataset import Documents
from tanzaku.errors import RecordError
from tanzaku.fitting.documents import Labelled
from tanzaku.study.process import StudyInterrupted
from tests.tiny import make_documents


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("fit")
    task = fit.inquiries_task(out / "inquiries.csv", rows=80, **fit._TINY)
    found = fit.fitted(task, minutes=1, out=out)
    assert bytes_of(out / "inquiries") == found["bundle"]["outside"]["bytes"]
    return found


def test_a_bundle_is_measured_from_outside(part: dict[str, Any]) -> None:
    outside, stated = part["bundle"]["outside"], part["bundle"]["stated"]
    assert outside["bytes"] == stated["total_bytes"]
    assert outside["accuracy"] == pytest.approx(stated["accuracy"])
    assert outside["milliseconds"] > 0
    assert part["bundle"]["within_budgets"] is (
        outside["bytes"] <= 1e6 and outside["milliseconds"] <= part["budgets"]["max_ms"]
    )
    assert outside["documents"] == 14  # about a fifth, class by class
    assert "correct" not in outside  # a record has no single documents
    assert part["difference"]["mean"] == pytest.approx(outside["accuracy"] - part["best"]["accuracy"])
    assert part["difference"]["low"] <= part["difference"]["mean"] <= part["difference"]["high"]
    assert len(part["candidates"]) == 2
    assert part["documents"] == 80
    # Of the best candidate, after the same training as the recommended one.
    best = next(one for one in part["candidates"] if one["best"])
    if best["recommended"]:
        assert part["best"] == outside
    else:
        assert part["best"]["bytes"] > outside["bytes"]
    assert part["within_margin"] is (outside["accuracy"] >= part["best"]["accuracy"] - fit.MARGIN)
    (row,) = fit.rows({"inquiries": part})[2:]
    assert f"{100 * outside['accuracy']:.2f}" in row


def test_parts_are_kept_until_the_record_is_written(tmp_path: Path) -> None:
    file, record = tmp_path / "parts.json", tmp_path / "record.json"
    first = Parts(file, key={"minutes": 1})
    assert first.fresh
    first.begin("one")
    first.add("one", {"value": 1})
    first.begin("two")  # and is interrupted
    again = Parts(file, key={"minutes": 1})
    assert (again.fresh, again.found["one"]["value"], list(again.found)) == (False, 1, ["one"])
    other = Parts(file, key={"minutes": 2})
    assert (other.fresh, other.found) == (True, {})  # other conditions: measured again
    again.begin("two")
    again.add("two", {"value": 2})
    again.write(record, command="python -m benchmarks.fit")
    content = json.loads(record.read_text(encoding="utf-8"))
    assert {name: one["made"]["starts"] for name, one in content["parts"].items()} == {"one": 1, "two": 2}
    assert (content["minutes"], content["command"]) == (1, "python -m benchmarks.fit")
    assert not file.exists()


def test_a_benchmark_that_was_interrupted_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in its second part; the same command makes only that one, and continues its folder."""
    monkeypatch.setattr(fit, "BUILD", tmp_path)
    monkeypatch.setattr(fit, "RECORD", tmp_path / "record.json")
    named = {name: fit.Task(name, tmp_path / name, {"max_mb": 1, "max_ms": 10}) for name in ("one", "two")}
    monkeypatch.setattr(fit, "tasks", lambda *_, **__: list(named.values()))
    monkeypatch.setattr("sys.argv", ["fit", "sets", "livedoor"])
    made: list[str] = []
    work = tmp_path / "fit-full" / "work"

    def fitted(task: fit.Task, **_: Any) -> dict[str, Any]:
        made.append(task.name)
        if len(made) == 2:
            work.mkdir(parents=True)
            raise StudyInterrupted
        return {"documents": 9, "bundle": None, "folder": work.is_dir()}

    monkeypatch.setattr(fit, "fitted", fitted)
    with pytest.raises(SystemExit, match="the same command resumes"):
        fit.main()
    fit.main()
    assert made == ["one", "two", "two"]
    parts = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))["parts"]
    assert parts["two"]["folder"]
    assert [one["made"]["starts"] for one in parts.values()] == [1, 2]


def test_a_part_of_a_set_has_its_classes(tmp_path: Path) -> None:
    rows = [(f"本文{number}", "ab"[number % 4 == 0]) for number in range(200)]
    (tmp_path / "whole.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    path = fit.part_of(tmp_path / "whole.csv", 40, tmp_path / "part.csv")
    labels = [line.split(",")[1] for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    assert (labels.count("a"), labels.count("b")) == (30, 10)


def test_fasttext_gets_a_line_of_words_for_each_document(tmp_path: Path) -> None:
    documents = Documents(("海を見る\n日", "山が高い"), ("海", "山"))
    write_words(documents, tmp_path / "train.txt", label_names=("山", "海"))
    first, second = (tmp_path / "train.txt").read_text(encoding="utf-8").splitlines()
    assert first == "__label__1 海 を 見る 日"
    assert second.startswith("__label__0 山 が 高い")


def test_where_the_search_with_a_size_fails_the_one_without_is_quantised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the script, which aborts with a size; the real one needs another environment."""
    script = tmp_path / "fails.py"
    script.write_text(
        "import json, os, sys\n"
        "request = json.load(sys.stdin)\n"
        "if request['search_with_size']:\n"
        "    os.abort()\n"
        "print('progress')\n"
        "print(json.dumps({'bytes': 5, 'accuracy': 0.5, 'documents': 2}))\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(budgets, "_SCRIPT", script)
    monkeypatch.setattr(budgets, "environment", lambda: sys.executable)
    found = with_fasttext(tmp_path, megabytes=1, minutes=0.1)
    assert (found["bytes"], found["accuracy"], found["autotune_with_size"]) == (5, 0.5, "status -6")
    script.write_text("raise SystemExit(3)\n", encoding="utf-8")
    found = with_fasttext(tmp_path, megabytes=1, minutes=0.1)
    assert found["failed"] == "status 3"
    side = {"name": "TF-IDF", "form": "text", "bytes": 900_000, "accuracy": 0.9}
    part = {"fasttext": found, "tanzaku": side, "most_accurate": {**side, "form": "int8", "accuracy": 0.95}}
    row = "| 1 | TF-IDF | 0.90 | 90.00 | TF-IDF, 8 bits | 0.90 | 95.00 | failed (status 3) | – |"
    assert budgets.rows({"1": part})[-1] == row


@pytest.mark.parametrize("name", ["fit", "budgets", "promises"])
def test_the_command_says_what_it_needs(name: str) -> None:
    module = {"fit": fit, "budgets": budgets, "promises": promises}[name]
    assert f"python -m benchmarks.{name} " in (module.__doc__ or "")


_MADE = {"made": {"starts": 1}}
_RECORD: dict[str, Any] = {
    "command": "python -m benchmarks.x",
    "machine": {"cpu": "A", "physical_cores": 2, "cpu_bfloat16": False},
    "ended": "2026-01-02T03:04:05",
    "minutes": 20.0,
}


def _side(accuracy: float, size: float) -> dict[str, Any]:
    return {"name": "TF-IDF", "form": "text", "bytes": 1e6 * size, "accuracy": accuracy}


def test_the_page_has_what_the_records_say() -> None:
    """The text between the markers and the figure; without records, that they are missing."""
    text, drawn = fit_page.current()
    page = fit_page.PAGE.read_text(encoding="utf-8")
    assert fit_page.make_page(page, text) == page
    assert fit_page.FIGURE.is_file() is (drawn is not None)
    if drawn is not None:
        assert fit_page.FIGURE.read_bytes() == drawn
    missing = fit_page.measured(None, None, None)
    assert missing.count("Not measured yet") == 3


def test_gains_and_promises_hold_on_real_documents() -> None:
    record = read_alone(promises.RECORD)
    if record is None:
        pytest.skip("python -m benchmarks.promises was not run yet")
    assert len(record["parts"]) >= 3
    for part in record["parts"].values():
        draws = part["draws"]
        for gain in part["gains"]:
            assert draws * gain["covered"] >= binom.ppf(0.001, draws, 0.93)
            assert gain["width"] < 0.1  # they are not kept by promising nothing
        for promise in part["promises"]:
            assert promise["exceeded"] <= binom.ppf(0.999, draws, 1 - promise["confidence"])


def test_what_was_promised_is_measured_on_documents_that_come_later(tmp_path: Path) -> None:
    documents = make_documents(400, seed=1)
    read = Labelled(documents, tuple(range(400)), "made")
    found = promises.measured(read, Parts(tmp_path / "draws.json", key={}), draws=2, labels=150)
    assert (found["draws"], found["classes"]) == (2, 3)
    assert found["accuracy"] > 0.9
    assert [gain["more"] for gain in found["gains"]] == [50, 100]
    assert [one["error_rate"] for one in found["promises"]] == [0.02, 0.05, 0.1, 0.2]
    promised = found["promises"][-1]
    assert promised["promised"] == 2
    assert promised["answered"] > 0.9
    assert promised["exceeded"] == 0


def test_records_become_tables_and_a_figure(part: dict[str, Any]) -> None:
    late = {"name": "LoRA", "dropped": "time"}
    forms = [{**late, "form": "int4"}, {**late, "form": "int8"}, {"name": "TF-IDF", "dropped": "megabytes"}]
    none = {"bundle": None, "documents": 9, "made": {"starts": 2}, "candidates": forms}
    sizes: dict[str, dict[str, Any]] = {
        "1": {"tanzaku": _side(0.9, 0.5), "most_accurate": _side(0.92, 0.9), "fasttext": {"failed": "no end"}},
        "2": {"tanzaku": _side(0.9, 0.5), "most_accurate": _side(0.93, 1.9), "fasttext": _side(0.8, 2)},
    }
    gain = {"more": 200, "expected": 0.02, "real": 0.0175, "width": 0.03, "covered": 0.94}
    promise = {"error_rate": 0.05, "promised": 30, "answered": 0.5, "wrong": 0.02, "exceeded": 1}
    drawn = {"draws": 50, "labels": 400, "accuracy": 0.7, "gains": [gain], "promises": [promise]}
    drawn |= {"calibration_error": 0.052, "error_by_chance": 0.021}
    for one in sizes.values():
        one["verdict"] = ["Take TF-IDF.", "There was no time to compare 6 other candidates."]
    sizes_record = {**_RECORD, "parts": {size: {**one, **_MADE, "test_documents": 100} for size, one in sizes.items()}}
    text = fit_page.measured(
        {**_RECORD, "parts": {"inquiries": {**part, **_MADE}, "other": none}},
        sizes_record,
        {**_RECORD, "parts": {"asdc": {**drawn, **_MADE}}},
    )
    assert "interrupted and resumed: other" in text
    assert "The verdict within 2 MB adds: “There was no time to compare 6 other candidates.”" in text
    assert "| other | 9 | none |" in text
    assert (
        "There was no time to compare all candidates on this machine, which has no instructions for bfloat16 (1 for "
        in text
    )
    assert "| 2 | TF-IDF | 0.50 | 90.00 | TF-IDF | 1.90 | 93.00 | 2.00 | 80.00 |" in text
    assert "| asdc | 70.0 | 200 | 2.00 | 1.75 | 3.00 | 94 |" in text
    assert "| asdc | 5 | 60 | 50 | 2.0 | 2.0 |" in text
    assert "asdc 5.2 (2.1)" in text
    lines = fit_page.chart(sizes_record).lines
    assert [[point.x for point in line.points] for line in lines] == [[1, 2], [1, 2], [2]]
    assert fit_page.figure(sizes_record).startswith(b"<?xml")
    with pytest.raises(RecordError, match="lacks the marker"):
        fit_page.make_page("nothing", text)
