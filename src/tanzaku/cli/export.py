"""`tanzaku export`: write a bundle in a form that other programs open, or that needs no PyTorch."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tanzaku.cli.card import CardLanguage
from tanzaku.cli.classifying import BundleName
from tanzaku.cli.flips import max_flips_option, share_of
from tanzaku.cli.messages import command
from tanzaku.cli.threads import Threads
from tanzaku.display import plain_console

if TYPE_CHECKING:
    from tanzaku.data.dataset import Dataset
    from tanzaku.exports.exporting import Exported


@dataclass(frozen=True)
class Comparing:
    """Options for comparing the export with the bundle."""

    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Prepared data, such as that of the study: its validation texts are classified by both.",
            show_default="the sample corpus",
        ),
    ] = None
    max_flips: Annotated[float | None, max_flips_option()] = None

    def dataset(self) -> "Dataset | None":
        """The data on which the two are compared."""
        from tanzaku.data.loading import load_dataset

        return load_dataset(self.data) if self.data is not None else None


def export(
    bundle: BundleName,
    to: Annotated[
        Literal["transformers", "sentence-transformers", "peft", "onnx", "openvino"],
        typer.Option(help="What the folder is for."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the export, new or empty.")],
    comparing: Comparing,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "int8"],
        typer.Option(help="Precision: int8 for onnx and openvino, bfloat16 for openvino; auto: the fastest here."),
    ] = "float32",
    encoder: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where the bundle's encoder is, if not under its name.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an export that is already in the folder.")] = False,
    language: CardLanguage = "en",
    threads: Threads = None,
) -> None:
    """Export a bundle, and certify that the export gives the same labels.

    An export to onnx or openvino is a bundle, which `tanzaku classify` reads without PyTorch. The others open in the
    library of that name, without Tanzaku. Both forms classify the same texts in one thread; `certificate.json` and a
    summary on standard error say how many labels changed, the accuracies, speeds and sizes.

    Examples:

    ```
    tanzaku export my-bundle --to transformers --out my-model
    tanzaku export my-bundle --to onnx --out my-onnx-bundle
    tanzaku export my-bundle --to onnx --dtype int8 --data data/mine --max-flips 1 --out my-int8-bundle
    ```
    """
    del threads  # settled already
    from tanzaku.exports.exporting import export as make

    exported = make(
        bundle,
        out,
        to=to,
        dtype=dtype,
        dataset=comparing.dataset(),
        max_flips=share_of(comparing.max_flips),
        encoder=encoder,
        force=force,
        language=language,
    )
    _describe(exported)
    typer.echo(out)


def _describe(exported: "Exported") -> None:
    from tanzaku.exports.forms import GRAPH_FORMS
    from tanzaku.ship.certificate import describe_certificate

    console = plain_console(stderr=True, soft_wrap=True)
    for line in (*exported.notes, *describe_certificate(exported.certificate)):
        console.print(line)
    if exported.form in GRAPH_FORMS:
        console.print(f"Next: {command('classify', exported.folder)} TEXT")
    else:
        console.print(f"Next: {exported.folder / 'README.md'} shows how to use it in Python.")
