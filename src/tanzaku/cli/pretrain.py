"""`tanzaku pretrain`: masked-language-model pretraining on the user's own text."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from tanzaku.cli.options import Command, LazyCommand, ModelOptions, with_options
from tanzaku.cli.threads import threads_option
from tanzaku.display import plain_console
from tanzaku.files import check_writable

if TYPE_CHECKING:
    from tanzaku.pretraining.options import PretrainOptions
    from tanzaku.pretraining.record import PretrainRecord

# The fields of PretrainOptions by the heading that they have in the help.
PANELS = {
    "Options": ("from_encoder", "steps", "minutes", "epochs"),
    "A new encoder": (
        "shape",
        "heads",
        "intermediate",
        "initial_std",
        "initial_embeddings",
        "initial_positions",
        "positions",
        "tie",
        "vocabulary_size",
        "character_coverage",
    ),
    "Text and batches": (
        "documents",
        "max_tokens",
        "batch_tokens",
        "masking_rate",
        "whole_words",
        "held_out",
        "held_out_tokens",
        "evaluations",
    ),
    "Learning": (
        "optimizer",
        "learning_rate",
        "muon_learning_rate",
        "schedule",
        "warmup",
        "weight_decay",
        "beta1",
        "beta2",
        "epsilon",
        "max_grad_norm",
        "dropout",
        "seed",
    ),
    "Computing": ("precision", "fast", "attention", "device", "workers"),
    "Files": ("save_dtype", "checkpoint_minutes"),
}


class PretrainCommand(LazyCommand):
    """`pretrain`, with an option for each field of `PretrainOptions`."""

    @staticmethod
    def declare() -> Command:
        """Import the options."""
        from tanzaku.pretraining.options import PretrainOptions, read_options

        names = {"from_encoder": ("--from", "ENCODER")}
        return with_options(pretrain, options=ModelOptions(PretrainOptions, read_options, panels=PANELS, names=names))


def pretrain(
    texts: Annotated[
        list[Path], typer.Argument(metavar="TEXT", help="Text files (also .xz and .gz) or folders of them.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the encoder, which transformers opens without Tanzaku.")],
    options: "PretrainOptions",
    work: Annotated[
        Path | None,
        typer.Option(
            help="Folder for vocabulary, tokens and checkpoints.", show_default="<out>.work", rich_help_panel="Files"
        ),
    ] = None,
    threads: Annotated[int | None, threads_option(rich_help_panel="Computing")] = None,
) -> None:
    """Pretrain an encoder on your own unlabelled text, from scratch or from another encoder.

    Give a budget: --steps, --minutes or --epochs. Run the same command again to resume after an interruption. The
    encoder's path is written to standard output, progress to standard error.

    Examples:

    ```
    tanzaku pretrain text/ --out my-encoder --shape 4x256 --positions 512 --minutes 60
    tanzaku pretrain text/ --out my-long-encoder --from my-encoder --max-tokens 512 --minutes 20
    ```
    """
    del threads  # settled already
    record = _run(texts, out, work, options)
    errors = plain_console(stderr=True)
    if record is None:
        errors.print("interrupted; run the same command again to resume from the checkpoint")
        raise typer.Exit(130)
    last = record.history[-1]
    errors.print(
        f"{record.steps:,} steps, {record.tokens_seen / 1e6:.1f} M tokens, {record.seconds / 60:.1f} min: "
        f"held-out loss {last.held_out_loss:.4f}, accuracy {100 * last.held_out_accuracy:.2f} %",
        soft_wrap=True,
    )
    typer.echo(out)


def _run(texts: list[Path], out: Path, work: Path | None, options: "PretrainOptions") -> "PretrainRecord | None":
    for folder in (out, *([work] if work else [])):
        check_writable(folder)
    from tanzaku.pretraining.prepare import Reading
    from tanzaku.pretraining.progress import PretrainProgress
    from tanzaku.pretraining.run import pretrain as run

    with _asked_to_stop() as stopping, PretrainProgress() as progress:

        def report(event: object) -> None:
            progress(event)
            if stopping and isinstance(event, Reading):
                raise KeyboardInterrupt  # there is nothing to save yet

        return run(texts, out, options=options, work=work, report=report, stop=lambda: bool(stopping))


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
