"""`tanzaku pretrain`: masked-language-model pretraining on the user's own text."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tanzaku.cli.threads import threads_option
from tanzaku.display import plain_console
from tanzaku.files import check_writable

if TYPE_CHECKING:
    from tanzaku.pretraining.record import PretrainRecord

_NEW = "A new encoder"
_TEXT = "Text and batches"
_LEARNING = "Learning"
_MACHINE = "Machine and files"


def _option(help_text: str, *, panel: str, name: str | None = None) -> Any:
    names = (name,) if name else ()
    return typer.Option(*names, help=help_text, rich_help_panel=panel, show_default=False)


def pretrain(
    texts: Annotated[
        list[Path], typer.Argument(metavar="TEXT", help="Text files, also .xz and .gz, or folders of them.")
    ],
    out: Annotated[Path, typer.Option(help="The encoder's folder, which plain transformers opens.")],
    from_encoder: Annotated[
        str | None, typer.Option("--from", metavar="ENCODER", help="Go on from this encoder: folder, hub id or name.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Train for so many steps.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Train for so long; the schedule is fitted to it.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Train for so many passes over the text.")] = None,
    work: Annotated[
        Path | None,
        typer.Option(help="Folder for vocabulary, tokens and checkpoints.", show_default="<out>.work"),
    ] = None,
    shape: Annotated[str | None, _option("Layers x hidden size (4x256).", panel=_NEW)] = None,
    heads: Annotated[int | None, _option("Attention heads (hidden size / 64).", panel=_NEW)] = None,
    intermediate: Annotated[int | None, _option("Feed-forward width (4 x hidden).", panel=_NEW)] = None,
    initial_std: Annotated[float | None, _option("Standard deviation of new weights (0.02).", panel=_NEW)] = None,
    initial_embeddings: Annotated[
        str | None, _option("counts of the text's neighbouring pieces, or random (counts).", panel=_NEW)
    ] = None,
    initial_positions: Annotated[str | None, _option("sinusoidal, or random (sinusoidal).", panel=_NEW)] = None,
    positions: Annotated[int | None, _option("Tokens that it can read at once (max tokens).", panel=_NEW)] = None,
    tie: Annotated[
        bool | None,
        _option("One matrix for embedding and output (yes).", panel=_NEW, name="--tie/--no-tie"),
    ] = None,
    vocabulary_size: Annotated[int | None, _option("WordPieces, 5 special ones too (12000).", panel=_NEW)] = None,
    character_coverage: Annotated[
        float | None, _option("Share of the characters that get a piece (0.999).", panel=_NEW)
    ] = None,
    documents: Annotated[
        str | None, _option("What ends a document: blank-line or line (blank-line).", panel=_TEXT)
    ] = None,
    max_tokens: Annotated[int | None, _option("Tokens of a sequence (128).", panel=_TEXT)] = None,
    batch_tokens: Annotated[int | None, _option("Tokens of a step (2048).", panel=_TEXT)] = None,
    masking_rate: Annotated[float | None, _option("Share of tokens to predict (0.2).", panel=_TEXT)] = None,
    whole_words: Annotated[
        bool | None,
        _option("Mask all pieces of a word together (no).", panel=_TEXT, name="--whole-words/--no-whole-words"),
    ] = None,
    held_out: Annotated[float | None, _option("Share of the text for evaluation (0.01).", panel=_TEXT)] = None,
    held_out_tokens: Annotated[int | None, _option("Tokens an evaluation reads at most (200000).", panel=_TEXT)] = None,
    evaluations: Annotated[int | None, _option("Evaluations over the budget (20).", panel=_TEXT)] = None,
    learning_rate: Annotated[float | None, _option("At its highest (1e-3; with --from 1e-4).", panel=_LEARNING)] = None,
    optimizer: Annotated[
        str | None, _option("adamw, or muon for the layers' matrices and adamw for the rest (muon).", panel=_LEARNING)
    ] = None,
    muon_learning_rate: Annotated[
        float | None, _option("Muon's at its highest (0.02; with --from 0.002).", panel=_LEARNING)
    ] = None,
    schedule: Annotated[str | None, _option("linear or cosine (linear).", panel=_LEARNING)] = None,
    warmup: Annotated[float | None, _option("Share of the budget to warm up in (0.05).", panel=_LEARNING)] = None,
    weight_decay: Annotated[float | None, _option("Decoupled weight decay (0.01).", panel=_LEARNING)] = None,
    beta1: Annotated[float | None, _option("AdamW's first decay (0.9).", panel=_LEARNING)] = None,
    beta2: Annotated[float | None, _option("AdamW's second decay (0.98).", panel=_LEARNING)] = None,
    epsilon: Annotated[float | None, _option("AdamW's ε (1e-6).", panel=_LEARNING)] = None,
    max_grad_norm: Annotated[float | None, _option("Clip the gradient to this norm (1).", panel=_LEARNING)] = None,
    dropout: Annotated[float | None, _option("Dropout while training (0).", panel=_LEARNING)] = None,
    seed: Annotated[int | None, _option("Of weights, order, masking and dropout (42).", panel=_LEARNING)] = None,
    precision: Annotated[str | None, _option("auto, float32 or bfloat16 (auto).", panel=_MACHINE)] = None,
    fast: Annotated[
        bool | None,
        _option("Compute a BERT by the fast path on a CPU (yes).", panel=_MACHINE, name="--fast/--no-fast"),
    ] = None,
    attention: Annotated[
        str | None, _option("transformers' attention: auto, sdpa or eager (auto).", panel=_MACHINE)
    ] = None,
    device: Annotated[str | None, _option("auto, cpu or cuda (auto).", panel=_MACHINE)] = None,
    save_dtype: Annotated[str | None, _option("Weights as float32 or float16 (float32).", panel=_MACHINE)] = None,
    checkpoint_minutes: Annotated[float | None, _option("Save a checkpoint so often (5).", panel=_MACHINE)] = None,
    threads: Annotated[int | None, threads_option(rich_help_panel=_MACHINE)] = None,
    workers: Annotated[int | None, _option("Tokenising processes (as many as threads).", panel=_MACHINE)] = None,
) -> None:
    """Pretrain an encoder on your own unlabelled text, from scratch or from another encoder.

    Give a budget: --steps, --minutes or --epochs. Run the same command again to resume after an interruption. The
    path of the encoder goes to standard output, progress to standard error.

    Examples:

    ```
    tanzaku pretrain text/ --out my-encoder --shape 4x256 --positions 512 --minutes 60
    tanzaku pretrain text/ --out my-long-encoder --from my-encoder --max-tokens 512 --minutes 20
    ```
    """
    given = {key: value for key, value in locals().items() if key not in {"texts", "out", "work", "threads"}}
    record = _run(texts, out, work, given)
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


def _run(texts: list[Path], out: Path, work: Path | None, given: dict[str, Any]) -> "PretrainRecord | None":
    from tanzaku.pretraining.options import read_options

    options = read_options(given)  # the cheap checks first
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
