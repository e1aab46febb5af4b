"""What the commands that make an encoder from text share: progress, interruption and the last lines."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from tanzaku.display import plain_console
from tanzaku.files import check_writable

if TYPE_CHECKING:
    from tanzaku.pretraining.record import DistillRecord, PretrainRecord

Make = Callable[[Callable[[Any], None], Callable[[], bool]], "PretrainRecord | DistillRecord | None"]
"""Takes what to report events to and what asks whether to stop; gives the record, or None where it was interrupted."""


def make_encoder(out: Path, work: Path | None, make: Make) -> None:
    """Make the encoder with a progress bar, and print its path.

    Raises:
        typer.Exit: It was interrupted; the exit status is 130.
    """
    record = _make(out, work, make)
    errors = plain_console(stderr=True)
    if record is None:
        errors.print("interrupted; run the same command again to resume from the checkpoint")
        raise typer.Exit(130)
    from tanzaku.pretraining.progress import describe_held_out

    errors.print(
        f"{record.steps:,} steps, {record.tokens_seen / 1e6:.1f} M tokens, {record.seconds / 60:.1f} min: "
        f"{describe_held_out(record.history[-1].model_dump())}",
        soft_wrap=True,
    )
    typer.echo(out)


def _make(out: Path, work: Path | None, make: Make) -> "PretrainRecord | DistillRecord | None":
    check_writable(out, replaced=True)
    if work:
        check_writable(work)
    from tanzaku.pretraining.prepare import Reading
    from tanzaku.pretraining.progress import PretrainProgress

    with _asked_to_stop() as stopping, PretrainProgress() as progress:

        def report(event: object) -> None:
            progress(event)
            if stopping and isinstance(event, Reading):
                raise KeyboardInterrupt  # there is nothing to save yet

        return make(report, lambda: bool(stopping))


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """A list that is empty until the first Ctrl-C or SIGTERM; the second Ctrl-C interrupts at once."""
    stopping: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        if stopping:
            raise KeyboardInterrupt
        stopping.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
