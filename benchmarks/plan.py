"""The plan in docs/scale.md: what many runs and many documents cost, computed from committed records.

    python -m benchmarks.plan

It replaces the text between the two markers of the page. Every figure is a mean over the undisturbed runs of a method
in one study, on the machine that its records name; a plan for another machine starts with records made on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import mean

from benchmarks.marked import with_marked
from tanzaku.errors import RecordError
from tanzaku.files import write_atomically
from tanzaku.study.record import FinishedRun
from tanzaku.study.runs import read_records

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "scale.md"
RECORDS = ROOT / "records"
BEGIN, END = "<!-- plan: python -m benchmarks.plan -->\n", "<!-- end of the plan -->\n"

RUNS, DOCUMENTS = 10_000, 100_000_000
CORES = 64
# The slowest and the fastest way to read documents with an encoder, and none.
_SOURCES = (
    ("livedoor-mini", "lora", "`lora`, whole documents in windows of 512 tokens"),
    ("livedoor-methods", "lora", "`lora`, the first 128 tokens"),
    ("livedoor-methods", "tfidf-svm", "`tfidf-svm`"),
)


@dataclass(frozen=True)
class Cost:
    """What a run and a document cost on one core, as means over runs."""

    name: str
    study: str
    runs: int
    run_seconds: float
    """From a run's start to its end: loading, training, evaluation, writing."""
    documents_per_second: float
    """Classified, in the evaluation of the test set."""
    machine: str


def cost(records: Path, study: str, method: str, name: str) -> Cost:
    """The cost of a method's runs in a committed study.

    Raises:
        RecordError: There is no such run, or the runs were made with different numbers of threads or on different
            machines, so that their mean means nothing.
    """
    runs = [
        record
        for record in read_records(records / study)
        if isinstance(record, FinishedRun) and record.method == method and record.resumptions == 0
    ]
    machines = {(record.environment.cpu, record.environment.threads, record.environment.gpu) for record in runs}
    if len(machines) != 1:
        raise RecordError(f"{records / study} has {len(runs)} runs of {method} on {len(machines)} machines, not on one")
    ((cpu, threads, gpu),) = machines
    if gpu is not None or threads != 1:
        raise RecordError(
            f"{records / study}: the plan counts in cores, and these runs had {gpu or f'{threads} threads'}"
        )
    documents = sum(record.data.test_documents for record in runs)
    return Cost(
        name=name,
        study=study,
        runs=len(runs),
        run_seconds=mean(_seconds(record) for record in runs),
        documents_per_second=documents / sum(record.costs.test_seconds for record in runs),
        machine=cpu,
    )


def plan(costs: Sequence[Cost]) -> str:
    """The text of the plan."""
    (machine,) = {one.machine for one in costs}
    lines = [
        f"Measured on one core of an {machine} with the first tanzaku-mini, which had 3 layers, and the Livedoor News "
        "Corpus:",
        "",
        "| Runs | Record | Seconds per run | Documents per second |",
        "| --- | --- | ---: | ---: |",
        *(
            f"| {one.name} | {one.runs} in `records/{one.study}` | {one.run_seconds:,.0f} | "
            f"{one.documents_per_second:,.1f} |"
            for one in costs
        ),
        "",
        f"So {RUNS:,} runs and {DOCUMENTS:,} documents take, with {CORES} such cores that are always busy:",
        "",
        f"| Runs | Core hours for {RUNS:,} runs | Hours with {CORES} cores "
        f"| Core hours for {DOCUMENTS // 10**6:,} million documents | Hours with {CORES} cores |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(_row(one) for one in costs),
    ]
    return "\n".join(lines) + "\n"


def _row(one: Cost) -> str:
    runs = RUNS * one.run_seconds / 3600
    documents = DOCUMENTS / one.documents_per_second / 3600
    return f"| {one.name} | {runs:,.0f} | {runs / CORES:,.1f} | {documents:,.0f} | {documents / CORES:,.1f} |"


def make_page(page: str, text: str) -> str:
    """The page with another plan between its markers.

    Raises:
        RecordError: The page lacks a marker.
    """
    return with_marked(page, text, begin=BEGIN, end=END, name=str(PAGE))


def _seconds(record: FinishedRun) -> float:
    return (datetime.fromisoformat(record.ended) - datetime.fromisoformat(record.started)).total_seconds()


def current_plan() -> str:
    """The plan from the committed records."""
    return plan([cost(RECORDS, study, method, name) for study, method, name in _SOURCES])


if __name__ == "__main__":
    write_atomically(PAGE, make_page(PAGE.read_text(encoding="utf-8"), current_plan()))
