"""`tanzaku classify`: texts in, labels out."""

import io
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO, cast

import typer

from tanzaku.cli.abstaining import Abstaining, Answers, Promise
from tanzaku.cli.bulk import Bulk
from tanzaku.cli.classifying import BundleName, Faults, Model, Output, Reading, folder_of
from tanzaku.cli.predictions import Format, Layout, unwritable, writer
from tanzaku.cli.skipped import Skipped
from tanzaku.cli.text_source import Source, source_of
from tanzaku.cli.threads import Threads
from tanzaku.display import plain_console
from tanzaku.ship.tally import Tally

if TYPE_CHECKING:
    from tanzaku.cli.partial import Partial
    from tanzaku.data.streaming import Row
    from tanzaku.ship.classifier import Classifier

SKIPPED_STATUS = 3
"""The exit status if rows were skipped and all others classified."""


def classify(
    bundle: BundleName,
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Texts, or a file as for --file; `-` or nothing: standard input."),
    ] = None,
    *,
    file: Annotated[
        Path | None,
        typer.Option(help="A .txt with one text per line, or a .csv, .tsv, .xlsx, .jsonl or .parquet file."),
    ] = None,
    reading: Reading,
    faults: Faults,
    output: Output,
    abstaining: Abstaining,
    promise: Promise,
    model: Model,
    bulk: Bulk,
    threads: Threads = None,
) -> None:
    """Classify texts with a bundle: one result per text, in order, in constant memory.

    An empty line is classified as an empty text and counted in a warning. Control and invisible characters are read
    as spaces or ignored. Results are written to standard output or to --out, progress and warnings to standard error.
    The exit status is 3 if --on-error skip skipped rows.

    Examples:

    ```
    tanzaku classify my-bundle 新しい映画を友だちと見る。
    tanzaku classify my-bundle reviews.csv --column body --format csv > labels.csv
    tanzaku classify my-bundle inquiries.xlsx --column 件名 --column 本文 --keep-columns --out labelled.xlsx
    tanzaku classify my-bundle reviews.jsonl --column body --on-error skip --out labels.jsonl --resume
    tanzaku classify my-bundle reviews.csv --column body --min-probability 80% --otherwise その他
    tanzaku classify my-bundle reviews.csv --column body --error-rate 2% --otherwise その他
    tanzaku classify my-bundle big.parquet --column body --engine ray --out labels/
    ```
    """
    source = source_of(texts or [], file, reading, keep_columns=output.keep_columns)
    bulk.check(source.file, output, faults, model, threads)
    abstaining.check(promise)
    skipped = Skipped() if faults.on_error == "skip" else None
    source.check(refuse=(lambda _: None) if skipped else None)
    with _begin(output) if output.out and bulk.engine == "inline" else nullcontext() as partial:
        folder = folder_of(bundle)
        classifier = model.load(folder)
        job = _Job(classifier, source, output, model, abstaining.answers(promise, classifier), skipped)
        _run_with_ray(job, folder, bulk) if bulk.engine == "ray" else _run(job, folder, partial)


def _run_with_ray(job: "_Job", bundle: Path, bulk: Bulk) -> None:
    file, out = job.source.file, job.output.out
    assert file is not None
    assert out is not None
    tally = bulk.classify(
        bundle,
        file,
        out,
        job.source.options,
        job.answers,
        encoder=job.model.encoder,
        precision=job.model.precision,
    )
    _report(tally, job, unit="row")


def _report(tally: Tally, job: "_Job", *, unit: str) -> None:
    tally.warn()
    job.answers.report(answered=tally.answered, texts=tally.texts)
    if job.output.out:
        _say_where(tally.texts, unit, job.output.out)


def _say_where(count: int, unit: str, out: Path) -> None:
    """Report on standard error how many labels there are and where they are."""
    counted = f"1 {unit} has a label" if count == 1 else f"{count:,} {unit}s have labels"
    plain_console(stderr=True, soft_wrap=True).print(f"{counted} in {out}")


def _begin(output: Output) -> "AbstractContextManager[Partial]":
    from tanzaku.cli.partial import Partial  # its notes are pydantic's, which --help does not need

    return Partial.begin(output)


def _run(job: "_Job", bundle: Path, partial: "Partial | None") -> None:
    try:
        tally = _to_file(job, partial, bundle) if partial else _to_standard_output(job)
    except BrokenPipeError:
        # Whoever read has enough, as `head` does. The rest of the buffer must go nowhere when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    _report(tally, job, unit="text")
    if job.skipped and job.skipped.count:
        job.skipped.warn()
        raise typer.Exit(SKIPPED_STATUS)


@dataclass(frozen=True)
class _Job:
    """What is to be done: texts from a source, by a classifier, as the options say."""

    classifier: "Classifier"
    source: Source
    output: Output
    model: Model
    answers: Answers
    skipped: Skipped | None

    @property
    def chunk(self) -> int:
        """How many texts are read ahead at most."""
        from tanzaku.ship.classifier import DEFAULT_CHUNK

        return self.output.chunk or DEFAULT_CHUNK

    def rows(self) -> "Iterator[tuple[int, Row]]":
        """The rows with their numbers, in which those that are skipped count too."""
        skipped = self.skipped
        if skipped is None:
            yield from enumerate(self.source.open(), start=1)
            return
        for place, row in enumerate(self.source.open(skipped.add), start=1):
            yield place + skipped.count, row

    def layout(self, *, columns: tuple[str, ...], begun: bool = False) -> Layout:
        """How a line is written, after others of an interrupted output if it has `begun`."""
        labels = self.classifier.label_names
        return Layout(
            label_names=labels,
            top=min(self.output.top, len(labels)),
            with_text=not self.output.no_text,
            width=plain_console().width if self.output.kind is Format.TABLE else 0,
            keeps_columns=self.source.keep_columns,
            columns=columns,
            abstains=self.answers.minimum is not None,
            otherwise=self.answers.otherwise,
            begun=begun,
        )


def _to_standard_output(job: _Job) -> Tally:
    if job.output.kind is not Format.TABLE:
        # Programs expect this encoding and line feeds, whatever the machine's defaults are.
        encoding = job.output.output_encoding or "utf-8"
        cast("io.TextIOWrapper", sys.stdout).reconfigure(encoding=encoding, newline="\n", errors="strict")
    tally = Tally()
    layout = job.layout(columns=job.source.columns())
    _classify(job, job.rows(), sys.stdout, layout, tally, after_each=lambda *_: sys.stdout.flush())
    sys.stdout.flush()
    return tally


def _to_file(job: _Job, partial: "Partial", bundle: Path) -> Tally:
    rows = job.rows()
    settings = _settings(job, bundle)
    with partial.open(rows, settings, columns=job.source.columns, chunk=job.chunk) as journal:
        layout = job.layout(columns=journal.columns, begun=journal.begun)
        _classify(job, journal.rows, journal.stream, layout, journal.tally, after_each=journal.note)
    partial.finish()
    return journal.tally


def _settings(job: _Job, bundle: Path) -> dict[str, object]:
    """What the output depends on, apart from the texts: an interrupted one is only continued with the same."""
    from tanzaku.files import sha256_of_file
    from tanzaku.ship.manifest import MANIFEST_FILE

    output = job.output
    return {
        "bundle": sha256_of_file(bundle / MANIFEST_FILE),
        "precision": job.model.precision,
        "device": job.model.device,
        "chunk": job.chunk,
        "format": output.kind.value,
        "encoding": output.output_encoding,
        "top": output.top,
        "no_text": output.no_text,
        "keep_columns": output.keep_columns,
        "minimum": job.answers.minimum,
        "otherwise": job.answers.otherwise,
        "skip": job.skipped is not None,
    }


def _classify(
    job: _Job,
    rows: "Iterator[tuple[int, Row]]",
    stream: TextIO,
    layout: Layout,
    tally: Tally,
    *,
    after_each: "Callable[[int, Row], object]",
) -> None:
    """Write all predictions and count their texts."""
    write = writer(job.output.kind, stream, layout)
    rows, again = itertools.tee(rows)
    texts = (row.text for _, row in rows)
    with _progress(always=job.output.out is not None) as advance:
        predictions = job.classifier.stream(
            texts,
            all_labels=job.output.top > 1,
            min_probability=job.answers.minimum,
            otherwise=job.answers.otherwise,
            chunk=job.chunk,
            done=tally.texts,
            listener=advance,
        )
        # The stream reads ahead; `tee` keeps what it has read, so the predictions come first.
        for prediction, (number, row) in zip(predictions, again, strict=True):
            try:
                write(number, row, prediction)
            except UnicodeEncodeError as error:
                raise unwritable(error, number, row) from error
            tally.add(number, row.text, answered=prediction.suggestion is None)
            after_each(number, row)


@contextmanager
def _progress(*, always: bool) -> Iterator[Callable[[int], None]]:
    """A count and a speed on standard error, if that is a terminal and results go elsewhere, `always` to a file."""
    if not sys.stderr.isatty() or (sys.stdout.isatty() and not always):
        yield lambda _: None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = plain_console(stderr=True)
    hidden = not console.is_terminal  # such as with TTY_COMPATIBLE=0
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} texts"), TextColumn("{task.fields[speed]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("texts", total=None, speed="")

        def advance(count: int) -> None:
            bar.advance(task, count)
            speed = bar.tasks[0].speed
            bar.update(task, speed="" if speed is None else f"{speed:,.0f}/s")

        yield advance
