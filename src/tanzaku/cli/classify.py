"""`tanzaku classify`: texts in, labels out."""

import io
import itertools
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from tanzaku.cli.abstaining import Abstaining, Answers, Promise
from tanzaku.cli.bulk import Bulk
from tanzaku.cli.predictions import Format, Layout, writer
from tanzaku.cli.reading import LINE_BREAK, Delimiter, Encoding, NoQuotes, Sheet, TextSeparator, unescaped
from tanzaku.cli.threads import Threads
from tanzaku.display import plain_console
from tanzaku.errors import DataError, TanzakuWarning

if TYPE_CHECKING:
    from collections.abc import Generator

    from tanzaku.cli.predictions import Write
    from tanzaku.data.options import ReadOptions
    from tanzaku.data.streaming import Row
    from tanzaku.ship.classifier import Classifier

_STANDARD_INPUT = "-"


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
class Output:
    """Options for printing labels."""

    format: Annotated[
        Format | None, typer.Option(help="Output format.", show_default="table on a terminal, otherwise jsonl")
    ] = None
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

    @property
    def kind(self) -> Format:
        """The format; if not given, it depends on where the output goes."""
        return self.format or (Format.TABLE if sys.stdout.isatty() else Format.JSONL)

    def check(self) -> None:
        """Refuse options that can't be combined, before a model is loaded."""
        if self.keep_columns and self.kind is Format.TABLE:
            raise DataError(
                "--keep-columns needs --format csv, tsv or jsonl; a table only shows the beginning of each text"
            )
        if (encoding := self.output_encoding) is None:
            return
        if self.kind is Format.TABLE:
            raise DataError(
                f"--output-encoding {encoding} needs --format csv, tsv or jsonl; a table is only for the terminal"
            )
        try:
            io.TextIOWrapper(io.BytesIO(), encoding=encoding)  # also refuses codecs of other kinds, such as rot13
        except LookupError as error:
            raise DataError(
                f"--output-encoding {encoding!r} is not a known text encoding; use utf-8, utf-8-sig or cp932"
            ) from error


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
    chunk: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of texts to read ahead; 1: classify each text as it arrives.", show_default="2048"
        ),
    ] = None

    def load(self, bundle: Path) -> "Classifier":
        """The classifier of a bundle."""
        from tanzaku.ship.classifier import Classifier

        return Classifier.load(bundle, encoder=self.encoder, precision=self.precision, device=self.device)


@dataclass(frozen=True)
class _Source:
    """Where the texts come from: as arguments, or from a file (`-` is standard input)."""

    texts: tuple[str, ...]
    file: Path | None
    options: "ReadOptions"
    keep_columns: bool

    def open(self) -> "Iterator[Row]":
        """The texts with their rows, read as they are taken."""
        from tanzaku.data.streaming import Row, stream_lines, stream_rows

        if self.texts:
            return map(Row, self.texts)
        if self.file is None:
            return map(Row, stream_lines(sys.stdin.buffer, name="standard input", encoding=self.options.encoding))
        return stream_rows(self.file, self.options, keep_columns=self.keep_columns)

    def columns(self) -> tuple[str, ...]:
        """The columns to be kept, as far as they are known before the first row."""
        from tanzaku.data.streaming import column_names

        if not self.keep_columns or self.file is None:
            return ()
        return column_names(self.file, self.options)

    def check(self) -> None:
        """Read the first text of a file, so that a missing column is reported before a model is loaded."""
        if self.file is not None:
            with closing(cast("Generator[Row]", self.open())) as rows:
                next(rows, None)


def classify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder that `tanzaku pack` wrote.")],
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
    output: Output,
    abstaining: Abstaining,
    promise: Promise,
    model: Model,
    bulk: Bulk,
    threads: Threads = None,
) -> None:
    """Classify texts with a bundle: one result per text, in order, in constant memory.

    An empty line is classified as an empty text and counted in a warning. Control and invisible characters are read
    as spaces or ignored. Results are written to standard output, progress and warnings to standard error.

    Examples:

    ```
    tanzaku classify my-bundle 新しい映画を友だちと見る。
    tanzaku classify my-bundle reviews.csv --column body --format csv > labels.csv
    tanzaku classify my-bundle reviews.csv --column body --format csv --keep-columns > labelled.csv
    tanzaku classify my-bundle inquiries.xlsx --column 件名 --column 本文 --format csv --keep-columns > labelled.csv
    cat texts.txt | tanzaku classify my-bundle --top 3
    tanzaku classify my-bundle reviews.csv --column body --min-probability 80% --otherwise その他
    tanzaku classify my-bundle reviews.csv --column body --error-rate 2% --otherwise その他
    tanzaku classify my-bundle big.parquet --column body --engine ray --out labels/
    ```
    """
    del threads  # settled already
    source = _source(texts or [], file, reading, keep_columns=output.keep_columns)
    output.check()
    abstaining.check(promise)
    bulk.check(source.file, format=output.format, top=output.top > 1, keep_columns=output.keep_columns)
    source.check()
    classifier = model.load(bundle)
    answers = abstaining.answers(promise, classifier)
    if bulk.engine == "ray" and source.file:
        bulk.classify(bundle, source.file, source.options, answers, encoder=model.encoder, precision=model.precision)
        return
    _print(classifier, source, output, answers, chunk=model.chunk)


def _print(classifier: "Classifier", source: _Source, output: Output, answers: Answers, *, chunk: int | None) -> None:
    try:
        write = _writer(output, classifier, source, answers)
        _warn_of(*_classify(classifier, source.open(), write, answers, all_labels=output.top > 1, chunk=chunk))
        answers.report()
    except BrokenPipeError:
        # Whoever read has enough, as `head` does. The rest of the buffer must go nowhere when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _source(texts: list[str], file: Path | None, given: Reading, *, keep_columns: bool) -> _Source:
    column = given.column
    if file is None:
        file = _file_among(texts)
        texts = [] if file else texts
    piped = texts == [_STANDARD_INPUT] or (not texts and file is None) or file == Path(_STANDARD_INPUT)
    if texts and file is not None:
        raise DataError("texts and --file were both given; give one of them")
    if keep_columns and (piped or texts):
        raise DataError("--keep-columns needs a file with columns; texts and standard input have no columns")
    if column and (piped or texts):
        raise DataError(f"--column {column[0]} needs a file with columns; texts and standard input have no columns")
    if not texts and file is None and sys.stdin.isatty():
        raise DataError("no texts: give them as arguments, with --file, or pipe them in, one per line")
    return _Source(
        texts=() if piped else tuple(texts),
        file=None if piped else file,
        options=given.options(),
        keep_columns=keep_columns,
    )


def _file_among(texts: list[str]) -> Path | None:
    """The file among the arguments, if any: a file name is hardly a text to classify."""
    from tanzaku.data.streaming import is_file_name

    for text in texts:
        if os.path.isdir(text):  # noqa: PTH112 - as below
            raise DataError(
                f"{text} is a folder. Name a file of texts in it (.txt, .csv, .tsv, .xlsx, .jsonl or .parquet); to "
                "classify the name itself, pipe it in."
            )
        is_file = os.path.isfile(text)  # noqa: PTH113 - unlike Path's, it takes a text of any length
        if not is_file and not is_file_name(text):
            continue
        if not is_file:
            raise DataError(f"{text}: there is no such file. Check the path; to classify the name itself, pipe it in.")
        if len(texts) > 1:
            raise DataError(f"{text} is a file, and other texts were given too. Give one file, or only texts.")
        return Path(text)
    return None


def _writer(output: Output, classifier: "Classifier", source: _Source, answers: Answers) -> "Write":
    layout = Layout(
        label_names=classifier.label_names,
        top=min(output.top, len(classifier.label_names)),
        with_text=not output.no_text,
        width=plain_console().width,
        keeps_columns=source.keep_columns,
        columns=source.columns(),
        abstains=answers.minimum is not None,
        otherwise=answers.otherwise,
    )
    if output.kind is not Format.TABLE:
        # Programs expect this encoding and line feeds, whatever the machine's defaults are.
        encoding = output.output_encoding or "utf-8"
        cast("io.TextIOWrapper", sys.stdout).reconfigure(encoding=encoding, newline="\n", errors="strict")
    return writer(output.kind, sys.stdout, layout)


@dataclass
class _Numbers:
    """The numbers of some texts: how many, and the first five."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.first)) + (", …" if self.count > len(self.first) else "")
        return f"(number {shown})"

    def __bool__(self) -> bool:
        return self.count > 0

    def add(self, number: int) -> None:
        self.count += 1
        if len(self.first) < 5:
            self.first.append(number)


def _classify(
    classifier: "Classifier",
    rows: "Iterator[Row]",
    write: "Write",
    answers: Answers,
    *,
    all_labels: bool,
    chunk: int | None,
) -> tuple[_Numbers, _Numbers]:
    """Write all predictions; return the texts that are empty, and the others whose characters were changed."""
    from tanzaku.data.characters import clean_text
    from tanzaku.ship.classifier import DEFAULT_CHUNK

    empty, changed = _Numbers(), _Numbers()
    rows, again = itertools.tee(rows)
    texts = (row.text for row in rows)
    with _progress() as advance:
        predictions = classifier.stream(
            texts,
            all_labels=all_labels,
            min_probability=answers.minimum,
            otherwise=answers.otherwise,
            chunk=chunk or DEFAULT_CHUNK,
            listener=advance,
        )
        # The stream reads ahead; `tee` keeps what it has read, so the predictions come first.
        for number, (prediction, row) in enumerate(zip(predictions, again, strict=True), start=1):
            try:
                write(number, row, prediction)
            except UnicodeEncodeError as error:
                raise DataError(
                    f"text {number} contains {error.object[error.start]!r}, which {error.encoding} can't encode; use "
                    "--output-encoding utf-8-sig, which Excel opens too"
                ) from error
            sys.stdout.flush()
            answers.add(prediction)
            readable = clean_text(row.text)
            if not readable.strip():
                empty.add(number)
            elif readable != row.text:
                changed.add(number)
    sys.stdout.flush()
    return empty, changed


def _warn_of(empty: _Numbers, changed: _Numbers) -> None:
    if empty:
        texts_are = "1 text is empty" if empty.count == 1 else f"{empty.count:,} texts are empty"
        warnings.warn(f"{texts_are} {empty}: the label of an empty text is meaningless", TanzakuWarning, stacklevel=2)
    if changed:
        texts_contain = "1 text contains" if changed.count == 1 else f"{changed.count:,} texts contain"
        warnings.warn(
            f"{texts_contain} control or invisible characters {changed}: they are read as spaces or ignored",
            TanzakuWarning,
            stacklevel=2,
        )


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """A count and a speed on standard error, only if that is a terminal and results go elsewhere."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = plain_console(stderr=True)
    shown = console.is_terminal and not sys.stdout.isatty()
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} texts"), TextColumn("{task.fields[speed]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("texts", total=None, speed="")

        def advance(count: int) -> None:
            bar.advance(task, count)
            speed = bar.tasks[0].speed
            bar.update(task, speed="" if speed is None else f"{speed:,.0f}/s")

        yield advance
