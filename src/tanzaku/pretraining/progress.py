"""What a person sees of a pretraining or a distillation: a bar with loss and speed, or plain lines now and then."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn

from tanzaku.display import Display
from tanzaku.pretraining.prepare import Reading
from tanzaku.pretraining.session import Begins
from tanzaku.training.events import CheckpointPassedOver, HeldOutDone, Resumed, StepsDone, Stopped

_PURPOSES = {"vocabulary": "counting words", "tokens": "tokenizing", "neighbours": "counting neighbours"}
_UNITS = {"vocabulary": "MB", "tokens": "MB", "neighbours": "M tokens"}
# (factor, text)
_MEASURES = {
    "held_out_accuracy": (100, "held-out accuracy {:.2f} %"),
    "held_out_cosine": (1, "mean cosine to the teacher {:.4f}"),
}
_SMOOTHING = 0.9  # of the shown loss and speed, which jump from one report to the next


class PretrainProgress(Display):
    """Shows events on standard error."""

    def __init__(self, *, console: Console | None = None) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._task = self.bar.add_task("", total=1.0, note="", visible=False)
        self._loss = self._speed = 0.0

    def __call__(self, event: Any) -> None:
        """Show the event."""
        match event:
            case Reading(purpose=purpose, done=done, total=total):
                self._move(_PURPOSES[purpose], done / max(1, total), f"of {total / 1e6:.0f} {_UNITS[purpose]}")
            case Begins():
                self._begin(event)
            case Resumed(step=step):
                self.say(f"resumes from the checkpoint of step {step:,}")
            case CheckpointPassedOver(message=message):
                self.say(f"warning: {message}")
            case StepsDone():
                self._steps(event)
            case HeldOutDone(result=result):
                self.say(
                    f"step {result.step:,}, {result.tokens / 1e6:.1f} M tokens, epoch {result.epoch:.2f}, "
                    f"{_clock(result.seconds)}: training loss {result.train_loss:.4f}, "
                    f"{describe_held_out(result.flat())}"
                )
            case Stopped(step=step):
                self.say(f"stopped at step {step:,}; the checkpoint is saved")

    def _begin(self, event: Begins) -> None:
        grown = f", grown from {event.grown_from} by copying" if event.grown_from else ""
        self.say(
            f"{event.parameters / 1e6:.2f} M parameters, {event.positions} positions{grown}; "
            f"{event.stream_tokens / 1e6:.2f} M tokens of text, {event.steps_per_epoch:,} steps of "
            f"{event.batch_tokens:,} tokens an epoch; {event.compute.precision} on {event.compute.device}, "
            f"{event.compute.attention} attention"
        )

    def _steps(self, event: StepsDone) -> None:
        kept = _SMOOTHING if self._speed else 0.0
        self._loss = kept * self._loss + (1 - kept) * event.loss
        self._speed = kept * self._speed + (1 - kept) * event.tokens_per_second
        left = _clock(event.seconds_left)
        note = f"step {event.step:,}, loss {self._loss:.4f}, {self._speed:,.0f} tokens/s, {left} left"
        self._move("training", event.progress, note)

    def _move(self, what: str, progress: float, note: str) -> None:
        self.bar.update(self._task, description=what, completed=progress, note=note, visible=True)
        self.say_without_bar(f"{what}: {100 * progress:.1f} %, {note}")


def describe_held_out(line: Mapping[str, Any]) -> str:
    """The measures of held-out text in a line of the history, such as "held-out loss 3.37, held-out accuracy 43 %"."""
    parts = [f"held-out loss {line['held_out_loss']:.4f}"]
    parts += [
        text.format(factor * line[name]) for name, (factor, text) in _MEASURES.items() if line.get(name) is not None
    ]
    return ", ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
