"""What the candidates on the tasks of short texts cost on an idle machine: `records/benchmarks/costs.json`.

    python -m benchmarks.costs FOLDER…

takes tasks that `tanzaku data import` prepared and that studies/short-texts.toml was made on. The records of that study
say which TF-IDF the validation set chose. On each task, TF-IDF is fitted to all training documents. Full fine-tuning
and LoRA train for one epoch, and the head for all of its epochs, on at most 256 training documents: the seconds of a
whole training follow from that, since a step costs the same in every epoch. Then a bundle of each classifies at most
256 test documents, from texts to labels. Everything is done three times, one thing after the other and with all cores;
the medians count. It takes about 40 minutes on two cores without instructions for bfloat16, and the same command
resumes after an interruption.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.findings import ROOT, Findings
from benchmarks.record import COSTS
from benchmarks.resuming import BUILD, Parts
from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.loading import load_dataset
from tanzaku.data.split import pick
from tanzaku.errors import TanzakuError
from tanzaku.provenance import GIT_STATE
from tanzaku.ship.classifier import Classifier
from tanzaku.ship.packing import pack
from tanzaku.study.engine import RunEnds, make_runs
from tanzaku.study.expansion import expand, read_study
from tanzaku.study.plan import plan_study
from tanzaku.study.record import FailedRun, FinishedRun
from tanzaku.study.spec import EncoderRunSpec, StudySpec

STUDY = ROOT / "studies" / "short-texts.toml"
METHODS = ("tfidf-svm", "head", "lora", "full")
ROUNDS = 3
DOCUMENTS = 256
_ONE_EPOCH = ("lora", "full")


def words_of(task: str, findings: Findings) -> dict[str, Any]:
    """The TF-IDF that the validation set of a task chose, as an arm of a study.

    Raises:
        TanzakuError: There are no records of the task.
    """
    chosen = {found.lora.arm.finished[0].data.name: found.words for found in findings.tasks()}
    if task not in chosen:
        raise TanzakuError(f"there are no records of {task} in {findings.records}; there are of: {', '.join(chosen)}")
    options = dict(chosen[task].arm.finished[0].spec["method"])
    return {"method": options.pop("name"), **options}


def short_study(study: StudySpec, words: dict[str, Any], *, rounds: int) -> StudySpec:
    """A method once, with an epoch where each costs the same, in so many rounds."""
    others = [arm for arm in study.arms if arm["method"] in METHODS[1:]]
    arms = [words, *(arm | {"epochs": 1} if arm["method"] in _ONE_EPOCH else arm for arm in others)]
    content = study.model_dump(mode="json", exclude_unset=True) | {"arms": arms, "seeds": list(range(1, rounds + 1))}
    return StudySpec.model_validate(content)


def epochs_of(study: StudySpec) -> dict[str, int]:
    """For how many epochs each method with an encoder trains."""
    return {run.method_name: run.training.epochs for run in expand(study) if isinstance(run, EncoderRunSpec)}


def some(documents: Documents, *, most: int) -> Documents:
    """At most so many of them, drawn with a fixed seed."""
    return pick(documents, np.random.default_rng(0).permutation(len(documents))[:most].tolist())


def measured(
    dataset: Dataset, words: dict[str, Any], study: StudySpec, *, rounds: int = ROUNDS, most: int = DOCUMENTS
) -> dict[str, Any]:
    """What the record has of a task.

    Args:
        dataset: Its documents.
        words: What `words_of` gives.
        study: It has an arm of each method with an encoder.
        rounds: How often everything is measured.
        most: At most so many documents are trained on, and classified.

    Raises:
        TanzakuError: A run failed.
    """
    epochs, short = epochs_of(study), short_study(study, words, rounds=rounds)
    part = replace(dataset, train=some(dataset.train, most=most))
    texts = some(dataset.test, most=most).texts
    with tempfile.TemporaryDirectory() as name:
        made = [_made(_only(short, METHODS[:1], seed), dataset, Path(name, f"words-{seed}")) for seed in short.seeds]
        made.append(_made(_only(short, METHODS[1:], *short.seeds), part, Path(name, "encoder")))
        runs = {run: record for found in made for run, record in found.items()}
        seconds = {
            method: [
                record.costs.train_seconds * len(dataset.train) / record.data.train_documents * times
                for record in runs.values()
                if record.method == method
            ]
            for method, times in ((method, epochs[method] if method in _ONE_EPOCH else 1) for method in METHODS)
        }
        bundles = {method: _bundle(runs, method) for method in METHODS}
        milliseconds: dict[str, list[float]] = {method: [] for method in METHODS}
        for _ in range(rounds):
            for method, bundle in bundles.items():
                milliseconds[method].append(_milliseconds(bundle, texts))
    return {
        "training_documents": len(dataset.train),
        "trained_on": len(part.train),
        "classified": len(texts),
        "epochs": epochs,
        "words": words,
        "methods": {
            method: {
                "train_seconds": statistics.median(seconds[method]),
                "milliseconds": statistics.median(milliseconds[method]),
                "rounds": {"train_seconds": seconds[method], "milliseconds": milliseconds[method]},
            }
            for method in METHODS
        },
    }


def _only(study: StudySpec, methods: Sequence[str], *seeds: int) -> StudySpec:
    """The study with these methods and seeds."""
    arms = tuple(arm for arm in study.arms if arm["method"] in methods)
    return study.model_copy(update={"seeds": seeds, "arms": arms})


def _made(study: StudySpec, dataset: Dataset, out: Path) -> dict[Path, FinishedRun]:
    """The study's runs, one after the other, by their folders."""
    found: dict[Path, FinishedRun] = {}
    plan = plan_study(study, dataset=dataset, out=out)
    for event in make_runs(plan.runs, dataset=dataset, study=study.name):
        if not isinstance(event, RunEnds):
            continue
        if isinstance(event.record, FailedRun):
            raise TanzakuError(f"the run {event.run.run_id} failed: {event.record.error}")
        found[event.run.folder] = event.record
    return found


def _bundle(runs: Mapping[Path, FinishedRun], method: str) -> Path:
    """Pack the first run of a method."""
    run = next(folder for folder, record in runs.items() if record.method == method)
    return pack(run, run / "bundle").folder


def _milliseconds(bundle: Path, texts: Sequence[str]) -> float:
    """For a document, from text to label."""
    classifier = Classifier.load(bundle)
    list(classifier(texts[:8]))
    start = time.perf_counter()
    list(classifier(texts))
    return 1000 * (time.perf_counter() - start) / len(texts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every task that is not done yet, and write the record."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.costs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, help="prepared by `tanzaku data import`")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often everything is measured (%(default)s)")
    parser.add_argument("--documents", type=int, default=DOCUMENTS, help="the most of a split (%(default)s)")
    parser.add_argument("--out", type=Path, default=COSTS, help="write the record here")
    asked = parser.parse_args(arguments)
    parts = Parts(
        BUILD / "costs.json", key={"rounds": asked.rounds, "documents": asked.documents, "commit": GIT_STATE[0]}
    )
    findings = Findings(ROOT / "records")
    for folder in asked.folders:
        dataset = load_dataset(str(folder))
        if dataset.name not in parts.found:
            print(dataset.name, file=sys.stderr, flush=True)
            words = words_of(dataset.name, findings)
            parts.begin(dataset.name)
            found = measured(dataset, words, read_study(STUDY), rounds=asked.rounds, most=asked.documents)
            parts.add(dataset.name, found)
    options = f"--rounds {asked.rounds} --documents {asked.documents}"
    parts.write(
        asked.out, command=f"python -m benchmarks.costs {options} {' '.join(folder.name for folder in asked.folders)}"
    )


if __name__ == "__main__":
    main()
