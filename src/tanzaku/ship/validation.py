"""What a change of a bundle's weights does to the classification of a validation set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tanzaku.errors import DataError
from tanzaku.study.record import SplitScores

if TYPE_CHECKING:
    import numpy as np

    from tanzaku.data.dataset import Dataset


@dataclass(frozen=True)
class Validation:
    """A validation set as a bundle classifies it: `predicted` has the class of each document, (documents,) int64."""

    predicted: np.ndarray
    scores: SplitScores


def validate(bundle: Path, dataset: Dataset, *, encoder: str | None) -> Validation:
    """Classify the validation set of `dataset`, which has the bundle's labels, in the precision of the bundle's run."""
    import numpy as np

    from tanzaku.measure.metrics import measure
    from tanzaku.ship.classifier import Classifier

    classifier = Classifier.load(bundle, encoder=encoder)
    classes = np.array([classifier.label_names.index(label) for label in dataset.val.labels])
    predicted = classifier.scores(dataset.val.texts).argmax(axis=1)
    measures = measure(classes, predicted, label_names=classifier.label_names)
    return Validation(predicted, SplitScores.model_validate(measures, from_attributes=True))


def check_labels(dataset: Dataset, label_names: tuple[str, ...]) -> None:
    """Raise a `DataError` where the data has other labels than the bundle."""
    if dataset.label_names != label_names:
        raise DataError(
            f"the data {dataset.name} has the labels {', '.join(dataset.label_names)}, and the bundle "
            f"{', '.join(label_names)}; give the data that the bundle is for"
        )
