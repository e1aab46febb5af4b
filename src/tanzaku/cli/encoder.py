"""`tanzaku encoder`: commands for encoders other than training."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tanzaku.cli.commands import Commands
from tanzaku.display import plain_console
from tanzaku.files import check_new, check_writable

app = typer.Typer(cls=Commands, help="Export an encoder.", no_args_is_help=True, rich_markup_mode="markdown")


class Dtype(StrEnum):
    """The data types that `export` accepts."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"
    Q4 = "q4"


@app.command()
def export(
    encoder: Annotated[str, typer.Argument(metavar="ENCODER", help="Folder, Hub id or name of the encoder.")],
    out: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write, new or empty.")],
    dtype: Annotated[
        Dtype,
        typer.Option(
            help="Data type of the written weights. transformers opens float16 and float32; q4 takes 4.5 bits per "
            "weight, only Tanzaku reads it, and it is only possible for weights that were once rounded to 4 bits, "
            "such as those of tanzaku-mini or of an encoder trimmed from it."
        ),
    ] = Dtype.FLOAT16,
) -> None:
    """Write an encoder as a folder that `transformers` opens, or in a smaller format that only Tanzaku reads.

    The folder contains config, tokenizer, weights, and the encoder's model card and licence. Its path is written to
    standard output.

    Examples:

    ```
    tanzaku encoder export tanzaku-mini tanzaku-mini-float16
    tanzaku encoder export tanzaku-mini tanzaku-mini-q4 --dtype q4
    ```
    """
    from tanzaku.encoders.export import export_encoder
    from tanzaku.encoders.source import resolve_encoder

    check_new(out)
    check_writable(out, replaced=True)
    exported = export_encoder(resolve_encoder(encoder), out, dtype=dtype.value)
    plain_console(stderr=True).print(
        f"{exported.parameters / 1e6:.1f} M parameters, {exported.bytes_before / 1e6:.1f} MB before, "
        f"{exported.bytes_after / 1e6:.1f} MB in {dtype.value}",
        soft_wrap=True,
    )
    typer.echo(out)
