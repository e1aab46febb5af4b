"""What a change of a bundle's weights does to the classification of a validation set."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tanzaku.analysis.intervals import accuracy_interval_of
from tanzaku.data.grouping import group_numbers
from tanzaku.errors import DataError, TanzakuWarning
from tanzaku.measure.calibration import fit_temperature, rounded_down, softmax
from tanzaku.ship.held_out import HeldOut, write_held_out
from tanzaku.study.summary import CalibrationFacts, DataFacts, SplitScores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tanzaku.data.dataset import Dataset


@dataclass(frozen=True)
class Validation:
    """A validation set as a bundle classifies it: `predicted` has the class of each document, (documents,) int64."""

    predicted: np.ndarray
    scores: SplitScores
    calibration: CalibrationFacts
    """Fitted on it."""
    probabilities: np.ndarray
    """Of the predicted classes with that calibration, rounded down, (documents,) float64."""
    correct: np.ndarray
    """(documents,) bool."""
    groups: list[int] | None
    """Those of the documents, where they are grouped."""

    def write_held_out(self, bundle: Path) -> None:
        """Write what the bundle keeps of the validation documents."""
        write_held_out(bundle, HeldOut.of(self.probabilities, self.correct, self.groups))


def validate(bundle: Path, dataset: Dataset, *, encoder: str | None) -> Validation:
    """Classify the validation set of `dataset`, which has the bundle's labels, in the precision of the bundle's run."""
    from tanzaku.measure.metrics import measure
    from tanzaku.ship.classifier import Classifier

    classifier = Classifier.load(bundle, encoder=encoder)
    groups = None if dataset.val.groups is None else group_numbers(dataset.val.groups)
    classes = np.array([classifier.label_names.index(label) for label in dataset.val.labels])
    scores = classifier.scores(dataset.val.texts)  # (documents, labels)
    predicted = scores.argmax(axis=1)
    measures = measure(classes, predicted, label_names=classifier.label_names)
    calibration = fit_temperature(scores, classes, typical=classifier.facts.build_method().typical_temperature)
    return Validation(
        predicted,
        split_scores(SplitScores.model_validate(measures, from_attributes=True), predicted == classes, groups),
        CalibrationFacts.model_validate(calibration, from_attributes=True),
        rounded_down(softmax(scores, temperature=calibration.temperature).max(axis=1)),
        predicted == classes,
        groups,
    )


def split_scores(scores: SplitScores, correct: np.ndarray, groups: Sequence[int] | np.ndarray | None) -> SplitScores:
    """The scores of documents, (documents,) bool, with an interval over groups where they belong to some."""
    if groups is None:
        return scores
    interval = accuracy_interval_of([scores], correct[None], np.asarray(groups))
    assert interval is not None  # there is one run
    return scores.model_copy(update={"accuracy_interval": (interval.low, interval.high)})


def check_labels(dataset: Dataset, label_names: tuple[str, ...]) -> None:
    """Raise a `DataError` where the data has other labels than the bundle."""
    if dataset.label_names != label_names:
        raise DataError(
            f"the data {dataset.name} has the labels {', '.join(dataset.label_names)}, and the bundle "
            f"{', '.join(label_names)}; give the data that the bundle is for"
        )


def warn_of_other_data(dataset: Dataset, run: DataFacts) -> None:
    """Warn where a bundle is to be measured on other data than its run's, or on another split of the same."""
    if dataset.fingerprint == run.fingerprint:
        return
    warnings.warn(
        f"the data {dataset.name} is not what the classifier was trained on, or is split otherwise. If its validation "
        "set contains documents that the classifier was trained on, accuracies and probabilities will look too good. "
        "The data of a classifier that `tanzaku fit` wrote is the folder data of its study",
        TanzakuWarning,
        stacklevel=3,
    )
