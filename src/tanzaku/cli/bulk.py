"""The options and the work of `tanzaku classify --engine ray`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tanzaku.cli.abstaining import Answers
from tanzaku.cli.classifying import Faults, Model, Output
from tanzaku.display import plain_console
from tanzaku.errors import DataError

if TYPE_CHECKING:
    from tanzaku.data.options import ReadOptions
    from tanzaku.ship.scorers import Precision
    from tanzaku.ship.tally import Tally

_PANEL = "Ray (--engine ray)"


@dataclass(frozen=True)
class Bulk:
    """Options for classifying a large file with Ray Data."""

    engine: Annotated[
        Literal["inline", "ray"],
        typer.Option(
            help="inline: this process. ray: Ray Data on this machine or a cluster, for a Parquet or JSONL file of any "
            "size; the labels go into the folder --out."
        ),
    ] = "inline"
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of a Ray cluster.",
            show_default="Ray is started on this machine",
            rich_help_panel=_PANEL,
        ),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of workers, each with a model.",
            show_default="as many as there is room for",
            rich_help_panel=_PANEL,
        ),
    ] = None
    cpus_per_worker: Annotated[
        int, typer.Option(min=1, help="Number of CPUs and threads of a worker.", rich_help_panel=_PANEL)
    ] = 1
    gpus_per_worker: Annotated[
        float, typer.Option(min=0, help="Number of GPUs of a worker.", rich_help_panel=_PANEL)
    ] = 0
    shard_rows: Annotated[
        int, typer.Option(min=1, help="Number of rows in each file of labels.", rich_help_panel=_PANEL)
    ] = 20_000

    def check(self, file: Path | None, output: Output, faults: Faults, model: Model, threads: int | None) -> None:
        """Refuse options that can't be combined, before a model is loaded; `file` is None for other texts."""
        if self.engine == "ray":
            if file is None or output.out is None:
                raise DataError("--engine ray needs a .parquet or .jsonl file, and a folder for the labels with --out")
            ignored = {
                "format": output.format,
                "top": output.top > 1,
                "no-text": output.no_text,
                "keep-columns": output.keep_columns,
                "output-encoding": output.output_encoding,
                "resume": output.resume,
                "force": output.force,
                "on-error": faults.on_error != "stop",
                "chunk": output.chunk is not None,
            }
            if given := [name for name, value in ignored.items() if value]:
                raise DataError(f"--{given[0]} has no effect with --engine ray; leave it out")
            if model.device != "auto":
                raise DataError(
                    "--device has no effect with --engine ray, whose workers compute on the CPU unless "
                    "--gpus-per-worker gives them GPUs; leave it out"
                )
            if threads is not None:
                raise DataError(
                    "--threads has no effect with --engine ray, whose workers compute with as many threads as "
                    "--cpus-per-worker; leave it out"
                )
            return
        output.check()
        for one in fields(self):
            if getattr(self, one.name) != one.default:
                raise DataError(f"--{one.name.replace('_', '-')} only has an effect with --engine ray; give it too")

    def classify(
        self,
        bundle: Path,
        file: Path,
        out: Path,
        reading: "ReadOptions",
        answers: Answers,
        *,
        encoder: str | None,
        precision: "Precision",
    ) -> "Tally":
        """Classify a file into the folder of labels, and give what was counted."""
        from tanzaku.ship.bulk import BulkOptions, classify_file

        options = BulkOptions(
            address=self.address,
            workers=self.workers,
            cpus_per_worker=self.cpus_per_worker,
            gpus_per_worker=self.gpus_per_worker,
            shard_rows=self.shard_rows,
            min_probability=answers.minimum,
            otherwise=answers.otherwise,
            encoder=encoder,
            precision=precision,
        )
        with _progress() as listen:
            return classify_file(bundle, file, out, reading=reading, options=options, listener=listen)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar with the speed and the time left, on a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = plain_console(stderr=True)
    columns = (TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("rows", total=0)
        yield lambda done, total: bar.update(task, completed=done, total=total)
