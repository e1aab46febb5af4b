"""What a terminal shows of a run that is being made."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from tanzaku.study import making, progress
from tanzaku.study.listing import STUDY_FILE
from tanzaku.study.progress import RunProgress
from tanzaku.training.events import EpochDone, EpochResult, StepDone, TrainingDone


@pytest.mark.parametrize(("step_seconds", "speed"), [(0.25, " 4.0/s"), (0.0005, " 2000/s")])
@pytest.mark.parametrize(("seconds", "shown"), [(9000.0, "study: 2.5 h"), (None, "")])
def test_the_bar_of_a_run_fits_and_says_how_long_the_whole_study_takes(
    seconds: float | None, shown: str, step_seconds: float, speed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_FIRST_SECONDS", 0.0)
    now = [0.0]
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None, get_time=lambda: now[0])
    asked: list[float | None] = []

    def left() -> float | None:
        asked.append(seconds)
        return seconds

    with RunProgress("run", console=console, study_left=left) as display:
        for step in (1200, 1201):
            now[0] += step_seconds
            display(StepDone(epoch=1, step=step, total_steps=3600, loss=0.5432, learning_rate=1e-4, documents=8))
        display.bar.refresh()
    assert isinstance(console.file, io.StringIO)
    bar = console.file.getvalue()
    assert f"1201/3600{speed} " in bar
    assert "epoch 1, loss 0.5432" in bar
    assert (shown or "epoch") in bar
    assert ("study:" in bar) == bool(shown)
    assert len(asked) == 1  # it reads the records of all runs, so not at every step


@pytest.mark.parametrize("slow", [False, True])
def test_the_bar_has_no_time_left_where_later_epochs_are_faster(slow: bool) -> None:
    now = [0.0]
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None, get_time=lambda: now[0])
    with RunProgress("run", console=console) as display:
        for step in (1, 2):
            now[0] += 10
            display(StepDone(1, step, 362, loss=0.5, learning_rate=1e-4, documents=8, is_slow=slow))
        display.bar.refresh()
    assert isinstance(console.file, io.StringIO)
    assert ("1:00:00" in console.file.getvalue()) == (not slow)


def test_where_no_bar_is_shown_nobody_asks_how_long_the_study_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_FIRST_SECONDS", 0.0)
    asked: list[bool] = []
    with RunProgress("run", console=Console(file=io.StringIO()), study_left=lambda: asked.append(True)) as display:
        display(StepDone(epoch=1, step=1, total_steps=2, loss=0.5, learning_rate=1e-4, documents=8))
    assert asked == []


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, [1, 4, 7, 9]), (1.5, [1, 2, 3, 4, 5, 6, 7, 8, 9])])
def test_of_quick_epochs_a_line_a_second_is_shown_and_the_last(
    seconds: float, shown: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, file = [100.0], io.StringIO()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    results = tuple(EpochResult(n, 8 * n, 0.5, 0.25, 0.9, 1e-3, seconds, 0.0) for n in range(1, 10))
    with RunProgress("run", console=Console(file=file, width=200)) as display:
        for result in results:
            now[0] += seconds
            display(EpochDone(result))
        display(TrainingDone(results, (), best_epoch=9, stopped_early=False, resumptions=0))
    lines = file.getvalue().splitlines()
    assert [int(line.split("epoch ")[1].split(":")[0]) for line in lines] == shown
    assert lines[0].endswith(f"validation accuracy 90.00 %, {seconds:.0f} s")


def test_a_damaged_list_of_the_study_does_not_disturb_a_run(tmp_path: Path) -> None:
    assert making._study_left(tmp_path) is None
    (tmp_path / STUDY_FILE).write_text("{", encoding="utf-8")
    assert making._study_left(tmp_path) is None
