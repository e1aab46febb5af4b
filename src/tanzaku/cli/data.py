"""`tanzaku data`: prepare documents as the three splits that a study uses."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from tanzaku.cli.commands import Commands
from tanzaku.cli.json_text import json_text
from tanzaku.cli.messages import command, warn
from tanzaku.cli.options import with_options
from tanzaku.cli.reading import Reading
from tanzaku.display import counted, plain_console
from tanzaku.errors import DataError
from tanzaku.files import check_writable

if TYPE_CHECKING:
    from tanzaku.data.download import Progress
    from tanzaku.data.prepared import Preparation
    from tanzaku.data.readers import Source

app = typer.Typer(
    cls=Commands,
    help="Prepare documents as the three splits that a study uses: the Livedoor corpus, your own, or the sample.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts, instead of a table.")]


@dataclass(frozen=True)
class Target:
    """Options for where prepared data is written."""

    out: Annotated[
        Path, typer.Option("--out", help="The folder to write train.csv, val.csv, test.csv and manifest.json to.")
    ]
    force: Annotated[
        bool, typer.Option("--force", help="Replace other prepared data that is already in the folder.")
    ] = False
    as_json: AsJson = False


@dataclass(frozen=True)
class Corpus:
    """Options for where the Livedoor corpus is."""

    archive: Annotated[
        Path | None,
        typer.Option(help="The corpus as .tar.gz, .tgz, .tar or unpacked folder. Default: download it."),
    ] = None
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Where the download is kept. Default: TANZAKU_CACHE, or tanzaku in XDG_CACHE_HOME or ~/.cache."
        ),
    ] = None

    @contextmanager
    def unpacked(self) -> "Iterator[tuple[Path, dict[str, Any]]]":
        """The corpus as a folder, downloaded if necessary, and where it comes from."""
        from tanzaku.data.livedoor import unpacked

        with (
            _download_bar(wanted=self.archive is None) as on_progress,
            unpacked(self.archive, cache=self.cache, on_progress=on_progress) as folder_and_source,
        ):
            yield folder_and_source


@app.command()
@with_options
def livedoor(
    target: Target,
    corpus: Corpus,
    text: Annotated[
        str,
        typer.Option(help="`thesis`: the thesis's texts; `unsigned`: without the sites' names and signatures."),
    ] = "thesis",
    keep_duplicates_together: Annotated[
        bool | None,
        typer.Option(
            "--keep-duplicates-together/--split-duplicates",
            help="Keep articles with the same body in the same split, or each in the split of the thesis. "
            "Default: kept together in unsigned texts, otherwise as in the thesis.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Prepare the Livedoor News Corpus as the thesis does, and print its Table 3.1.

    Examples:

    ```
    tanzaku data livedoor --out data/livedoor
    tanzaku data livedoor --archive ldcc-20140209.tar.gz --out data/livedoor
    tanzaku data livedoor --text unsigned --out data/livedoor-unsigned
    tanzaku data livedoor --text unsigned --split-duplicates --out data/livedoor-unsigned-split
    ```
    """
    from tanzaku.data.livedoor import PUBLISHED_ARTICLES, THESIS_NOTE, cleaning_named, prepare_livedoor

    check_writable(target.out)
    cleaning = cleaning_named(text)  # before the download, which would be wasted
    with corpus.unpacked() as (folder, source):
        preparation = prepare_livedoor(
            folder, text=cleaning, keep_duplicates_together=keep_duplicates_together, source=source
        )
    is_thesis = cleaning == "thesis" and not keep_duplicates_together
    _write(
        preparation,
        target,
        title="Livedoor News Corpus" + (" (the thesis's Table 3.1)" if is_thesis else f", {cleaning}"),
        order=list(PUBLISHED_ARTICLES),
        note=THESIS_NOTE if is_thesis else None,
    )


@dataclass(frozen=True)
class Splits:
    """Options for the files of data that is already split."""

    train: Annotated[Path | None, typer.Option(help="If the data is already split: the training documents.")] = None
    val: Annotated[Path | None, typer.Option(help="… the validation documents. Default: taken from train.")] = None
    test: Annotated[Path | None, typer.Option(help="… the test documents.")] = None

    def __bool__(self) -> bool:
        """Whether any was given."""
        return any((self.train, self.val, self.test))

    def paths(self) -> dict[str, Path]:
        """Those that were given, by split."""
        every = {"train": self.train, "val": self.val, "test": self.test}
        return {split: path for split, path in every.items() if path is not None}


@dataclass(frozen=True)
class Splitting:
    """Options for splitting documents."""

    train_size: Annotated[
        float | None, typer.Option(help="Share of each class for training; the test set gets the rest. Default: 0.8.")
    ] = None
    val_size: Annotated[float | None, typer.Option(help="Share of each class for validation. Default: 0.1.")] = None
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="Seed of the split. Default: 42.")] = None
    split_duplicates: Annotated[
        bool, typer.Option("--split-duplicates", help="Allow rows with the same text in different splits.")
    ] = False

    def given(self) -> list[str]:
        """The names of those that were given."""
        every = {
            "--train-size": self.train_size is not None,
            "--val-size": self.val_size is not None,
            "--seed": self.seed is not None,
            "--split-duplicates": self.split_duplicates,
        }
        return [option for option, was_given in every.items() if was_given]


@app.command("import")
@with_options
def import_(
    target: Target,
    splits: Splits,
    reading: Reading,
    splitting: Splitting,
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="SOURCE",
            help="A file or a folder per class, to be split; or a folder with train.csv, val.csv and test.csv; "
            "or - for standard input.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set. Default: the file's name.")] = None,
) -> None:
    """Prepare your own documents: CSV, TSV, .xlsx, JSONL, Parquet, or a folder per class.

    Everything that is wrong with a file is reported at once, with the rows and the remedies, and nothing is written.

    Examples:

    ```
    tanzaku data import reviews.csv --text-column body --label-column stars --out data/reviews
    tanzaku data import mails/ --encoding cp932 --train-size 0.6 --val-size 0.2 --out data/mails
    tanzaku data import inquiries.xlsx --text-column 件名 --text-column 本文 --label-column 分類 --out data/inquiries
    tanzaku data import inquiries.csv --normalize-labels --merge-small 10:その他 --group-column 顧客 --out data/i
    tanzaku data import --train train.jsonl --val dev.jsonl --test test.jsonl --out data/split
    zcat reviews.csv.gz | tanzaku data import - --out data/piped
    ```
    """
    check_writable(target.out)
    preparation = _imported(source, splits, splitting, name=name, reading=reading)
    _write(preparation, target, title=preparation.dataset.name)


def _next_commands(data: Path) -> str:
    """The commands that find a classifier for prepared data, and that compare methods on it or, where no study file is
    at hand, show it."""
    bundle = data.parent / f"{data.resolve().name}-classifier"
    fit = command("fit", data, "--out", bundle)
    study = Path("studies") / "quickstart.toml"
    if not study.is_file():
        study = Path(__file__).parents[3] / study  # of the cloned folder
    if not study.is_file():
        return f"Next: {fit}\n  or: {command('data', 'show', data)}"
    runs = Path("runs") / data.resolve().name
    compare = command("study", "run", study, "--set", f"data.source={data}", "--out", runs)
    return f"Next: {fit}\n  or: {compare}"


def _imported(
    source: Path | None, splits: Splits, splitting: Splitting, *, name: str | None, reading: Reading
) -> "Preparation":
    """What `import_` was given: one source to be split, or data that is already split."""
    from tanzaku.data.importing import DEFAULT_RATIOS, DEFAULT_SEED, files_of_splits, import_documents, import_splits
    from tanzaku.data.split import Ratios

    options = reading.options()
    common: dict[str, Any] = {
        "name": name,
        "seed": DEFAULT_SEED if splitting.seed is None else splitting.seed,
        "keep_duplicates_together": not splitting.split_duplicates,
        "reading": options,
    }
    if (source is None) == (not splits) or (splits and not (splits.train and splits.test)):
        raise DataError(
            "give either one SOURCE to be split, or --train and --test (and --val, if there is one) for data that "
            "is already split."
        )
    files = splits.paths() if source is None else files_of_splits(source, options)
    # Without a validation set, one is taken from train as the other options say.
    useless = [option for option in splitting.given() if files and ("val" in files or option == "--train-size")]
    if useless:
        raise DataError(
            f"{', '.join(useless)} can't have an effect here: this data is already split. Leave "
            f"{'it' if len(useless) == 1 else 'them'} out, or give a SOURCE to be split."
        )
    val_share = DEFAULT_RATIOS.val if splitting.val_size is None else splitting.val_size
    if source is None:
        return import_splits(train=splits.train, val=splits.val, test=splits.test, val_size=val_share, **common)
    train_share = DEFAULT_RATIOS.train if splitting.train_size is None else splitting.train_size
    return import_documents(_piped(source) or source, ratios=Ratios(train=train_share, val=val_share), **common)


def _piped(source: Path) -> "Source | None":
    """Standard input, if that is the source."""
    from tanzaku.data.readers import Source

    if source != Path("-"):
        return None
    if sys.stdin is None or sys.stdin.isatty():
        raise DataError("standard input is a terminal or closed; pipe a file in, or name one as SOURCE")
    return Source("standard input", data=sys.stdin.buffer.read())


@app.command()
@with_options
def sample(target: Target) -> None:
    """Write the sample corpus that comes with Tanzaku as prepared data. Studies can also use it as `sample`.

    Example:

    ```
    tanzaku data sample --out data/sample
    ```
    """
    from tanzaku.data.embedded import prepare_sample

    _write(prepare_sample(), target, title="Tanzaku's sample corpus")


@app.command()
@with_options
def show(
    source: Annotated[str, typer.Argument(help="A prepared folder, or `sample`.", metavar="FOLDER")],
    as_json: AsJson = False,
) -> None:
    """Check prepared data against its manifest, and show its rows, lengths and duplicates.

    Examples:

    ```
    tanzaku data show data/livedoor
    tanzaku data show sample --json
    ```
    """
    from tanzaku.data.loading import load_dataset
    from tanzaku.data.overview import describe

    figures = describe(load_dataset(source))
    if as_json:
        _print_json(figures)
        return
    console = plain_console(soft_wrap=True)
    console.print(_counts_table(figures["name"], figures["counts"], list(figures["label_names"])))
    lengths = Table("characters per text", title_justify="left")
    for heading in ("min", "median", "max"):
        lengths.add_column(heading, justify="right")
    for split, length in figures["characters"].items():
        lengths.add_row(split, *(f"{length[heading]:,g}" for heading in ("min", "median", "max")))
    console.print(lengths)
    duplicates = figures["duplicates"]
    console.print(
        f"{counted(duplicates['texts'], 'text occurs', 'texts occur')} more than once "
        f"({counted(duplicates['rows'], 'row')}), {duplicates['across_splits']:,} of them in several splits, "
        f"{duplicates['with_several_labels']:,} with several labels."
    )
    for message in figures["warnings"]:
        warn(message)


def _write(
    preparation: "Preparation",
    target: Target,
    *,
    title: str,
    order: list[str] | None = None,
    note: str | None = None,
) -> None:
    from tanzaku.data.intake import tidied
    from tanzaku.data.prepared import write_prepared

    manifest = write_prepared(preparation, target.out, force=target.force)
    if target.as_json:
        _print_json(manifest)
        return
    console = plain_console(soft_wrap=True)
    console.print(_counts_table(title, manifest["counts"], order or manifest["label_names"]))
    if note:
        console.print(note)
    for done in tidied(manifest["dropped"], preparation.notes):
        console.print(done)
    console.print(f"Written to {target.out}.")
    console.print(_next_commands(target.out))


def _counts_table(title: str, counts: dict[str, dict[str, int]], order: list[str]) -> Table:
    table = Table(title=Text(title), title_justify="left", show_footer=True)
    splits = ("train", "val", "test")
    sums = {split: sum(of_class[split] for of_class in counts.values()) for split in splits}
    table.add_column("class", "total", overflow="fold")
    table.add_column("documents", f"{sum(sums.values()):,}", justify="right")
    for split in splits:
        table.add_column(split, f"{sums[split]:,}", justify="right")
    for label in order:
        numbers = [counts[label][split] for split in splits]
        table.add_row(Text(label), *(f"{number:,}" for number in (sum(numbers), *numbers)))
    return table


@contextmanager
def _download_bar(*, wanted: bool) -> Iterator["Progress | None"]:
    """A progress bar on standard error that appears with the first byte."""
    if not wanted:
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("downloading"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=plain_console(stderr=True, soft_wrap=True)) as progress:
        tasks: list[Any] = []

        def on_progress(done: int, total: int | None) -> None:
            if not tasks:
                tasks.append(progress.add_task("downloading", total=total))
            progress.update(tasks[0], completed=done, total=total)

        yield on_progress


def _print_json(content: Any) -> None:
    typer.echo(json_text(content))
