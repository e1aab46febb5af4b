"""The whole benchmark, with a toy encoder; what its numbers are says nothing, that they are all there does."""

import ast
import json
import re
import runpy
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import pipeline

from benchmarks import apart
from benchmarks.__main__ import main
from benchmarks.documents import texts_to_classify
from benchmarks.models import random_classifier, word_tokenizer
from benchmarks.ours import build_classifier, classify
from benchmarks.page import DESCRIPTIONS, PAGE, REMARKS, make_page
from benchmarks.progress import Progress
from benchmarks.record import MACHINE, NESTED, SAME_IDS, read_alone, read_records
from benchmarks.rows import COMPARISONS, RATIO, ROW_NAMES
from benchmarks.scale import SCALES
from benchmarks.suite import Measurement, measurements, run_rounds
from tests.forked import Forked, call

ROOT = Path(__file__).parents[2]
# Most tests read the one record, slow ones too.
pytestmark = pytest.mark.xdist_group("benchmark suite")
MAY_BE_SKIPPED = {"classify_memory_million_vs_ten_thousand"}


def _run(*arguments: str, folder: Path) -> Any:
    return json.loads(call(_measure, arguments, folder, folder=folder))  # nothing else is on standard output


def _measure(arguments: Sequence[str], folder: Path) -> None:
    _fork_parts(folder)
    main(arguments)


def _fork_parts(folder: Path) -> None:
    """Measure in forked processes what is measured in processes of their own."""

    def run(command: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[:2] == [sys.executable, "-m"]
        process = Forked(_run_module, *command[2:], folder=folder)
        return subprocess.CompletedProcess(command, process.wait(), process.output, process.errors)

    apart.subprocess = SimpleNamespace(run=run)  # type: ignore[assignment, attr-defined]


def _run_module(name: str, *arguments: str) -> None:
    with TemporaryDirectory() as folder:
        _fork_parts(Path(folder))
        sys.argv = [name, *arguments]
        runpy.run_module(name, run_name="__main__")


def test_a_part_is_what_a_process_prints_and_its_failure_an_error() -> None:
    assert "Beautiful is better than ugly." in apart.said_by("this")
    with pytest.raises(RuntimeError, match=r"(?s)benchmarks\.nowhere failed:.*No module named"):
        apart.said_by("benchmarks.nowhere")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("record")
    printed = _run("--tiny", "--out", str(folder / "record.json"), folder=folder)
    assert json.loads((folder / "record.json").read_text(encoding="utf-8")) == printed
    return dict(printed)


@pytest.mark.slow
def test_every_row_is_there(record: dict[str, Any]) -> None:
    names = [row["name"] for row in record["rows"]]
    skipped = [one["name"] for one in record["skipped"]]
    assert len(set(names)) == len(names)
    assert set(ROW_NAMES) - set(names) == set(skipped) <= MAY_BE_SKIPPED
    assert {"machine", "git", "versions", "command"} <= set(record)
    for row in record["rows"]:
        low, high = row["spread"]
        assert 0 < low <= row["value"] <= high < float("inf")
        assert row["unit"]


@pytest.mark.slow
def test_every_comparison_stands_on_two_measurements_of_one_kind(record: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in record["rows"]}
    for name, (left, right) in COMPARISONS.items():
        if name not in rows:
            continue
        assert rows[name]["unit"] == RATIO
        assert rows[left]["unit"] == rows[right]["unit"] != RATIO
        # The median of the quotients lies between the extreme ones.
        lowest = rows[left]["spread"][0] / rows[right]["spread"][1]
        highest = rows[left]["spread"][1] / rows[right]["spread"][0]
        assert lowest <= rows[name]["value"] * (1 + 1e-9)
        assert rows[name]["value"] <= highest * (1 + 1e-9)


@pytest.mark.slow
def test_the_page_shows_every_row(record: dict[str, Any]) -> None:
    page = make_page([record], "## Remarks\n\nOne.\n")
    assert all(description in page for description in DESCRIPTIONS.values())
    assert all(f"`{row['name']}`" in page for row in record["rows"] if row["unit"] != RATIO)
    assert page.endswith("## Remarks\n\nOne.\n")
    assert record["machine"]["cpu"] in page


def test_a_part_has_only_its_rows_and_writes_nowhere(tmp_path: Path) -> None:
    before = sorted((ROOT / "records").rglob("*"))
    record = _run("--tiny", "--only", "products", "--rounds", "1", folder=tmp_path)
    assert {row["name"] for row in record["rows"]} == {
        f"product_{shape}_{precision}" for shape in ("base", "mini") for precision in ("float32", "bfloat16")
    }
    assert record["rounds"] == 1
    assert sorted((ROOT / "records").rglob("*")) == before


def test_rounds_take_turns_and_every_other_goes_backwards(tmp_path: Path) -> None:
    called: list[str] = []
    numbers = run_rounds(_counted(called), rounds=3, progress=_progress(tmp_path), report=lambda _: None)
    assert "".join(called) == "abc" + "ba" + "ab"
    assert numbers == {"a": [1, 5, 6], "b": [2, 4, 7], "c": [3]}


@pytest.mark.parametrize("done", range(7))
def test_an_interrupted_benchmark_goes_on_where_it_was(tmp_path: Path, done: int) -> None:
    called: list[str] = []

    def say(line: str) -> None:
        if len(called) == done:
            raise KeyboardInterrupt

    if done:
        with pytest.raises(KeyboardInterrupt):
            run_rounds(_counted(called), rounds=3, progress=_progress(tmp_path), report=say)
    progress = _progress(tmp_path, resume=True)
    numbers = run_rounds(_counted(called), rounds=3, progress=progress, report=lambda _: None)
    assert "".join(called) == "abc" + "ba" + "ab"
    assert numbers == {"a": [1, 5, 6], "b": [2, 4, 7], "c": [3]}
    assert progress.parts == [{"started": "now"}] * (2 if done else 1)


def test_numbers_of_another_benchmark_or_of_one_not_resumed_do_not_count(tmp_path: Path) -> None:
    _progress(tmp_path).add("a", 1.0)
    assert _progress(tmp_path, resume=True).numbers == {"a": [1.0]}
    assert _progress(tmp_path).numbers == {}
    assert _progress(tmp_path, resume=True, scale="other").numbers == {}
    _progress(tmp_path).done()
    assert _progress(tmp_path, resume=True).numbers == {}


def _counted(called: list[str]) -> list[Measurement]:
    """Three measurements whose numbers say when they were made; the third is made once."""

    def measure(name: str) -> float:
        called.append(name)
        return float(len(called))

    return [Measurement("group", name, "unit", partial(measure, name), once=name == "c") for name in "abc"]


def _progress(folder: Path, *, resume: bool = False, scale: str = "tiny") -> Progress:
    return Progress.begin(folder / "progress.json", key={"scale": scale}, part={"started": "now"}, resume=resume)


def test_every_compared_measurement_exists() -> None:
    names = {one.name for one in measurements(SCALES["full"], texts=None)}
    wanted = {name for row, pair in COMPARISONS.items() if row not in MAY_BE_SKIPPED for name in pair}
    assert wanted <= names
    assert set(DESCRIPTIONS) == set(ROW_NAMES)


def test_the_performance_page_is_what_the_records_give() -> None:
    records = read_records()
    alone = {"nested": read_alone(NESTED), "same_ids": read_alone(SAME_IDS), "machine": read_alone(MACHINE)}
    page = make_page(records, REMARKS.read_text(encoding="utf-8"), **alone)
    assert PAGE.read_text(encoding="utf-8") == page
    for record in records:
        assert record["scale"]["name"] == "full"
        assert record["git"]["dirty"] is False
        assert not any(part.get("dirty") for part in record["parts"])
        assert "--only" not in record["command"]
    machine = alone["machine"] or {"groups": []}
    for one in (*filter(None, (alone["nested"], alone["same_ids"])), *machine["groups"]):
        assert one["git"]["dirty"] is False


def test_no_text_of_the_compared_collections_has_other_ids() -> None:
    record = read_alone(SAME_IDS)
    assert record is not None
    assert sum(row["texts"] for row in record["rows"]) > 1_000_000
    assert {row["different"] for row in record["rows"]} == {0}


@pytest.mark.parametrize("readme", ["README.md", "README.ja.md"])
def test_the_readmes_ratios_are_the_records(readme: str) -> None:
    record = next(record for record in read_records() if record["machine"]["gpu"] is None)
    rows = {row["name"]: row["value"] for row in record["rows"]}
    shown = re.findall(r"\| (\d+\.\d+)(?:×| 倍)(?: as (?:fast|much))? \|", (ROOT / readme).read_text(encoding="utf-8"))
    assert shown == [
        f"{rows['lora_step_base_vs_trainer']:.1f}",
        f"{rows['lora_step_base_thesis_settings_vs_trainer']:.1f}",
        f"{rows['lora_step_base_vs_tuned_trainer']:.1f}",
        f"{rows['train_memory_vs_trainer']:.2f}",
        f"{rows['lora_step_mini_vs_trainer']:.1f}",
        f"{rows['classify_base_vs_pipeline']:.1f}",
        f"{rows['tokenize_vs_reference']:.1f}",
    ]


def test_both_classifiers_say_the_same() -> None:
    scale = SCALES["tiny"]
    texts = texts_to_classify(20, max_tokens=scale.max_tokens, vocabulary=scale.base.vocabulary)
    tokenizer = word_tokenizer(scale.base.vocabulary, max_tokens=scale.max_tokens)
    ours = build_classifier(scale.base, max_tokens=scale.max_tokens, precision="float32")
    model = random_classifier(scale.base, dropout=0.0, max_tokens=scale.max_tokens)
    with torch.no_grad():
        for parameter in (*ours.model.parameters(), *model.parameters()):
            parameter.mul_(20)  # fresh weights are so small that all texts look alike
    logits = torch.from_numpy(classify(ours, tokenizer, texts, max_tokens=scale.max_tokens))
    theirs = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")(texts, truncation=True)
    highest, classes = logits.softmax(dim=-1).max(dim=-1)
    assert classes.tolist() == [int(one["label"].removeprefix("LABEL_")) for one in theirs]
    assert highest.tolist() == pytest.approx([one["score"] for one in theirs], abs=1e-5)
    assert len({round(value, 5) for value in highest.tolist()}) > 10  # the texts are told apart


def test_no_benchmark_imports_the_tests() -> None:
    """Importing them sets the number of threads to one, for all processes that are started later."""
    found = {
        (path.name, node.module)
        for path in (ROOT / "benchmarks").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tests"
    }
    assert not found
