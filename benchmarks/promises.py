"""Whether what `tanzaku fit` says of the future comes true on real documents: `records/benchmarks/promises.json`.

    python -m benchmarks.promises FILE…

takes labelled documents. It draws 400 of them again and again, as the documents that somebody has labelled, and splits
them as `tanzaku fit` does. TF-IDF with a linear SVM in three variants is cross-validated and one of them chosen. From
the folds come the intervals of what more labels will bring, and the probabilities from which on at most 2, 5, 10 or
20 % of the answers are wrong. All other documents are the future:

- labels are added from them to the final training, and the accuracy on the rest is measured before and after;
- the final classifier answers from the chosen probability on, and its answers are counted;
- the calibration error of its probabilities is measured.

It takes about 15 minutes for three sets. The same command resumes after an interruption.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import RECORDS
from benchmarks.resuming import BUILD, Parts
from tanzaku.analysis.abstention import DEFAULT_CONFIDENCE, choose_threshold
from tanzaku.analysis.learning_curve import LearningCurve, learning_curve
from tanzaku.analysis.reliability import reliability_of
from tanzaku.analysis.selection import Selectable, select
from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.options import ReadOptions
from tanzaku.data.split import pick
from tanzaku.files import sha256_of_file
from tanzaku.fitting.documents import Labelled, labelled
from tanzaku.fitting.finish import SHARES, nice
from tanzaku.fitting.splits import Splits, fewer, split_for_fit
from tanzaku.measure.calibration import fit_temperature, rounded_down, softmax
from tanzaku.methods.tfidf_svm import TfidfSvm
from tanzaku.provenance import GIT_STATE

RECORD = RECORDS / "promises.json"
VARIANTS = tuple(TfidfSvm(analyzer="character", longest_ngram=length, max_terms=2048) for length in (1, 2, 3))
RATES = (0.02, 0.05, 0.1, 0.2)
LABELS = 400
_MARGIN = 0.01
_DRAWS = 100
_NORMAL = 1.96  # standard errors of a 95 % interval
_FUTURE = 3000  # documents of each draw that are classified later; more would only take longer


@dataclass(frozen=True)
class Trained:
    """A variant that was trained on documents, with the temperature of others."""

    method: TfidfSvm
    fitted: Any
    temperature: float
    names: tuple[str, ...]

    @classmethod
    def on(cls, method: TfidfSvm, train: Documents, val: Documents, names: tuple[str, ...]) -> Trained:
        """Fit and calibrate."""
        fitted = method.fit(train.texts, classes_of(train, names).tolist(), labels=len(names), seed=0)
        scores = method.scores(fitted, val.texts)
        found = fit_temperature(scores, classes_of(val, names), typical=method.typical_temperature)
        return cls(method, fitted, found.temperature, names)

    def probabilities(self, documents: Documents) -> np.ndarray:
        """(documents, labels)"""
        return softmax(self.method.scores(self.fitted, documents.texts), temperature=self.temperature)

    def correct(self, documents: Documents) -> np.ndarray:
        """Whether each document is classified right, (documents,) bool."""
        scores = self.method.scores(self.fitted, documents.texts)
        right: np.ndarray = scores.argmax(axis=1) == classes_of(documents, self.names)
        return right


def classes_of(documents: Documents, names: Sequence[str]) -> np.ndarray:
    """Class indices, (documents,) int."""
    index = {name: place for place, name in enumerate(names)}
    return np.array([index[label] for label in documents.labels])


def measured(read: Labelled, kept: Parts, *, draws: int = _DRAWS, labels: int = LABELS) -> dict[str, Any]:
    """What the record has of a set; `kept` has the draws that were made before."""
    for draw in range(draws):
        if str(draw) not in kept.found:
            rows = np.random.default_rng(draw).permutation(len(read.documents)).tolist()
            mine, future = pick(read.documents, rows[:labels]), pick(read.documents, rows[labels : labels + _FUTURE])
            groups = [read.groups[row] for row in rows[:labels]]
            kept.add(str(draw), _outcome(split_for_fit(mine, groups, name="drawn", seed=draw), future))
    outcomes = [kept.found[str(draw)] for draw in range(draws)]
    return {
        "draws": draws,
        "labels": labels,
        "documents": len(read.documents),
        "classes": len(set(read.documents.labels)),
        "accuracy": float(np.mean([one["accuracy"] for one in outcomes])),
        "calibration_error": float(np.mean([one["calibration_error"] for one in outcomes])),
        "error_by_chance": float(np.mean([one["error_by_chance"] for one in outcomes])),
        "gains": [_gain([one["gains"][place] for one in outcomes]) for place in range(2)],
        "promises": [_promise([one["promises"][place] for one in outcomes], rate) for place, rate in enumerate(RATES)],
    }


def _outcome(splits: Splits, future: Documents) -> dict[str, Any]:
    """One draw: what was said, and what came true."""
    names = splits.whole.label_names
    future = pick(future, [row for row, label in enumerate(future.labels) if label in names])
    folds = [[Trained.on(method, fold.train, fold.val, names) for fold in splits.folds] for method in VARIANTS]
    place = _chosen(folds, splits)
    method, models = VARIANTS[place], folds[place]
    final = Trained.on(method, splits.whole.train, splits.whole.val, names)
    curve = _curve(method, models, splits)
    probabilities = final.probabilities(future)
    confident = rounded_down(probabilities.max(axis=1))
    right = probabilities.argmax(axis=1) == classes_of(future, names)
    quality = reliability_of(confident, right)
    return {
        "accuracy": float(right.mean()),
        "calibration_error": quality.error,
        "error_by_chance": quality.error_by_chance,
        "gains": _realised(curve, final, splits, future),
        "promises": _answers(models, splits, confident, right),
    }


def _chosen(folds: Sequence[Sequence[Trained]], splits: Splits) -> int:
    """The variant that `fit` would take."""
    names = splits.whole.label_names
    classes = np.concatenate([classes_of(fold.test, names) for fold in splits.folds])
    candidates = [
        Selectable(
            np.concatenate(
                [
                    model.method.scores(model.fitted, fold.test.texts).argmax(axis=1)
                    for model, fold in zip(models, splits.folds, strict=True)
                ]
            ),
            total_bytes=place,
        )
        for place, models in enumerate(folds)
    ]
    found = select(candidates, classes, labels=len(names), margin=_MARGIN, choose_by="accuracy")
    return found.best if found.recommended is None else found.recommended


def _curve(method: TfidfSvm, models: Sequence[Trained], splits: Splits) -> LearningCurve:
    parts = [[fewer(fold, share=share, seed=0) for fold in splits.folds] for share in SHARES]
    rows = [
        np.concatenate([_trained(method, part).correct(part.test) for part in of_share])  # (documents,)
        for of_share in parts
    ]
    rows.append(np.concatenate([model.correct(fold.test) for model, fold in zip(models, splits.folds, strict=True)]))
    sizes = [float(np.mean([len(part.train) for part in of_share])) for of_share in (*parts, splits.folds)]
    start = len(splits.whole.train)
    more = [nice(0.5 * start), nice(1.5 * start)]
    curve = learning_curve(sizes, np.stack(rows), trainings=len(splits.folds), start=start, more=more)
    assert curve is not None  # there are no groups
    return curve


def _trained(method: TfidfSvm, dataset: Dataset) -> Trained:
    return Trained.on(method, dataset.train, dataset.val, dataset.label_names)


def _realised(curve: LearningCurve, final: Trained, splits: Splits, future: Documents) -> list[dict[str, float]]:
    """Of each gain, its interval and what the labels brought: the first of the future documents are the new ones."""
    whole = splits.whole
    rest = pick(future, range(max(gain.more for gain in curve.gains), len(future)))
    before = final.correct(rest)
    found = []
    for gain in curve.gains:
        train = _joined(whole.train, pick(future, range(gain.more)))
        change = Trained.on(final.method, train, whole.val, whole.label_names).correct(rest).astype(int) - before
        measured = {"real": float(change.mean()), "error": float(change.std() / len(change) ** 0.5)}
        found.append({"more": gain.more, "low": gain.low, "high": gain.high, "mean": gain.mean, **measured})
    return found


def _joined(one: Documents, other: Documents) -> Documents:
    return Documents((*one.texts, *other.texts), (*one.labels, *other.labels))


def _answers(
    models: Sequence[Trained], splits: Splits, confident: np.ndarray, right: np.ndarray
) -> list[dict[str, Any]]:
    """Of each rate, whether a promise was made, which share was answered, and which share of the answers was wrong."""
    names = splits.whole.label_names
    made = [model.probabilities(fold.test) for model, fold in zip(models, splits.folds, strict=True)]
    probabilities = rounded_down(np.concatenate([one.max(axis=1) for one in made]))
    correct = np.concatenate(
        [one.argmax(axis=1) == classes_of(fold.test, names) for one, fold in zip(made, splits.folds, strict=True)]
    )
    found = []
    for rate in RATES:
        threshold = choose_threshold(probabilities, correct, error_rate=rate)
        answered = confident >= (2 if threshold is None else threshold.probability)
        wrong = float((~right[answered]).mean()) if answered.any() else 0.0
        found.append({"made": threshold is not None, "answered": float(answered.mean()), "wrong": wrong})
    return found


def _gain(outcomes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """How often the interval, and the error of what was measured with it, cover the gain."""
    real, error, low, high, mean = (
        np.array([one[name] for one in outcomes]) for name in ("real", "error", "low", "high", "mean")
    )
    below, above = (np.hypot(one, _NORMAL * error) for one in (mean - low, high - mean))
    return {
        "more": outcomes[0]["more"],
        "expected": float(mean.mean()),
        "real": float(real.mean()),
        "covered": float(((mean - below <= real) & (real <= mean + above)).mean()),
        "less": float((real < mean - below).mean()),
        "width": float((high - low).mean()),
    }


def _promise(outcomes: Sequence[Mapping[str, Any]], rate: float) -> dict[str, float]:
    made = [one for one in outcomes if one["made"]]
    return {
        "error_rate": rate,
        "confidence": DEFAULT_CONFIDENCE,
        "promised": len(made),
        "exceeded": sum(one["wrong"] > rate for one in made),
        "answered": float(np.mean([one["answered"] for one in made])) if made else 0.0,
        "wrong": float(np.mean([one["wrong"] for one in made])) if made else 0.0,
    }


def gain_rows(parts: Mapping[str, Any]) -> list[str]:
    """The table of the gains."""
    lines = [
        "| data | accuracy (%) | more labels | expected (points) | measured (points) | width (points) | covered (%) |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for data, part in parts.items():
        for gain in part["gains"]:
            points = " | ".join(f"{100 * gain[name]:.2f}" for name in ("expected", "real", "width"))
            lines.append(
                f"| {data} | {100 * part['accuracy']:.1f} | {gain['more']} | {points} | {100 * gain['covered']:.0f} |"
            )
    return lines


def promise_rows(parts: Mapping[str, Any]) -> list[str]:
    """The table of the promised error rates."""
    lines = [
        "| data | error rate (%) | promised (% of draws) | answered (%) | wrong (%) | more wrong than promised (%) |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for data, part in parts.items():
        for one in part["promises"]:
            made, draws = one["promised"], part["draws"]
            shares = f"{100 * one['answered']:.0f} | {100 * one['wrong']:.1f}" if made else "– | –"
            lines.append(
                f"| {data} | {100 * one['error_rate']:g} | {100 * made / draws:.0f} | {shares} | "
                f"{100 * one['exceeded'] / draws:.1f} |"
            )
    return lines


def main() -> None:
    """Measure every set that is not done yet, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path, help="labelled documents")
    parser.add_argument("--draws", type=int, default=_DRAWS, help=f"of each set (default: {_DRAWS})")
    asked = parser.parse_args()
    parts = Parts(BUILD / "promises.json", key={"draws": asked.draws, "labels": LABELS})
    for source in asked.sources:
        if source.stem not in parts.found:
            print(source.stem, file=sys.stderr, flush=True)
            read = labelled(source, ReadOptions())
            # Draws of other documents or of other code are not mixed with these.
            key = {"labels": LABELS, "file": sha256_of_file(source), "commit": GIT_STATE[0]}
            kept = Parts(BUILD / f"promises-{source.stem}.json", key=key)
            parts.begin(source.stem)
            parts.add(source.stem, measured(read, kept, draws=asked.draws))
    parts.write(RECORD, command=f"python -m benchmarks.promises --draws {asked.draws} {' '.join(parts.found)}")


if __name__ == "__main__":
    main()
