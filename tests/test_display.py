"""Bars where there is a terminal, lines now and then where there is none."""

import io
import itertools
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.progress import TextColumn

from tanzaku.display import Display


def _display(*, terminal: bool) -> tuple[Display, io.StringIO]:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=100)
    return Display(TextColumn("{task.description}"), console=console, indent="  ", title="run-1"), screen


def test_without_a_terminal_lines_are_titled_and_the_bars_words_come_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(step=10)  # each look at the clock
    monkeypatch.setattr("tanzaku.display.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    display, screen = _display(terminal=False)
    with display:
        display.bar.add_task("never shown")
        for step in range(9):
            display.say_without_bar(f"step {step}")
        display.say("epoch 1")
    assert screen.getvalue().splitlines() == ["  run-1: step 3", "  run-1: step 7", "  run-1: epoch 1"]


def test_on_a_terminal_the_bar_says_it() -> None:
    display, screen = _display(terminal=True)
    with display:
        display.bar.add_task("shown")
        display.say_without_bar("hidden")
        display.say("epoch 1")
    assert "shown" in screen.getvalue()
    assert "  epoch 1" in screen.getvalue()
    assert "hidden" not in screen.getvalue()
    assert "run-1" not in screen.getvalue()
