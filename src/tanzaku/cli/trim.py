"""`tanzaku trim`: reduce an encoder's vocabulary to what Japanese and some texts need."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from tanzaku.cli.messages import warn
from tanzaku.display import plain_console
from tanzaku.files import check_new, check_writable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tanzaku.encoders.trimming.record import TrimmingRecord


@dataclass(frozen=True)
class Trimming:
    """Options for which pieces of a vocabulary are kept."""

    min_count: Annotated[int, typer.Option(min=1, help="Keep pieces that occur at least this often in the texts.")] = 3
    max_pieces: Annotated[
        int | None,
        typer.Option(
            min=1, help="Of these, keep at most this many, the most frequent ones, besides those that are always kept."
        ),
    ] = None
    characters: Annotated[
        Literal["japanese", "seen"],
        typer.Option(help="Also keep every character of ASCII and JIS X 0208, or only those seen in the texts."),
    ] = "japanese"
    held_out: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.5,
            help="Share of the lines that are only used for checking, not for counting; at least one line unless it "
            "is 0.",
        ),
    ] = 0.05
    dtype: Annotated[
        Literal["stored", "float32", "float16"],
        typer.Option(
            help="Data type of the written weights. stored keeps that of the encoder; if this is q4, as for "
            "tanzaku-mini, only Tanzaku reads the result."
        ),
    ] = "stored"


def trim(
    encoder: Annotated[str, typer.Argument(metavar="ENCODER", help="Folder, Hub id or name of the encoder.")],
    texts: Annotated[
        list[Path],
        typer.Option(
            metavar="PATH", help="Text file (also .xz and .gz) or a folder of them; may be given several times."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the trimmed encoder, new or empty.")],
    trimming: Trimming,
) -> None:
    """Reduce an encoder's vocabulary to the pieces that Japanese and your texts need.

    Most parameters of a multilingual encoder are the embeddings of pieces of other languages. Texts that consist only
    of kept pieces are tokenized as before and get the same hidden states, which is checked on held-out lines. A warning
    is shown if none of these lines can be compared. The encoder's path is written to standard output, progress and a
    table to standard error.

    Examples:

    ```
    tanzaku trim intfloat/multilingual-e5-base --texts texts/ --out e5-base-ja
    tanzaku trim sentence-transformers/LaBSE --texts texts/ --out labse-ja --max-pieces 20000 --dtype float16
    ```
    """
    from tanzaku.encoders.source import resolve_encoder
    from tanzaku.encoders.trimming.record import TextFacts
    from tanzaku.encoders.trimming.trim import trim as cut
    from tanzaku.pretraining.sources import find_sources, read_lines

    check_new(out)
    check_writable(out, replaced=True)
    sources = find_sources(texts)
    source = resolve_encoder(encoder)
    with _progress(sum(text.size for text in sources)) as advance:
        record = cut(
            source,
            (line.strip() for text in sources for line in read_lines(text, progress=advance)),
            out,
            texts=[TextFacts(name=text.path.name, sha256=text.sha256) for text in sources],
            **asdict(trimming),
        )
    _describe(record, plain_console(stderr=True))
    typer.echo(out)


@contextmanager
def _progress(total: int) -> "Iterator[Callable[[int], None]]":
    """A bar over the bytes of the text files, with the time left, where standard error is a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = plain_console(stderr=True)
    columns = (TextColumn("counting pieces"), BarColumn(), TextColumn("{task.percentage:.0f} %"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda size: bar.advance(task, size)


def _describe(record: "TrimmingRecord", console: Console) -> None:
    from rich.table import Table

    table = Table("", "before", "after")
    for name, before, after in (
        ("pieces", f"{record.before.pieces:,}", f"{record.after.pieces:,}"),
        ("parameters (M)", f"{record.before.parameters / 1e6:.1f}", f"{record.after.parameters / 1e6:.1f}"),
        ("MB", f"{record.before.bytes / 1e6:.1f}", f"{record.after.bytes / 1e6:.1f}"),
    ):
        table.add_row(name, before, after)
    if (held_out := record.held_out) is not None:
        per_line = [f"{tokens / held_out.lines:.1f}" for tokens in (held_out.tokens_before, held_out.tokens)]
        table.add_row("tokens per held-out line", *per_line)
        unknown = [f"{100 * share:.3f}" for share in (held_out.unknown_before, held_out.unknown)]
        table.add_row("unknown tokens (%)", *unknown)
    console.print(table)
    if held_out is not None:
        console.print(
            f"{100 * held_out.coverage:.2f} % of the tokens of {held_out.lines:,} held-out lines are kept pieces.",
            soft_wrap=True,
        )
    _describe_parity(record, console)


def _describe_parity(record: "TrimmingRecord", console: Console) -> None:
    if (parity := record.parity) is not None:
        console.print(
            f"{parity.lines:,} of these lines have only kept pieces and the same tokens as before; the hidden states "
            f"of {parity.states_lines} differ by at most {parity.largest_difference:.1e}.",
            soft_wrap=True,
        )
    elif record.held_out is not None:
        warn(
            "tokens and hidden states were not compared with the original's, because none of the held-out lines "
            f"({record.held_out.lines:,}) has only kept pieces; for this check, give more texts or a larger --held-out"
        )
    else:
        warn(
            "tokens and hidden states were not compared with the original's, because no line was held out; for this "
            "check, give two or more lines and a --held-out above 0"
        )
