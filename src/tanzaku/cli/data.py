"""`tanzaku data`: from documents to the three splits that a study works on."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from tanzaku.cli.commands import Commands, with_metavars
from tanzaku.cli.messages import warn
from tanzaku.display import counted, plain_console
from tanzaku.errors import DataError
from tanzaku.files import check_writable

if TYPE_CHECKING:
    from tanzaku.data.download import Progress
    from tanzaku.data.prepared import Preparation

app = typer.Typer(
    cls=Commands,
    help="Bring documents into the three splits that a study works on: the Livedoor corpus, your own, or the sample.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Out = Annotated[
    Path, typer.Option("--out", help="The folder to write train.csv, val.csv, test.csv and manifest.json to.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace other prepared data that is in the folder already.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts, instead of a table.")]


@app.command()
@with_metavars
def livedoor(
    out: Out,
    archive: Annotated[
        Path | None,
        typer.Option(help="The corpus as .tar.gz, .tgz, .tar or unpacked folder; downloaded where this is left out."),
    ] = None,
    text: Annotated[
        str,
        typer.Option(help="`thesis`: the thesis's texts; `unsigned`: without the sites' names and signatures."),
    ] = "thesis",
    keep_duplicates_together: Annotated[
        bool | None,
        typer.Option(
            "--keep-duplicates-together/--split-duplicates",
            help="Keep articles with the same body on one side of the split, or each where the thesis has it. "
            "Default: kept together in unsigned texts, and where the thesis has them in the thesis's.",
            show_default=False,
        ),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Where the download is kept. Default: TANZAKU_CACHE, else ~/.cache/tanzaku.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
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
    from tanzaku.data.livedoor import PUBLISHED_ARTICLES, THESIS_NOTE, cleaning_named, prepare_livedoor, unpacked

    check_writable(out)
    cleaning = cleaning_named(text)  # before a download that would be for nothing
    with (
        _download_bar(wanted=archive is None) as on_progress,
        unpacked(archive, cache=cache, on_progress=on_progress) as (folder, source),
    ):
        preparation = prepare_livedoor(
            folder, text=cleaning, keep_duplicates_together=keep_duplicates_together, source=source
        )
    is_thesis = cleaning == "thesis" and not keep_duplicates_together
    _write(
        preparation,
        out,
        force=force,
        as_json=as_json,
        title="Livedoor News Corpus" + (" (the thesis's Table 3.1)" if is_thesis else f", {cleaning}"),
        order=list(PUBLISHED_ARTICLES),
        note=THESIS_NOTE if is_thesis else None,
    )


@app.command("import")
@with_metavars
def import_(
    out: Out,
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="SOURCE",
            help="A file or a folder per class, to be split; or a folder with train.csv, val.csv and test.csv.",
        ),
    ] = None,
    train: Annotated[Path | None, typer.Option(help="Data that is split already: the training documents.")] = None,
    val: Annotated[Path | None, typer.Option(help="… the validation documents; left out, taken from train.")] = None,
    test: Annotated[Path | None, typer.Option(help="… the test documents.")] = None,
    name: Annotated[str | None, typer.Option(help="What the data set is called. Default: the file's name.")] = None,
    format: Annotated[
        str | None, typer.Option(help="csv, tsv, jsonl, parquet or folder. Default: by the file's ending.")
    ] = None,
    text_column: Annotated[str, typer.Option(help="The column, or JSON key, with the text.")] = "text",
    label_column: Annotated[str, typer.Option(help="The column, or JSON key, with the class.")] = "label",
    encoding: Annotated[str, typer.Option(help="The files' encoding, such as cp932 or euc-jp.")] = "utf-8",
    no_quotes: Annotated[
        bool, typer.Option("--no-quotes", help="Double quotes in CSV and TSV are text: they enclose no fields.")
    ] = False,
    skip: Annotated[
        list[str] | None,
        typer.Option(help="In a folder a class: file names that are no documents, such as 'LICENSE*'."),
    ] = None,
    train_size: Annotated[
        float | None, typer.Option(help="Train's share of each class; test gets what is left. Default: 0.8.")
    ] = None,
    val_size: Annotated[float | None, typer.Option(help="Validation's share of each class. Default: 0.1.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the split.")] = 42,
    split_duplicates: Annotated[
        bool, typer.Option("--split-duplicates", help="Let rows with the same text fall on both sides of the split.")
    ] = False,
    drop_empty: Annotated[bool, typer.Option("--drop-empty", help="Leave rows with an empty text out.")] = False,
    drop_unlabelled: Annotated[bool, typer.Option("--drop-unlabelled", help="Leave rows without a label out.")] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Prepare your own documents: CSV, TSV, JSONL, Parquet, or a folder per class.

    Examples:

    ```
    tanzaku data import reviews.csv --text-column body --label-column stars --out data/reviews
    tanzaku data import mails/ --encoding cp932 --train-size 0.6 --val-size 0.2 --out data/mails
    tanzaku data import --train train.jsonl --val dev.jsonl --test test.jsonl --out data/split
    ```
    """
    from tanzaku.data.readers import ReadOptions

    common: dict[str, Any] = {
        "name": name,
        "reading": ReadOptions(
            format=format,
            text_column=text_column,
            label_column=label_column,
            encoding=encoding,
            quotes=not no_quotes,
            skip=tuple(skip or ()),
        ),
        "seed": seed,
        "keep_duplicates_together": not split_duplicates,
        "drop_empty": drop_empty,
        "drop_unlabelled": drop_unlabelled,
    }
    if seed >= 2**32:
        raise DataError(f"--seed {seed} is too large; give a whole number from 0 to {2**32 - 1}")
    splits = (train, val, test)
    check_writable(out)
    preparation = _imported(source, splits, train_size=train_size, val_size=val_size, common=common)
    _write(preparation, out, force=force, as_json=as_json, title=preparation.dataset.name)


def _imported(
    source: Path | None,
    splits: tuple[Path | None, Path | None, Path | None],
    *,
    train_size: float | None,
    val_size: float | None,
    common: dict[str, Any],
) -> "Preparation":
    """What `import_` was given: one source to be split, or splits (train, val, test)."""
    from tanzaku.data.importing import DEFAULT_RATIOS, import_documents, import_splits, split_files
    from tanzaku.data.split import Ratios

    may_be_split = source is not None and source.is_dir() and not any(splits) and common["reading"].format != "folder"
    files = split_files(source) if source is not None and may_be_split else None
    if source is not None and files is not None:
        common = common | {"name": common["name"] or source.resolve().name}
        source, splits = None, (files["train"], files.get("val"), files["test"])
    train, val, test = splits
    val_share = DEFAULT_RATIOS.val if val_size is None else val_size
    if source is not None and not any(splits):
        train_share = DEFAULT_RATIOS.train if train_size is None else train_size
        return import_documents(source, ratios=Ratios(train=train_share, val=val_share), **common)
    if source is not None or train is None or test is None:
        raise DataError(
            "name either one SOURCE to be split, or --train and --test (and --val, if there is one) for data that "
            "is split already."
        )
    if train_size is not None or (val is not None and val_size is not None):
        raise DataError("--train-size and --val-size split a SOURCE; data that is split already stays as it is.")
    return import_splits(train=train, val=val, test=test, val_size=val_share, **common)


@app.command()
@with_metavars
def sample(out: Out, force: Force = False, as_json: AsJson = False) -> None:
    """Write the sample corpus that comes with Tanzaku, prepared the same way. Studies also take it as `sample`.

    Example:

    ```
    tanzaku data sample --out data/sample
    ```
    """
    from tanzaku.data.embedded import prepare_sample

    _write(prepare_sample(), out, force=force, as_json=as_json, title="Tanzaku's sample corpus")


@app.command()
@with_metavars
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
    lengths = Table("characters a text", title_justify="left")
    for heading in ("min", "median", "max"):
        lengths.add_column(heading, justify="right")
    for split, length in figures["characters"].items():
        lengths.add_row(split, *(f"{length[heading]:,g}" for heading in ("min", "median", "max")))
    console.print(lengths)
    duplicates = figures["duplicates"]
    console.print(
        f"{counted(duplicates['texts'], 'text occurs', 'texts occur')} more than once "
        f"({counted(duplicates['rows'], 'row')}), {duplicates['across_splits']:,} of them in several splits, "
        f"{duplicates['with_several_labels']:,} under several labels."
    )
    for message in figures["warnings"]:
        warn(message)


def _write(
    preparation: "Preparation",
    out: Path,
    *,
    force: bool,
    as_json: bool,
    title: str,
    order: list[str] | None = None,
    note: str | None = None,
) -> None:
    from tanzaku.data.prepared import write_prepared

    manifest = write_prepared(preparation, out, force=force)
    if as_json:
        _print_json(manifest)
        return
    console = plain_console(soft_wrap=True)
    console.print(_counts_table(title, manifest["counts"], order or manifest["label_names"]))
    if note:
        console.print(note)
    for reason, count in manifest["dropped"].items():
        noun, _, rest = reason.removeprefix(split := _split_of(reason)).partition(" ")
        console.print(f"Left out: {split}{counted(count, noun.removesuffix('s'))} {rest}.")
    console.print(f"Written to {out}.")


def _split_of(reason: str) -> str:
    """What stands before the noun of a reason, such as "test: " or nothing."""
    split, colon, _ = reason.partition(": ")
    return split + colon if colon else ""


def _counts_table(title: str, counts: dict[str, dict[str, int]], order: list[str]) -> Table:
    table = Table("class", title=Text(title), title_justify="left", show_footer=True)
    splits = ("train", "val", "test")
    sums = {split: sum(of_class[split] for of_class in counts.values()) for split in splits}
    table.columns[0].footer = "in all"
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
    typer.echo(json.dumps(content, ensure_ascii=False, indent=2))
