"""`tanzaku pretrain`: masked-language-model pretraining on the user's own text."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tanzaku.cli.making import make_encoder
from tanzaku.cli.options import Command, ModelOptions, with_options
from tanzaku.cli.threads import threads_option

if TYPE_CHECKING:
    from tanzaku.pretraining.options import PretrainOptions

# The fields of PretrainOptions by the heading that they have in the help; "A new encoder" has NewEncoderOptions.
PANELS = {
    "Options": ("from_encoder", "steps", "tokens", "minutes", "epochs"),
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


def declare() -> Command:
    """`pretrain`, with an option for each field of `PretrainOptions`."""
    from tanzaku.pretraining.options import NewEncoderOptions, PretrainOptions, read_options

    panels = {"Options": PANELS["Options"], "A new encoder": tuple(NewEncoderOptions.model_fields)} | PANELS
    names = {"from_encoder": ("--from", "ENCODER")}
    return with_options(pretrain, options=ModelOptions(PretrainOptions, read_options, panels=panels, names=names))


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

    Give a budget: --steps, --tokens, --minutes or --epochs. Run the same command again to resume after an
    interruption. The encoder's path is written to standard output, progress to standard error.

    Examples:

    ```
    tanzaku pretrain text/ --out my-encoder --shape 4x256 --positions 512 --minutes 60
    tanzaku pretrain text/ --out my-long-encoder --from my-encoder --max-tokens 512 --minutes 20
    ```
    """
    del threads  # settled already
    from tanzaku.pretraining.run import pretrain as run

    make_encoder(out, work, lambda report, stop: run(texts, out, options=options, work=work, report=report, stop=stop))
