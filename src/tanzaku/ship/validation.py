"""What a change of a bundle's weights does to the classification of a validation set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tanzaku.analysis.abstention import one_of_each
from tanzaku.data.grouping import together
from tanzaku.errors import DataError
from tanzaku.measure.calibration import fit_temperature, rounded_down, softmax
from tanzaku.ship import held_out
from tanzaku.study.summary import CalibrationFacts, SplitScores

if TYPE_CHECKING:
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
    independent: np.ndarray
    """The rows that a promise may count, (rows,) int: all, or one of each group."""

    def write_held_out(self, bundle: Path) -> None:
        """Write what the bundle keeps of the validation documents."""
        rows = self.independent
        held_out.write_held_out(bundle, probabilities=self.probabilities[rows], correct=self.correct[rows])


def validate(bundle: Path, dataset: Dataset, *, encoder: str | None) -> Validation:
    """Classify the validation set of `dataset`, which has the bundle's labels, in the precision of the bundle's run."""
    from tanzaku.measure.metrics import measure
    from tanzaku.ship.classifier import Classifier

    classifier = Classifier.load(bundle, encoder=encoder)
    classes = np.array([classifier.label_names.index(label) for label in dataset.val.labels])
    scores = classifier.scores(dataset.val.texts)  # (documents, labels)
    predicted = scores.argmax(axis=1)
    measures = measure(classes, predicted, label_names=classifier.label_names)
    calibration = fit_temperature(scores, classes, typical=classifier.facts.build_method().typical_temperature)
    return Validation(
        predicted,
        SplitScores.model_validate(measures, from_attributes=True),
        CalibrationFacts.model_validate(calibration, from_attributes=True),
        rounded_down(softmax(scores, temperature=calibration.temperature).max(axis=1)),
        predicted == classes,
        one_of_each(np.array(together(dataset.val.groups or [None] * len(classes)))),
    )


def check_labels(dataset: Dataset, label_names: tuple[str, ...]) -> None:
    """Raise a `DataError` where the data has other labels than the bundle."""
    if dataset.label_names != label_names:
        raise DataError(
            f"the data {dataset.name} has the labels {', '.join(dataset.label_names)}, and the bundle "
            f"{', '.join(label_names)}; give the data that the bundle is for"
        )
