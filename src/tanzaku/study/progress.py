"""What a person sees of a run, and what a log keeps of it."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from tanzaku.display import Display, duration, plain_console
from tanzaku.files import errors_naming
from tanzaku.provenance import steady_seconds
from tanzaku.training.events import (
    CheckpointPassedOver,
    EpochDone,
    EpochResult,
    EvaluationProgress,
    Event,
    Resumed,
    StepDone,
    TrainingDone,
)

# Before the first look at how long the whole study will take, and between two, which read the records of all its runs.
_FIRST_SECONDS, _STUDY_SECONDS = 10.0, 60.0
_EPOCH_SECONDS = 1.0  # between the lines of two epochs: those of a head on a frozen encoder take a fraction of that


class LogFile:
    """Appends each event but evaluation's progress to a JSON Lines file, with the time (Unix seconds; the clock is
    read once, so that differences of times are right even if it is set)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._zero = time.time() - steady_seconds()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = path.open("a", encoding="utf-8", buffering=1)

    def __call__(self, event: Event) -> None:
        """Write the event's line."""
        if isinstance(event, EvaluationProgress):
            return
        content = {"event": type(event).__name__, "time": round(self._zero + steady_seconds(), 3)}
        if not isinstance(event, TrainingDone):
            content |= asdict(event)
        content.pop("history", None)  # it stands in the log already
        with errors_naming(self._path):
            self._handle.write(json.dumps(content, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Flush and close the file."""
        self._handle.close()


class _SpeedColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        digits = 1 if speed is not None and speed < 10 else 0
        return Text("" if speed is None else f"{speed:.{digits}f}/s", style="progress.data.speed")


class _TimeLeftColumn(TimeRemainingColumn):
    def render(self, task: Task) -> Text:
        return Text("") if task.fields.get("is_slow") else super().render(task)


class RunProgress(Display):
    """A bar on standard error with loss, speed and time left; plain lines now and then where that is no terminal.

    Each epoch has a line; if epochs are quick, only one a second and the last of a training that ends.

    Args:
        title: The run's name.
        console: Standard error if not given.
        in_lines: Write lines to a terminal, too, as other processes do at the same time.
        quiet: Write nothing.
        study_left: The seconds that the whole study will take, if they are known; asked now and then, for the bar.
    """

    def __init__(
        self,
        title: str,
        *,
        console: Console | None = None,
        in_lines: bool = False,
        quiet: bool = False,
        study_left: Callable[[], float | None] = lambda: None,
    ) -> None:
        super().__init__(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=8),  # all of it fits into 80 columns
            MofNCompleteColumn(),
            _SpeedColumn(),
            _TimeLeftColumn(),
            TextColumn("{task.fields[note]}"),
            TextColumn("{task.fields[study]}"),
            console=plain_console(stderr=True, quiet=True) if quiet else console,
            indent="  ",
            title=title,
            in_lines=in_lines,
        )
        self._training = self.bar.add_task("training", total=None, note="", study="")
        self._evaluation = self.bar.add_task("validation", total=None, visible=False, note="", study="")
        self._epoch_said: EpochResult | None = None
        self._epoch_said_at = -math.inf
        self._study_left, self._ask_at = study_left, time.monotonic() + _FIRST_SECONDS

    def __call__(self, event: Event) -> None:
        """Show the event."""
        match event:
            case StepDone():
                self._step(event)
            case EvaluationProgress(documents=documents, total_documents=total):
                self.bar.update(self._evaluation, completed=documents, total=total, visible=documents < total)
            case EpochDone(result=result):
                if time.monotonic() - self._epoch_said_at >= _EPOCH_SECONDS:
                    self._say_epoch(result)
                self.bar.reset(self._evaluation, visible=False)
            case TrainingDone(history=history) if history[-1] != self._epoch_said:
                self._say_epoch(history[-1])
            case Resumed(step=step):
                self.say(f"resumes from the checkpoint of step {step}")
            case CheckpointPassedOver(message=message):
                self.say(f"warning: {message}")

    def _say_epoch(self, result: EpochResult) -> None:
        self._epoch_said, self._epoch_said_at = result, time.monotonic()
        self.say(
            f"epoch {result.epoch}: training loss {result.train_loss:.4f}, validation loss {result.val_loss:.4f}, "
            f"validation accuracy {100 * result.val_accuracy:.2f} %, {result.train_seconds:.0f} s"
        )

    def _step(self, event: StepDone) -> None:
        note = f"epoch {event.epoch}, loss {event.loss:.4f}"
        self.bar.update(self._training, completed=event.step, total=event.total_steps, note=note, is_slow=event.is_slow)
        if not self.bar.disable and time.monotonic() >= self._ask_at:
            self._ask_at = time.monotonic() + _STUDY_SECONDS
            left = self._study_left()
            self.bar.update(self._training, study="" if left is None else f"study: {duration(left)}")
        self.say_without_bar(f"step {event.step}/{event.total_steps}, {note}")
