"""Whether `tanzaku fit` keeps its budgets and finds the best classifier: `records/benchmarks/fit.json`.

    python -m benchmarks.fit SETS LIVEDOOR

takes the folder with the sets `ews_sentiment`, `asdc_dialog_act` and `chabsa_polarity` (each with train.csv and
test.csv, columns text and label), and the folder that `tanzaku data livedoor` wrote. It fits each of these and a file
of 200 inquiries that it makes itself, 20 minutes each. Then it weighs each bundle and times it in a fresh process with
one thread, and classifies the test documents: those that the fit sets aside, and those of test.csv. For comparison, it
trains and packs the candidate that was best on the folds in the same way.

It takes about two hours. The same command resumes after an interruption: sets that are done are not repeated, and a
fit that was interrupted continues. `python -m benchmarks.fit_page` then writes the tables of docs/fit.md.

`--documents 300 --minutes 2` rehearses all of it on a part of each set, and `--scale tiny` only tries it out, on the
inquiries, in a minute. Neither writes the record.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import tanzaku
from benchmarks.inquiries import write_inquiries
from benchmarks.outside import Outside, measure_outside
from benchmarks.record import RECORDS
from benchmarks.resuming import BUILD, Parts
from tanzaku.analysis.statistics import compare_accuracies
from tanzaku.data.grouping import assign_groups
from tanzaku.data.loading import load_dataset
from tanzaku.data.options import ReadOptions
from tanzaku.fitting.documents import labelled
from tanzaku.fitting.forms import pack_form
from tanzaku.fitting.job import RUNS
from tanzaku.fitting.race import RunBegins, make_run
from tanzaku.fitting.run import FitResult
from tanzaku.fitting.verdict import TriedCandidate
from tanzaku.study.plan import plan_study
from tanzaku.study.process import StudyInterrupted
from tanzaku.threads import settle_threads

RECORD = RECORDS / "fit.json"
MARGIN = 0.01
SETS = ("ews_sentiment", "asdc_dialog_act", "chabsa_polarity")
_INQUIRIES = "inquiries"
_TINY: dict[str, Any] = {
    "encoder": None,
    "folds": 2,
    "candidates": [
        {"method": "tfidf-svm", "analyzer": "character", "max_terms": 60, "longest_ngram": 1, "weight_bits": 8},
        {"method": "tfidf-svm", "analyzer": "character", "longest_ngram": 2},
    ],
}


@dataclass(frozen=True)
class Task:
    """What is fitted, and within which budgets."""

    name: str
    source: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of `tanzaku.fit`."""
    test: Path | None = None
    """A file of documents that have no part in the fit; None takes those that the fit sets aside."""

    @property
    def budgets(self) -> dict[str, float]:
        """The megabytes and milliseconds."""
        return {name: self.options[name] for name in ("max_mb", "max_ms")}


def tasks(sets: Path, livedoor: Path, *, out: Path, documents: int | None = None) -> list[Task]:
    """All that the record has; with `documents`, of only so many of each set, written into `out`."""
    encoder = {"max_mb": 20.0, "max_ms": 60.0}  # an adapter with the included encoder is within these
    small = {"max_mb": 2.0, "max_ms": 20.0}
    made = [Task(name, sets / name / "train.csv", encoder, sets / name / "test.csv") for name in SETS]
    made.append(Task("livedoor", livedoor, small))
    if documents is not None:
        made = [replace(task, source=part_of(task.source, documents, out / f"{task.name}.csv")) for task in made]
    return [*made, inquiries_task(out / f"{_INQUIRIES}.csv")]


def part_of(source: Path, documents: int, file: Path) -> Path:
    """A file with about so many documents of a source, class by class."""
    read = labelled(source, ReadOptions())
    share = min(1.0, documents / len(read.documents))
    rows = assign_groups(read.documents.labels, read.groups, shares=[share, 1 - share], seed=0)[0]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as stream:
        lines = csv.writer(stream)
        lines.writerow(["text", "label"])
        lines.writerows((read.documents.texts[row], read.documents.labels[row]) for row in rows)
    return file


def inquiries_task(path: Path, *, rows: int = 200, **options: Any) -> Task:
    """The task of made-up inquiries, whose file is written to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_inquiries(path, rows)
    columns = {"text": "本文", "label": "分類"}
    return Task(_INQUIRIES, path, {**columns, "max_mb": 1.0, "max_ms": 10.0, **options})


def fitted(task: Task, *, minutes: float, out: Path) -> dict[str, Any]:
    """Fit a task, and check the result from outside: one part of the record."""
    bundle, study = out / task.name, out / f"{task.name}-study"
    shutil.rmtree(bundle, ignore_errors=True)
    began = time.perf_counter()
    options = {**task.options, "minutes": minutes, "margin": MARGIN, "out": bundle, "study": study}
    result = tanzaku.fit(task.source, **options, listener=say)
    seconds = time.perf_counter() - began
    findings = result.report.findings
    part: dict[str, Any] = {
        "budgets": task.budgets,
        "minutes": minutes,
        "seconds": seconds,
        "documents": findings.documents,
        "classes": len(findings.label_names),
        "folds": findings.folds,
        "verdict": list(result.report.sentences),
        "candidates": [_candidate(one) for one in findings.candidates],
    }
    if result.bundle is None or findings.final is None:
        return part | {"bundle": None}
    outside, best = _compared(task, result)
    part["bundle"] = {
        "stated": {**asdict(findings.final.costs), "accuracy": findings.final.test.accuracy},
        "outside": outside.summary,
        "within_budgets": outside.bytes <= 1e6 * task.budgets["max_mb"]
        and outside.milliseconds <= task.budgets["max_ms"],
    }
    part["best"] = best.summary
    part["difference"] = _difference(outside, best)
    part["within_margin"] = outside.accuracy >= best.accuracy - MARGIN
    return part


def _compared(task: Task, result: FitResult) -> tuple[Outside, Outside]:
    """The recommended bundle and the best candidate's, on all documents that had no part in the choice."""
    assert result.bundle is not None
    held = load_dataset(result.folder / "data").test
    texts, labels = held.texts, held.labels
    if task.test is not None:
        other = labelled(task.test, ReadOptions()).documents
        texts, labels = (*texts, *other.texts), (*labels, *other.labels)
    outside, best = measure_outside(result.bundle, texts, labels), best_of(result)
    return outside, outside if best is None else measure_outside(best, texts, labels)


def _difference(one: Outside, other: Outside) -> dict[str, float]:
    """The first accuracy less the second, with its 95 % interval over documents."""
    found = compare_accuracies(np.array([one.correct, other.correct]), [0], [1])
    return {"mean": found.mean, "low": found.interval.low, "high": found.interval.high}


def say(event: RunBegins) -> None:
    """Report progress on standard error."""
    what = "final training" if event.fold is None else f"fold {event.fold}, {100 * event.share:.0f} % of the documents"
    print(f"  {what}: {event.name} ({event.seconds_left:.0f} s left)", file=sys.stderr, flush=True)


def _candidate(one: TriedCandidate) -> dict[str, Any]:
    return {
        "name": str(one.name),
        "form": one.form,
        "accuracy": one.selected.accuracy if one.selected else None,
        "megabytes": one.costs.total_bytes / 1e6 if one.costs else None,
        "milliseconds": one.costs.milliseconds if one.costs else None,
        "dropped": one.reason,
        "detail": one.detail,
        "recommended": one.recommended,
        "best": one.best,
    }


def best_of(result: FitResult) -> Path | None:
    """The bundle of the candidate that was best on the folds, trained and packed as the recommended one was; None
    where that is the recommended one."""
    best = next(one for one in result.report.findings.candidates if one.best)
    if best.recommended:
        return None
    only = result.study.model_copy(update={"arms": (dict(best.arm),)})
    plan = plan_study(only, dataset=load_dataset(result.folder / "data"), out=result.folder / RUNS)
    (planned,) = plan.runs
    say(RunBegins(planned, best.name, None, result.report.findings.folds, seconds_left=0))
    make_run(planned, plan.dataset, study=only.name, deadline=None)
    bundle = result.folder / "best"
    pack_form(planned, best.form, bundle, compare=False)
    return bundle


def rows(parts: Mapping[str, Any]) -> list[str]:
    """The table of the documentation."""
    lines = [
        "| data | documents | recommended | MB (budget) | ms (budget) | test documents | test accuracy (%) "
        "| the best compared candidate's (%) | difference (points) |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, part in parts.items():
        if part["bundle"] is None:
            lines.append(f"| {name} | {part['documents']:,} | none | – | – | – | – | – | – |")
            continue
        outside, budgets = part["bundle"]["outside"], part["budgets"]
        chosen = next(one["name"] for one in part["candidates"] if one["recommended"])
        lines.append(
            f"| {name} | {part['documents']:,} | {chosen} | {outside['bytes'] / 1e6:.2f} ({budgets['max_mb']:g}) | "
            f"{outside['milliseconds']:.1f} ({budgets['max_ms']:g}) | {outside['documents']:,} | "
            f"{100 * outside['accuracy']:.2f} | {100 * part['best']['accuracy']:.2f} | {_points(part['difference'])} |"
        )
    return lines


def _points(difference: Mapping[str, float]) -> str:
    mean, low, high = (100 * difference[name] for name in ("mean", "low", "high"))
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


def main() -> None:
    """Fit every task that is not done yet, and write the record."""
    settle_threads()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs="?", help="folder with the three sets")
    parser.add_argument("livedoor", type=Path, nargs="?", help="folder of `tanzaku data livedoor`")
    parser.add_argument("--minutes", type=float, default=20.0, help="of each fit (default: 20)")
    parser.add_argument("--documents", type=int, help="only so many of each set; no record is written")
    parser.add_argument("--scale", choices=("full", "tiny"), default="full")
    asked = parser.parse_args()
    tiny = asked.scale == "tiny"
    if not tiny and (asked.sets is None or asked.livedoor is None):
        parser.error("give the folder of the sets and that of Livedoor, or --scale tiny")
    name = asked.scale if asked.documents is None else f"{asked.documents}-documents"
    out = BUILD / f"fit-{name}"
    parts = Parts(BUILD / f"fit-{name}.json", key={"scale": name, "minutes": asked.minutes})
    if parts.fresh:
        shutil.rmtree(out, ignore_errors=True)
    if tiny:
        todo = [inquiries_task(out / f"{_INQUIRIES}.csv", rows=80, **_TINY)]
    else:
        todo = tasks(asked.sets, asked.livedoor, out=out, documents=asked.documents)
    try:
        for task in todo:
            if task.name not in parts.found:
                print(task.name, file=sys.stderr, flush=True)
                parts.begin(task.name)
                parts.add(task.name, fitted(task, minutes=asked.minutes, out=out))
    except (KeyboardInterrupt, StudyInterrupted):
        sys.exit("interrupted; the same command resumes")
    print("\n".join(rows(parts.found)))
    whole = name == "full"
    command = f"python -m benchmarks.fit --minutes {asked.minutes:g}" + (" SETS LIVEDOOR" if whole else "")
    parts.write(RECORD if whole else out / "record.json", command=command)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: no process of its own is left behind
    main()
