"""How the runs of a study are printed, at any width."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tanzaku.cli import app
from tanzaku.cli.live import LiveRuns
from tanzaku.cli.runs import print_runs
from tanzaku.display import duration
from tanzaku.study.engine import RunEnds, RunStarts
from tanzaku.study.expansion import expand, parse_study
from tanzaku.study.listing import ListedRun, StudyList, write_list
from tanzaku.study.planned import PlannedTextRun
from tanzaku.study.record import RunRecord, write_record
from tanzaku.study.spec import TextRunSpec
from tanzaku.study.states import Progress, RunState, run_states
from tests.report.records import failed, finished, lora

_SHORT, _LONG = "lora-r{}-s42-0123456789", "lora-r{}-lr5e-4-cosine-mean-windows-w4-t128-pretrained-5-s42-0123456789"


def _states(name: str) -> list[RunState]:
    return [
        RunState(name.format(rank), "finished", finished(lora(rank), accuracy=0.9 + rank / 1000)) for rank in (2, 16)
    ]


def _printed(states: list[RunState], monkeypatch: pytest.MonkeyPatch, *, width: int) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr("tanzaku.cli.runs.plain_console", lambda: console)
    print_runs(states)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


@pytest.mark.parametrize(("name", "width"), [(_SHORT, 60), (_SHORT, 80), (_SHORT, 200), (_LONG, 200)])
def test_a_run_is_a_line_where_the_window_has_room(monkeypatch: pytest.MonkeyPatch, name: str, width: int) -> None:
    lines = _printed(_states(name), monkeypatch, width=width)
    rows = [line for line in lines if "lora-r" in line]
    assert len(rows) == 2
    assert rows[0].split()[:2] == [name.format(2).removesuffix("-0123456789"), "90.21"]
    assert max(map(len, lines)) <= width
    assert ("parameters" in " ".join(lines)) == (width == 200)


def test_long_names_take_two_lines_in_a_narrow_window(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _printed(_states(_LONG), monkeypatch, width=80)
    assert len(lines) == 4
    assert lines[2] == _LONG.format(16).removesuffix("-0123456789")
    assert re.fullmatch(r"    91\.\d\d % \(\S+ to \S+\), macro-F1 \S+ %, \S+ MB, \d.*", lines[3])


def test_equal_names_keep_what_tells_them_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    record = finished(lora(2), accuracy=0.9)
    states = [RunState(f"lora-r2-s42-{identity}", "finished", record) for identity in ("aaaaaaaaaa", "bbbbbbbbbb")]
    shown = "\n".join(_printed(states, monkeypatch, width=80))
    assert all(state.name in shown for state in states)


@pytest.mark.parametrize(("seconds", "text"), [(12.4, "12 s"), (204, "3.4 min"), (9000, "2.5 h")])
def test_times_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_status_lists_what_runs_and_waits_too_and_says_what_is_left(tmp_path: Path) -> None:
    def record(name: str) -> RunRecord:
        times: dict[str, Any] = {"started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:04:00+00:00"}
        return finished(lora(2), accuracy=0.9, run_id=name, **times)

    names = ["lora-r2-s1-0123456789", "lora-r16-s1-0123456789", "lora-r128-s1-0123456789"]
    runs = tuple(ListedRun(name=name, method="lora", kind="encoder") for name in names)
    write_list(tmp_path, StudyList(study="s", overrides=(), file={"name": "s"}, runs=runs))
    write_record(record(names[0]), tmp_path / names[0])
    broken = failed(lora(2), error="[no]\nmemory", run_id=names[1])
    write_record(broken, tmp_path / names[1])
    write_record(record("trial"), tmp_path / "trial")
    write_record(failed(lora(2), error="no time", run_id="trial-2"), tmp_path / "trial-2")
    done = CliRunner().invoke(app, ["study", "status", str(tmp_path)])
    assert done.exit_code == 0, done.output
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [[*row[:3], row[-1]] for row in rows[1:]] == [
        [names[0], "finished", "89.99", "yes"],
        [names[1], "failed", "[no] memory", "yes"],
        [names[2], "waiting", "", "yes"],
        ["trial", "finished", "89.99", "no"],
        ["trial-2", "failed", "no time", "no"],
    ]
    assert {len(row) for row in rows} == {9}
    assert done.stderr == "2 of 3 runs have ended; about 4.0 min left for the whole study\n"


def test_a_window_groups_what_has_no_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_list(
        tmp_path,
        StudyList(study="s", overrides=(), file={"name": "s"}, runs=(ListedRun(name="a", method="m", kind="encoder"),)),
    )
    write_record(finished(lora(2), accuracy=0.9), tmp_path / "trial-0123456789")
    lines = _printed(run_states(tmp_path), monkeypatch, width=80)
    assert lines[:3] == [
        "waiting (1 run):",
        "  a",
        "Other runs in this folder, which are not in the current study file; the report leaves them out:",
    ]
    assert "trial" in lines[-1]


def test_a_narrow_window_shows_the_whole_reason_of_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    name, error = _LONG.format(2), "the loss is not a number; a smaller learning rate helps: " + "try 5e-5, " * 10
    states = [
        RunState(name, "failed", failed(lora(2), error=error, run_id=name)),
        RunState("lora-r4-0123456789", "running", progress=Progress(2, 120, 300, 204)),
    ]
    lines = _printed(states, monkeypatch, width=80)
    assert max(len(line) for line in lines if _LONG.format(2) not in line) <= 80
    assert "".join(lines[2:-2]).split() == error.split()
    assert lines[-1] == "  lora-r4-0123456789: epoch 2, step 120 of 300, about 3.4 min left"


def test_the_live_table_counts_runs_and_shows_those_that_run(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=8, color_system=None)
    live = LiveRuns(console, enabled=True)
    (spec,) = expand(parse_study({"name": "s", "data": {"source": "sample"}, "arms": [{"method": "tfidf-svm"}]}))
    assert isinstance(spec, TextRunSpec)
    runs = [PlannedTextRun(spec, tmp_path / f"run-{number}") for number in range(6)]
    live.begin([run.run_id for run in runs], left=lambda: "; about 3 min left")
    step = {"event": "StepDone", "time": 5, "epoch": 1, "step": 3, "total_steps": 9}
    for run in runs[:5]:
        live.hear(RunStarts(run, 1, 6))
    runs[1].folder.mkdir()
    (runs[1].folder / "log.jsonl").write_text(json.dumps(step), encoding="utf-8")
    live.hear(RunEnds(runs[0], failed(lora(2), error="no memory"), found=False))
    live.__exit__(None, None, None)  # so that nothing else is printed meanwhile
    with console.capture() as captured:
        console.print(live.table())
    shown = [line.rstrip() for line in captured.get().splitlines()]
    assert shown[0] == "4 running, 1 waiting, 1 done; about 3 min left"
    assert shown[1].split() == ["run-1", "epoch", "1,", "step", "3", "of", "9"]
    assert shown[2:] == ["  run-2", "  and 2 more"]


def test_a_study_whose_runs_are_all_finished_shows_no_table(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=8, color_system=None)
    (spec,) = expand(parse_study({"name": "s", "data": {"source": "sample"}, "arms": [{"method": "tfidf-svm"}]}))
    assert isinstance(spec, TextRunSpec)
    with LiveRuns(console, enabled=True) as live:
        live.begin(["run-0"], left=lambda: "")
        live.hear(RunEnds(PlannedTextRun(spec, tmp_path / "run-0"), failed(lora(2), error="no memory"), found=True))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == ""


def test_options_of_ray_need_ray() -> None:
    result = CliRunner().invoke(app, ["study", "run", "study.toml", "--gpus-per-run", "0.5"])
    assert result.exit_code == 1
    assert "--gpus-per-run only has an effect with --engine ray" in str(result.exception)
