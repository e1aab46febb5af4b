"""How the runs of a study are printed, at any width."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tanzaku.cli import app
from tanzaku.cli.runs import duration, print_runs
from tanzaku.study.listing import ListedRun, StudyList, write_list
from tanzaku.study.record import RunRecord, write_record
from tanzaku.study.states import RunState, run_states
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
