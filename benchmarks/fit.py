"""Whether `tanzaku fit` keeps its budgets and finds the best classifier: `records/benchmarks/fit.json`.

    python -m benchmarks.fit SETS LIVEDOOR

takes the folder with the sets `ews_sentiment`, `asdc_dialog_act` and `chabsa_polarity` (each with train.csv and
test.csv, columns text and label), and the folder that `tanzaku data livedoor` wrote. It fits each of these and a file
of 200 inquiries that it makes itself, 20 minutes each. Then it weighs each bundle and times it in a fresh process with
one thread, classifies the test documents, and trains the candidate that was best on the same documents for comparison.

It takes about two hours. The same command resumes after an interruption: sets that are done are not repeated, and a
fit that was interrupted continues. `--scale tiny` only tries it out, on the inquiries, in a minute.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tanzaku
from benchmarks.outside import measure_outside
from benchmarks.record import RECORDS
from benchmarks.resuming import BUILD, Parts
from tanzaku.data.dataset import Documents
from tanzaku.data.loading import load_dataset
from tanzaku.fitting.documents import labelled
from tanzaku.fitting.run import FitResult
from tanzaku.fitting.verdict import TriedCandidate
from tanzaku.study.record import FinishedRun
from tests.fitting.inquiries import write_inquiries

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


def tasks(sets: Path, livedoor: Path, *, inquiries: Path) -> list[Task]:
    """All that the record has."""
    encoder = {"max_mb": 20.0, "max_ms": 60.0}  # an adapter with the included encoder is within these
    made = [Task(name, sets / name / "train.csv", encoder, sets / name / "test.csv") for name in SETS]
    return [*made, Task("livedoor", livedoor, {"max_mb": 2.0, "max_ms": 20.0}), inquiries_task(inquiries)]


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
    result = tanzaku.fit(task.source, **task.options, minutes=minutes, margin=MARGIN, out=bundle, study=study)
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
    held = load_dataset(result.folder / "data").test
    outside = measure_outside(result.bundle, held.texts, held.labels)
    part["bundle"] = {
        "stated": {**asdict(findings.final.costs), "accuracy": findings.final.record.test.accuracy},
        "outside": asdict(outside),
        "within_budgets": outside.bytes <= 1e6 * task.budgets["max_mb"]
        and outside.milliseconds <= task.budgets["max_ms"],
    }
    part["best"] = {"accuracy": best_accuracy(result), "documents": len(held)}
    part["within_margin"] = outside.accuracy >= part["best"]["accuracy"] - MARGIN
    if task.test is not None:
        other = _documents(task.test)
        part["other_test"] = asdict(measure_outside(result.bundle, other.texts, other.labels))
    return part


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


def best_accuracy(result: FitResult) -> float:
    """The test accuracy of the candidate that was best on the folds, after the same training as the recommended one."""
    findings = result.report.findings
    best = next(one for one in findings.candidates if one.best)
    if best.recommended and findings.final is not None:
        return findings.final.record.test.accuracy
    only = result.study.model_copy(update={"arms": (dict(best.arm),)})
    records = [one for one in tanzaku.run_study(only, out=result.folder / "runs") if isinstance(one, FinishedRun)]
    return max(one.test.accuracy for one in records)


def _documents(path: Path) -> Documents:
    from tanzaku.data.options import ReadOptions

    return labelled(path, ReadOptions()).documents


def rows(parts: Mapping[str, Any]) -> list[str]:
    """The table of the documentation."""
    lines = [
        "| data | documents | recommended | MB (budget) | ms (budget) | test accuracy (%) | the best candidate's (%) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, part in parts.items():
        if part["bundle"] is None:
            lines.append(f"| {name} | {part['documents']:,} | none | – | – | – | – |")
            continue
        outside, budgets = part["bundle"]["outside"], part["budgets"]
        chosen = next(one["name"] for one in part["candidates"] if one["recommended"])
        lines.append(
            f"| {name} | {part['documents']:,} | {chosen} | {outside['bytes'] / 1e6:.2f} ({budgets['max_mb']:g}) | "
            f"{outside['milliseconds']:.1f} ({budgets['max_ms']:g}) | {100 * outside['accuracy']:.2f} | "
            f"{100 * part['best']['accuracy']:.2f} |"
        )
    return lines


def main() -> None:
    """Fit every task that is not done yet, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs="?", help="folder with the three sets")
    parser.add_argument("livedoor", type=Path, nargs="?", help="folder of `tanzaku data livedoor`")
    parser.add_argument("--minutes", type=float, default=20.0, help="of each fit (default: 20)")
    parser.add_argument("--scale", choices=("full", "tiny"), default="full")
    asked = parser.parse_args()
    tiny = asked.scale == "tiny"
    if not tiny and (asked.sets is None or asked.livedoor is None):
        parser.error("give the folder of the sets and that of Livedoor, or --scale tiny")
    out = BUILD / f"fit-{asked.scale}"
    path = out / "inquiries.csv"
    todo = [inquiries_task(path, rows=80, **_TINY)] if tiny else tasks(asked.sets, asked.livedoor, inquiries=path)
    parts = Parts(BUILD / f"fit-{asked.scale}.json", key={"scale": asked.scale, "minutes": asked.minutes})
    for task in todo:
        if task.name not in parts.found:
            parts.add(task.name, fitted(task, minutes=asked.minutes, out=out))
    print("\n".join(rows(parts.found)))
    command = f"python -m benchmarks.fit --minutes {asked.minutes:g}" + (" --scale tiny" if tiny else " SETS LIVEDOOR")
    parts.write(out / "record.json" if tiny else RECORD, command=command)


if __name__ == "__main__":
    main()
