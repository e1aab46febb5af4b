"""Memory over a training, an older commit's step, and a busy machine: at a tiny size, and the record of them."""

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import growth, machine
from benchmarks.busy import busy_processes
from benchmarks.epoch import EpochLengths, random_documents
from benchmarks.page import make_page
from benchmarks.rows import RATIO, Row


@pytest.fixture
def lengths(tmp_path: Path) -> Path:
    file = tmp_path / "lengths.json"
    EpochLengths(train=[5, 32, 17, 9, 30, 8, 8, 12, 31, 4], val=[7, 20]).write(file)
    return file


def test_an_epoch_has_the_lengths_of_all_training_articles() -> None:
    lengths = EpochLengths.of(None, max_tokens=512)
    assert len(lengths.train) == 2_945
    assert max(lengths.train) == 512
    assert min(lengths.train) < 64
    documents = random_documents(lengths.train[:20], vocabulary=100, max_tokens=512)
    assert [len(documents.tokens[place]) for place in range(20)] == lengths.train[:20]


def test_memory_is_that_of_the_first_steps_and_of_the_end(lengths: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, last = growth._measure(lengths, "tiny")
    assert 50_000_000 < first < 100_000_000_000  # an interpreter with PyTorch takes more than 50 MB
    monkeypatch.setattr(growth, "growth", lambda *_: (200, 230))
    row, *others = machine.growth_rows(lengths, scale="tiny", rounds=1)
    assert (row.name, row.unit) == ("train_rss_growth", RATIO)
    assert row.value == pytest.approx(1.15)
    assert [other.value for other in others] == [200, 230]
    assert last > 50_000_000


def test_a_step_is_measured_in_the_checkout_that_is_given(lengths: Path) -> None:
    seconds = machine._step_seconds(machine._ROOT, lengths, machine._NARROW, 1)
    assert 0 < seconds < 60
    with pytest.raises(RuntimeError, match=r"step_alone\.py .* failed:"):
        machine._step_seconds(lengths.parent, lengths, machine._NARROW, 1)  # no checkout: it has no benchmarks


def test_the_older_commit_and_this_one_take_turns(lengths: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def seconds(tree: Path, *_: Any, **__: Any) -> float:
        asked.append(tree == machine._ROOT)
        return 2.0 if asked[-1] else 3.0 + len(asked)

    monkeypatch.setattr(machine, "_step_seconds", seconds)
    monkeypatch.setattr(machine, "_checkout", lambda _: _here(lengths.parent))
    row, old, new = machine.step_rows(lengths, scale="tiny", rounds=2)
    assert asked == [False, True, True, False]
    assert row.spread == (4.0 / 2, 7.0 / 2)
    assert (old.spread, new.spread) == ((4.0, 7.0), (2.0, 2.0))


def test_uneven_lengths_are_measured_with_one_thread(lengths: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[list[int], int | None]] = []

    def seconds(_: Path, file: Path, *__: Any, threads: int | None) -> float:
        given.append((EpochLengths.read(file).train, threads))
        return 1.0

    monkeypatch.setattr(machine, "_step_seconds", seconds)
    monkeypatch.setattr(machine, "_checkout", lambda _: _here(lengths.parent))
    row, *_ = machine.uneven_rows(lengths, scale="full", rounds=1)
    assert row.name == "lora_step_uneven_vs_95fb54c"
    assert given == [(list(range(250, 512)), 1)] * 2


class _here:  # noqa: N801 - a context as `contextmanager` makes them
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Path:
        return self._folder

    def __exit__(self, *_: object) -> None:
        pass


def test_busy_processes_end_with_the_measurement() -> None:
    before = {child.pid for child in psutil.Process().children()}
    with busy_processes(2):
        busy = [child for child in psutil.Process().children() if child.pid not in before]
        assert len(busy) == 2
    assert {child.pid for child in psutil.Process().children()} <= before


def _groups(log: list[str]) -> dict[str, Any]:
    def rows_of(name: str, ratio: str) -> Any:
        def measure(lengths: Path, *, scale: str, rounds: int) -> list[Row]:
            log.append(name)
            return [
                Row.of(ratio, [1.04 + len(log), 1.02], unit=RATIO),
                Row.of(f"seconds_{name}", [float(rounds)], unit="seconds"),
            ]

        return measure

    return {"growth": rows_of("growth", "train_rss_growth"), "busy": rows_of("busy", "busy_machine_slowdown")}


def test_a_part_leaves_the_other_rows_of_this_machine_in_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log: list[str] = []
    monkeypatch.setattr(machine, "GROUPS", _groups(log))
    out = tmp_path / "machine.json"

    def measure(*arguments: str) -> Any:
        machine.main(["--scale", "tiny", "--out", str(out), *arguments])
        record = json.loads(out.read_text(encoding="utf-8"))
        assert json.loads(capsys.readouterr().out) == record
        return record

    def values(record: Any) -> dict[str, float]:
        return {row["name"]: row["value"] for group in record["groups"] for row in group["rows"]}

    whole = measure()
    part = measure("--only", "busy", "--rounds", "7")
    assert log == ["growth", "busy", "busy"]
    assert values(part)["train_rss_growth"] == values(whole)["train_rss_growth"]
    assert values(part)["seconds_busy"] == 7
    assert part["machine"]["cpu"]
    assert [group["command"].split()[-1] for group in part["groups"]][1] == "7"
    page = make_page([], "", machine=part)
    assert part["machine"]["cpu"] in page
    assert f"{values(part)['busy_machine_slowdown']:.2f} | 1.02–4.04" in page
    assert "| `seconds_busy` | 7.00" in page

    out.write_text(json.dumps(part | {"machine": part["machine"] | {"cpu": "another"}}), encoding="utf-8")
    assert set(values(measure("--only", "growth"))) == {"train_rss_growth", "seconds_growth"}
