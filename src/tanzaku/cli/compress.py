"""`tanzaku compress`: reduce the rank of a bundle's adapter."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tanzaku.cli.card import CardLanguage
from tanzaku.cli.classifying import BundleName, folder_of
from tanzaku.cli.threads import Threads
from tanzaku.display import plain_console

if TYPE_CHECKING:
    from tanzaku.ship.bundle import CompressionFacts


def compress(
    bundle: BundleName,
    out: Annotated[Path, typer.Option(help="Folder for the new bundle, new or empty.")],
    rank: Annotated[int | None, typer.Option(help="Reduce every layer's update to this rank.")] = None,
    energy: Annotated[
        float | None,
        typer.Option(
            help="Choose the smallest rank that keeps this share of each update's squared norm, such as 0.95."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help='Prepared data, or "sample": classify its validation set before and after.'
        ),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where the bundle's encoder is, if not under its name.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is already in the folder.")] = False,
    language: CardLanguage = "en",
    threads: Threads = None,
) -> None:
    """Make a bundle's LoRA smaller: replace each layer's update by its best approximation of a lower rank.

    Nothing is trained. Give either --rank or --energy. The new bundle's path is written to standard output, a table of
    what was kept to standard error.

    Examples:

    ```
    tanzaku compress my-bundle --rank 4 --out my-small-bundle --data data/mine
    tanzaku compress my-bundle --energy 0.95 --out my-small-bundle
    ```
    """
    del threads  # settled already
    from tanzaku.data.loading import load_dataset
    from tanzaku.files import folder_bytes
    from tanzaku.ship.bundle import MODEL_FOLDER, EncoderBundleFacts, open_bundle
    from tanzaku.ship.compress import compress as make

    dataset = load_dataset(data, test=False) if data is not None else None
    source = folder_of(bundle)
    # --out may be the same folder.
    bytes_before, earlier = folder_bytes(source / MODEL_FOLDER), open_bundle(source).facts
    made = make(source, out, rank=rank, energy=energy, dataset=dataset, encoder=encoder, force=force, language=language)
    facts = [one.compressed if isinstance(one, EncoderBundleFacts) else None for one in (made.facts, earlier)]
    _describe(*facts, bytes_before=bytes_before, bytes_after=folder_bytes(made.folder / MODEL_FOLDER))
    typer.echo(out)


def _describe(
    facts: "CompressionFacts | None", earlier: "CompressionFacts | None", *, bytes_before: int, bytes_after: int
) -> None:
    from rich.table import Table

    assert facts is not None
    table = Table("", "ranks", "adapter MB", "norm² kept", "validation accuracy")
    ranks_before, kept_before = (earlier.ranks, earlier.kept_energy) if earlier else (facts.ranks_before, 1.0)
    for name, size, ranks, kept, scores in (
        ("before", bytes_before, ranks_before, kept_before, facts.val_before),
        ("after", bytes_after, facts.ranks, facts.kept_energy, facts.val),
    ):
        table.add_row(
            name,
            "–".join(map(str, sorted(set(ranks)))),
            f"{size / 1e6:.2f}",
            f"{100 * kept:.2f} %",
            f"{100 * scores.accuracy:.2f} % of {scores.documents:,}" if scores else "not measured (--data)",
        )
    plain_console(stderr=True, soft_wrap=True).print(table)
