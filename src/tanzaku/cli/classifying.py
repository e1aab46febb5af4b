"""The options of `tanzaku classify`: how texts are read, how a bundle is loaded, and how labels are written."""

import gc
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tanzaku.cli.predictions import Format
from tanzaku.cli.reading import LINE_BREAK, Delimiter, Encoding, NoQuotes, Sheet, TextSeparator, unescaped
from tanzaku.errors import DataError
from tanzaku.extras import require_extra

if TYPE_CHECKING:
    from tanzaku.data.options import ReadOptions
    from tanzaku.ship.classifier import Classifier

_FORMATS = {".jsonl": Format.JSONL, ".ndjson": Format.JSONL, ".csv": Format.CSV, ".tsv": Format.TSV, ".tab": Format.TSV}
_FORMATS[".xlsx"] = Format.XLSX


BundleName = Annotated[
    str,
    typer.Argument(metavar="BUNDLE", help="Folder that `tanzaku fit` or `pack` wrote, or hf://owner/name[@revision]."),
]


@contextmanager
def _collecting_less() -> Iterator[None]:
    """Look for unreachable objects less often while modules and vocabularies are loaded, whose objects all stay."""
    usual = gc.get_threshold()
    gc.set_threshold(50_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


@_collecting_less()
def folder_of(bundle: str) -> Path:
    """The folder of a bundle that was named on the command line."""
    from tanzaku.ship.hub import bundle_folder

    return bundle_folder(bundle)


@dataclass(frozen=True)
class Reading:
    """Options for reading a file of texts."""

    column: Annotated[
        list[str] | None,
        typer.Option(
            help="Column or JSON key of the file that has the texts; several are joined in this order.",
            show_default="text",
        ),
    ] = None
    text_separator: TextSeparator = LINE_BREAK
    delimiter: Delimiter = None
    sheet: Sheet = None
    encoding: Encoding = "utf-8"
    no_quotes: NoQuotes = False

    def options(self) -> "ReadOptions":
        """As the readers take them."""
        from tanzaku.data.options import ReadOptions

        return ReadOptions(
            text_column=self.column or "text",
            text_separator=unescaped(self.text_separator),
            encoding=self.encoding,
            delimiter=self.delimiter,
            quotes=not self.no_quotes,
            sheet=self.sheet,
        )


@dataclass(frozen=True)
class Faults:
    """What becomes of rows that can't be read."""

    on_error: Annotated[
        Literal["stop", "skip"],
        typer.Option(help="If a row can't be read: stop with an error, or report the row and skip it (exit status 3)."),
    ] = "stop"


@dataclass(frozen=True)
class Output:
    """Options for printing labels."""

    format: Annotated[
        Format | None,
        typer.Option(
            help="Output format.", show_default="by the ending of --out; table on a terminal; otherwise jsonl"
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write to this .csv, .tsv, .jsonl or .xlsx file, which is complete or does not exist; with --engine "
            "ray, a folder with a file for each shard.",
            show_default="standard output",
        ),
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="With --out: continue an interrupted classification where it stopped.")
    ] = False
    force: Annotated[
        bool, typer.Option("--force", help="With --out: replace the file, and what an interruption left.")
    ] = False
    top: Annotated[int, typer.Option(min=1, help="Number of labels to show per text, the likeliest first.")] = 1
    no_text: Annotated[bool, typer.Option("--no-text", help="Print labels without their texts.")] = False
    keep_columns: Annotated[
        bool, typer.Option("--keep-columns", help="Print all columns of the file, followed by the label.")
    ] = False
    output_encoding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Encoding of CSV, TSV and JSONL output; Excel opens utf-8-sig, and in Japan also cp932.",
            show_default="utf-8",
        ),
    ] = None
    chunk: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of texts to read ahead; 1: classify each text as it arrives.", show_default="2048"
        ),
    ] = None

    @property
    def kind(self) -> Format:
        """The format; if not given, it depends on where the output goes."""
        if self.format is not None:
            return self.format
        if self.out is not None:
            return _FORMATS.get(self.out.suffix.lower(), Format.JSONL)
        return Format.TABLE if sys.stdout is not None and sys.stdout.isatty() else Format.JSONL

    def check(self) -> None:
        """Refuse options that can't be combined, before a model is loaded."""
        self._check_out()
        if self.keep_columns and self.kind is Format.TABLE:
            raise DataError(
                "--keep-columns needs --format csv, tsv or jsonl; a table only shows the beginning of each text"
            )
        if self.keep_columns and self.no_text:
            raise DataError("--no-text has no effect with --keep-columns, which keeps the column of the texts too")
        if (encoding := self.output_encoding) is None:
            return
        if self.kind in (Format.TABLE, Format.XLSX):
            reason = "a table is only for the terminal" if self.kind is Format.TABLE else "an .xlsx file has its own"
            raise DataError(f"--output-encoding {encoding} needs --format csv, tsv or jsonl; {reason}")
        try:
            io.TextIOWrapper(io.BytesIO(), encoding=encoding)  # also refuses codecs of other kinds, such as rot13
        except LookupError as error:
            raise DataError(
                f"--output-encoding {encoding!r} is not a known text encoding; use utf-8, utf-8-sig or cp932"
            ) from error

    def _check_out(self) -> None:
        if self.out is None:
            if self.kind is Format.XLSX:
                raise DataError("--format xlsx needs --out FILE; a workbook can't be written to standard output")
            if self.resume or self.force:
                option = "--resume" if self.resume else "--force"
                raise DataError(f"{option} only has an effect with --out FILE; give both or neither")
            return
        if self.kind is Format.TABLE:
            raise DataError(f"--format table is for the terminal; write {self.out} as csv, tsv, jsonl or xlsx")
        if self.format is None and self.out.suffix.lower() not in _FORMATS:
            raise DataError(
                f"--out {self.out}: can't tell the format from the ending {self.out.suffix!r}; use one of "
                f"{', '.join(_FORMATS)}, or give --format"
            )
        if self.kind is Format.XLSX:
            require_extra("xlsx", purpose=f"writing {self.out}")
        if self.resume and self.force:
            raise DataError("--resume continues what --force would remove; give one of them")


@dataclass(frozen=True)
class Model:
    """Options for loading and running a bundle."""

    encoder: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where the bundle's encoder is, if not under its name.")
    ] = None
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(help="Numerical precision; auto: the precision of the run."),
    ] = "auto"
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Device to run on.")] = "auto"

    @_collecting_less()
    def load(self, bundle: Path) -> "Classifier":
        """The classifier of a bundle."""
        from tanzaku.ship.classifier import Classifier

        return Classifier.load(bundle, encoder=self.encoder, precision=self.precision, device=self.device)
