"""`tanzaku fit`: from labelled documents to the smallest classifier that does the job, in one command."""

from __future__ import annotations

import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tanzaku.cli.engines import Engines, jobs_option
from tanzaku.cli.messages import command
from tanzaku.cli.reading import Reading
from tanzaku.cli.threads import Threads
from tanzaku.display import counted, plain_console
from tanzaku.encoders.source import EMBEDDED_NAME

if TYPE_CHECKING:
    from rich.console import Console

    from tanzaku.fitting.race import FitEvent
    from tanzaku.fitting.run import FitResult


@dataclass(frozen=True)
class BudgetOptions:
    """What the classifier may cost where it is used."""

    max_mb: Annotated[
        float | None,
        typer.Option(
            help="Limit in MB for all files that the classifier needs, including its encoder and MeCab's dictionary."
        ),
    ] = None
    max_ms: Annotated[
        float | None,
        typer.Option(
            help="Longest median time per document in milliseconds: one at a time, on this machine, with one thread."
        ),
    ] = None
    max_memory_mb: Annotated[
        float | None, typer.Option(help="The most megabytes of memory of a process that classifies, with one thread.")
    ] = None
    shared_encoder: Annotated[
        bool,
        typer.Option(
            "--shared-encoder", help="The encoder is already on the target machine; only what is added to it counts."
        ),
    ] = False
    shared_dictionary: Annotated[
        bool,
        typer.Option(
            "--shared-dictionary",
            help="MeCab's dictionary (53 MB, for TF-IDF of words) is already on the target machine and does not count.",
        ),
    ] = False


@dataclass(frozen=True)
class ComparisonOptions:
    """How candidates are compared."""

    margin: Annotated[
        float,
        typer.Option(
            min=0,
            max=100,
            help="Percentage points by which the classifier may be worse than the best, or one standard error of the "
            "difference if that is larger.",
        ),
    ] = 0.5
    minutes: Annotated[
        float, typer.Option(help="The time budget, over all interruptions; the final training is not cut off.")
    ] = 20.0
    choose_by: Annotated[
        Literal["accuracy", "macro_f1"],
        typer.Option(help="What candidates are compared by; macro_f1 gives rare classes more weight."),
    ] = "accuracy"
    encoder: Annotated[
        str, typer.Option(metavar="NAME", help='The encoder that is adapted; "none" tries only methods without one.')
    ] = EMBEDDED_NAME
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation.")] = 5
    seed: Annotated[int, typer.Option(help="Seed of the splits and the runs.")] = 42
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Train candidates again that failed in an earlier call.")
    ] = False


@dataclass(frozen=True)
class Writing:
    """Where the results go."""

    study: Annotated[Path | None, typer.Option(help="Folder for the study. Default: OUT with -study at the end.")] = (
        None
    )
    language: Annotated[
        Literal["en", "ja"], typer.Option(help="Language of the report, the verdict and the model card.")
    ] = "en"
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is already in the folder.")] = False


@dataclass(frozen=True)
class FitEngines(Engines):
    """Options for training candidates at the same time."""

    jobs: Annotated[
        int | None,
        jobs_option(
            help="Number of candidates trained at the same time; they share the threads.",
            show_default="one per core, at most 8 and one per 4 GB of memory; 1 with a GPU; with Ray, as many as there "
            "is room for",
        ),
    ] = None


def fit(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A file, a folder per class, or what `tanzaku data import` wrote.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the classifier, new or empty.")],
    reading: Reading,
    budgets: BudgetOptions,
    comparison: ComparisonOptions,
    writing: Writing,
    engines: FitEngines,
    threads: Threads = None,
) -> None:
    """Find the smallest classifier for your documents that is good enough and within the budgets, and pack it.

    Candidates of all sizes are compared by cross-validation, the cheap ones first; those that can't meet a budget are
    not trained. The recommended one is trained, measured on test documents that were set aside, and packed. Run the
    same command again to resume after an interruption, with what is left of --minutes; with more --minutes, it
    continues with what there was no time for.

    The classifier's folder is written to standard output; progress, the candidates and the verdict to standard error.
    The study's folder has report.html, and study.toml with the candidates for `tanzaku study run`. The exit status is 1
    if no classifier can be recommended.

    Examples:

    ```
    tanzaku fit inquiries.csv --text-column 本文 --label-column 分類 --out my-classifier
    tanzaku fit inquiries.csv --text-column 本文 --label-column 分類 --max-mb 2 --max-ms 20 --margin 1 --out mine
    tanzaku fit inquiries.csv --text-column 本文 --label-column 分類 --max-mb 2 --shared-dictionary --out mine
    tanzaku fit reviews.csv --encoder none --minutes 2 --out my-classifier --language ja
    tanzaku fit inquiries.csv --text-column 本文 --label-column 分類 --jobs 1 --out my-classifier
    ```
    """
    del threads  # settled already
    console = plain_console(stderr=True, soft_wrap=True)
    options = {**asdict(budgets), **asdict(comparison), **asdict(writing)}
    options |= {"margin": comparison.margin / 100, "out": out, "reading": reading.options()}
    options |= {"jobs": 1 if engines.engine == "inline" else engines.jobs, "ray": engines.ray()}
    if comparison.encoder == "none":
        options["encoder"] = None
    _conclude(_run(source, options, console), console, out=out, language=writing.language)


def _run(source: Path, options: dict[str, Any], console: Console) -> FitResult:
    from tanzaku.fitting.run import fit as run
    from tanzaku.study.process import StudyInterrupted

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # save a checkpoint before stopping, as on Ctrl-C
    try:
        said = set[str]()
        return run(source, listener=lambda event: _say(event, console, said), **options)
    except (StudyInterrupted, KeyboardInterrupt) as interrupted:
        console.print("interrupted; run the same command again to resume")
        raise typer.Exit(130) from interrupted


def _say(event: FitEvent, console: Console, said: set[str]) -> None:
    name = event.name
    if event.fold is None:
        on = f" on {counted(event.documents, 'document')}" if event.documents else ""
        what = f"final training{on}: {name}"
    elif event.share < 1:
        what = f"learning curve: {name}, trained on fewer documents of each fold"
    else:
        what = f"fold {event.fold} of {event.folds}: {name}"
    if what in said:
        return
    said.add(what)
    left = event.seconds_left
    time = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
    console.print(f"{what} ({time} of the time budget left)")


def _conclude(result: FitResult, console: Console, *, out: Path, language: Literal["en", "ja"]) -> None:
    from tanzaku.cli.tables import print_table
    from tanzaku.fitting.candidate_table import candidates_table
    from tanzaku.report.render import markdown_table
    from tanzaku.ship.inspection import is_bundle
    from tanzaku.words import words_of

    findings, words = result.report.findings, words_of(language)
    if result.already_done:
        more = "; a larger --minutes continues with what there was no time for" if findings.more_to_try else ""
        console.print(f"already done: the same command was finished before{more}")
    for done in result.tidied:
        console.print(done)
    table = candidates_table(findings, words=words)
    if console.is_terminal:
        print_table(table, console, words)
    else:
        console.print(f"\n{markdown_table(table)}")
    for sentence in result.report.sentences:
        console.print(sentence)
    if failed := len({str(one.name) for one in findings.candidates if one.reason == "failed"}):
        console.print(f"{counted(failed, 'candidate')} failed; --retry-failed tries again.")
    console.print(str(result.report.page))
    if result.bundle is None:
        if is_bundle(out):
            console.print(f"{out} has an earlier classifier, which was not replaced.")
        raise typer.Exit(1)
    console.print(f"Next: {command('classify', result.bundle)} TEXT")
    typer.echo(result.bundle)
