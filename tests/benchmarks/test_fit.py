"""The benchmarks of `tanzaku fit`: what they measure from outside, and that they resume part by part."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import budgets, fit
from benchmarks.budgets import with_fasttext, write_words
from benchmarks.outside import bytes_of
from benchmarks.resuming import Parts
from tanzaku.data.dataset import Documents


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
    assert len(part["candidates"]) == 2
    assert part["documents"] == 80
    # Of the best candidate, after the same training as the recommended one.
    best = next(one for one in part["candidates"] if one["best"])
    if best["recommended"]:
        assert part["best"]["accuracy"] == pytest.approx(outside["accuracy"])
    assert part["within_margin"] is (outside["accuracy"] >= part["best"]["accuracy"] - fit.MARGIN)
    (row,) = fit.rows({"inquiries": part})[2:]
    assert f"{100 * outside['accuracy']:.2f}" in row


def test_parts_are_kept_until_the_record_is_written(tmp_path: Path) -> None:
    file, record = tmp_path / "parts.json", tmp_path / "record.json"
    Parts(file, key={"minutes": 1}).add("one", {"value": 1})
    again = Parts(file, key={"minutes": 1})
    assert again.found == {"one": {"value": 1}}
    assert Parts(file, key={"minutes": 2}).found == {}  # other conditions: measured again
    again.add("two", {"value": 2})
    again.write(record, command="python -m benchmarks.fit")
    content = json.loads(record.read_text(encoding="utf-8"))
    assert list(content["parts"]) == ["one", "two"]
    assert (content["minutes"], content["command"]) == (1, "python -m benchmarks.fit")
    assert not file.exists()


def test_fasttext_gets_a_line_of_words_for_each_document(tmp_path: Path) -> None:
    documents = Documents(("海を見る\n日", "山が高い"), ("海", "山"))
    write_words(documents, tmp_path / "train.txt", label_names=("山", "海"))
    first, second = (tmp_path / "train.txt").read_text(encoding="utf-8").splitlines()
    assert first == "__label__1 海 を 見る 日"
    assert second.startswith("__label__0 山 が 高い")


def test_a_search_of_fasttext_that_fails_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "fails.py"
    script.write_text("raise SystemExit(3)\n", encoding="utf-8")
    monkeypatch.setattr(budgets, "_SCRIPT", script)
    monkeypatch.setattr(budgets, "environment", lambda: "python3")
    found = with_fasttext(tmp_path, megabytes=1, minutes=0.1)
    assert found["failed"] == "status 3"
    part = {"fasttext": found, "tanzaku": {"name": "TF-IDF", "bytes": 900_000, "accuracy": 0.9}}
    assert budgets.rows({"1": part})[-1] == "| 1 | TF-IDF | 0.90 | 90.00 | failed (status 3) | – |"


@pytest.mark.parametrize("name", ["fit", "budgets"])
def test_the_command_says_what_it_needs(name: str) -> None:
    module = {"fit": fit, "budgets": budgets}[name]
    assert f"python -m benchmarks.{name} " in (module.__doc__ or "")
    assert "--scale tiny" in (module.__doc__ or "")
