"""`tanzaku distill`: a smaller encoder from a larger one, on the user's own text."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tanzaku.cli.making import make_encoder
from tanzaku.cli.options import Command, ModelOptions, with_options
from tanzaku.cli.pretrain import PANELS as PRETRAIN_PANELS
from tanzaku.cli.threads import threads_option

if TYPE_CHECKING:
    from tanzaku.pretraining.distillation.options import DistillOptions

# The fields of DistillOptions by the heading that they have in the help.
PANELS = {
    "Options": ("student", "steps", "tokens", "minutes", "epochs"),
    "The student": ("layers", "embeddings"),
    "What is learned": ("hidden_loss", "pooled_loss", "pooled_weight"),
    "Text and batches": (
        "documents",
        "max_tokens",
        "lengths",
        "batch_tokens",
        "held_out",
        "held_out_tokens",
        "evaluations",
    ),
    **{name: PRETRAIN_PANELS[name] for name in ("Learning", "Computing", "Files")},
}


def declare() -> Command:
    """`distill`, with an option for each field of `DistillOptions`."""
    from tanzaku.pretraining.distillation.options import DistillOptions, read_distill_options

    names = {"student": ("--student", "SHAPE|FOLDER")}
    return with_options(distill, options=ModelOptions(DistillOptions, read_distill_options, panels=PANELS, names=names))


def distill(
    teacher: Annotated[str, typer.Argument(metavar="TEACHER", help="Folder, Hub id or name of the larger encoder.")],
    texts: Annotated[
        list[Path],
        typer.Option(
            metavar="PATH", help="Text file (also .xz and .gz) or a folder of them; may be given several times."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the student, which transformers opens without Tanzaku.")],
    options: "DistillOptions",
    work: Annotated[
        Path | None,
        typer.Option(help="Folder for tokens and checkpoints.", show_default="<out>.work", rich_help_panel="Files"),
    ] = None,
    threads: Annotated[int | None, threads_option(rich_help_panel="Computing")] = None,
) -> None:
    """Distil a smaller encoder from a larger one on your own unlabelled text.

    The student learns the teacher's hidden states and mean-pooled vectors, and has its tokenizer. Give a budget:
    --steps, --tokens, --minutes or --epochs. Run the same command again to resume after an interruption. The student's
    path is written to standard output, progress to standard error.

    Examples:

    ```
    tanzaku distill e5-base-ja --student layers=4 --texts texts/ --out e5-base-ja-4 --minutes 60
    tanzaku distill e5-base-ja --student layers=6,hidden=384 --texts texts/ --out small --tokens 50000000
    tanzaku distill e5-base-ja --student ./small --texts domain/ --out small-domain --max-tokens 512 --epochs 1
    ```
    """
    del threads  # settled already
    from tanzaku.pretraining.distillation.run import distill as run

    make_encoder(
        out, work, lambda report, stop: run(teacher, texts, out, options=options, work=work, report=report, stop=stop)
    )
