"""Whether probabilities and promised error rates hold on real documents: `records/benchmarks/calibration.json`.

    python -m benchmarks.calibration FOLDER…

takes prepared data. For each, it fits TF-IDF with a linear SVM on the training documents (of words, of characters, and
of few terms) and calibrates its scores on the validation documents. It compares ways of calibrating on the test
documents. Then it takes all documents that were not trained on as the population, draws validation sets of the same
size from it, chooses a threshold on each, and counts how often the error rate among all answered documents is above the
promised one.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tanzaku.analysis.abstention import DEFAULT_CONFIDENCE, choose_threshold
from tanzaku.analysis.reliability import reliability_of
from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.loading import load_dataset
from tanzaku.files import write_json_atomically
from tanzaku.measure.calibration import fit_temperature, rounded_down, softmax
from tanzaku.methods.tfidf_svm import TfidfSvm

RECORD = Path(__file__).parents[1] / "records" / "benchmarks" / "calibration.json"
VARIANTS = {
    "words": TfidfSvm(),
    "characters": TfidfSvm(analyzer="character", longest_ngram=3),
    "3,000 terms": TfidfSvm(max_terms=3000),
}
RATES = (0.02, 0.05, 0.1, 0.2)
_DRAWS = 400


@dataclass(frozen=True)
class Scored:
    """Documents with their scores (documents, labels) and classes (documents,)."""

    scores: np.ndarray
    classes: np.ndarray

    def probabilities(self, temperature: float) -> np.ndarray:
        """(documents, labels)"""
        return softmax(self.scores, temperature=temperature)


def measured(dataset: Dataset, method: TfidfSvm) -> dict[str, Any]:
    """What the script records of one method on one data set."""
    train = _classes(dataset.train, dataset)
    fitted = method.fit(dataset.train.texts, train.tolist(), labels=len(dataset.label_names), seed=0)
    val, test = (
        Scored(method.scores(fitted, split.texts), _classes(split, dataset)) for split in (dataset.val, dataset.test)
    )
    temperature = fit_temperature(val.scores, val.classes, typical=method.typical_temperature).temperature
    return {
        "validation_documents": len(val.classes),
        "test_documents": len(test.classes),
        "accuracy": float((test.scores.argmax(axis=1) == test.classes).mean()),
        "temperature": temperature,
        "calibrations": {
            name: _quality(probabilities, test.classes) for name, probabilities in _ways(val, test, temperature).items()
        },
        "promises": [_promise(val, test, rate, typical=method.typical_temperature) for rate in RATES],
    }


def _classes(split: Documents, dataset: Dataset) -> np.ndarray:
    return np.array([dataset.label_names.index(label) for label in split.labels])


def _quality(probabilities: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    predicted = probabilities.argmax(axis=1)
    found = reliability_of(probabilities.max(axis=1), predicted == classes)
    of_class = probabilities[np.arange(len(classes)), classes]
    return {
        "log_loss": float(-np.log(np.maximum(of_class, 1e-12)).mean()),
        "calibration_error": found.error,
        "error_by_chance": found.error_by_chance,
        "accuracy": float((predicted == classes).mean()),
    }


def _with_biases(val: Scored, test: Scored, temperature: float) -> np.ndarray:
    """A temperature and a bias for each class (Guo et al. 2017, without the weights of vector scaling)."""
    from scipy.optimize import minimize
    from scipy.special import log_softmax, softmax

    def logits(scored: Scored, parameters: np.ndarray) -> np.ndarray:
        found: np.ndarray = scored.scores.astype(np.float64) * np.exp(-parameters[0]) + parameters[1:]
        return found

    def loss(parameters: np.ndarray) -> float:
        rows = np.arange(len(val.classes))
        return float(-log_softmax(logits(val, parameters), axis=1)[rows, val.classes].mean())

    start = np.append(np.log(temperature), np.zeros(val.scores.shape[1]))
    probabilities: np.ndarray = softmax(logits(test, minimize(loss, start, method="L-BFGS-B").x), axis=1)
    return probabilities


def _isotonic(val: Scored, test: Scored, temperature: float) -> np.ndarray:
    """Isotonic regression of each class against the rest (Zadrozny and Elkan 2002)."""
    from sklearn.isotonic import IsotonicRegression

    before, after = val.probabilities(temperature), test.probabilities(temperature)
    columns = [
        IsotonicRegression(out_of_bounds="clip", y_min=1e-3, y_max=1 - 1e-3)
        .fit(before[:, label], val.classes == label)
        .predict(after[:, label])
        for label in range(before.shape[1])
    ]
    stacked = np.stack(columns, axis=1)
    probabilities: np.ndarray = stacked / stacked.sum(axis=1, keepdims=True)
    return probabilities


def _ways(val: Scored, test: Scored, temperature: float) -> dict[str, np.ndarray]:
    """The probabilities of the test documents, (documents, labels), by the way of calibrating them."""
    return {
        "none": test.probabilities(1.0),
        "temperature": test.probabilities(temperature),
        "temperature and biases": _with_biases(val, test, temperature),
        "isotonic": _isotonic(val, test, temperature),
    }


def _promise(val: Scored, test: Scored, rate: float, *, typical: float) -> dict[str, float]:
    """How often a promise is kept, over validation sets that are drawn from all documents that were not trained on."""
    both = Scored(np.concatenate([val.scores, test.scores]), np.concatenate([val.classes, test.classes]))
    right = both.scores.argmax(axis=1) == both.classes
    generator = np.random.default_rng(0)
    coverages, exceeded = [], 0
    for _ in range(_DRAWS):
        drawn = generator.choice(len(right), len(val.classes), replace=False)
        temperature = fit_temperature(both.scores[drawn], both.classes[drawn], typical=typical).temperature
        probabilities = rounded_down(both.probabilities(temperature).max(axis=1))
        found = choose_threshold(probabilities[drawn], right[drawn], error_rate=rate)
        if found is None:
            continue
        answered = probabilities >= found.probability
        coverages.append(float(answered.mean()))
        exceeded += bool((~right[answered]).mean() > rate)
    return {
        "error_rate": rate,
        "confidence": DEFAULT_CONFIDENCE,
        "draws": _DRAWS,
        "promised": len(coverages),
        "exceeded": exceeded,
        "coverage": float(np.mean(coverages)) if coverages else 0.0,
    }


def rows(record: dict[str, Any]) -> list[str]:
    """The table of the documentation."""
    lines = [
        "| data | terms | T | ECE before (points) | ECE (points) | by chance | log loss: temperature | with biases | "
        "isotonic |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for data, variants in record.items():
        for variant, one in variants.items():
            ways = one["calibrations"]
            scaled = ways["temperature"]
            losses = " | ".join(f"{ways[name]['log_loss']:.3f}" for name in list(ways)[1:])
            errors = (ways["none"]["calibration_error"], scaled["calibration_error"], scaled["error_by_chance"])
            shown = " | ".join(f"{100 * error:.1f}" for error in errors)
            lines.append(f"| {data} | {variant} | {one['temperature']:.2f} | {shown} | {losses} |")
    return lines


def promise_rows(record: dict[str, Any]) -> list[str]:
    """The table of the promises, of the variant with words."""
    lines = [
        "| data | validation documents | error rate | promised | coverage | exceeded |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for data, variants in record.items():
        one = variants["words"]
        for promise in one["promises"]:
            made, draws = promise["promised"], promise["draws"]
            coverage = f"{100 * promise['coverage']:.0f} %" if made else "–"
            lines.append(
                f"| {data} | {one['validation_documents']:,} | {100 * promise['error_rate']:g} % | "
                f"{100 * made / draws:.0f} % | {coverage} | {100 * promise['exceeded'] / draws:.1f} % |"
            )
    return lines


def main() -> None:
    """Write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="prepared data")
    found = {}
    for folder in parser.parse_args().folders:
        dataset = load_dataset(folder)
        found[folder.name] = {name: measured(dataset, method) for name, method in VARIANTS.items()}
    write_json_atomically(RECORD, found)
    print("\n".join([*rows(found), "", *promise_rows(found)]))


if __name__ == "__main__":
    main()
