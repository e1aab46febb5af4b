"""A bundle as the teacher of other classifiers: see `tanzaku.study.teacher`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tanzaku.files import sha256_of_file
from tanzaku.ship.classifier import Classifier
from tanzaku.ship.manifest import MANIFEST_FILE


class BundleTeacher:
    """Gives the soft labels of a bundle's classifier."""

    def __init__(self, folder: Path) -> None:
        self._classifier = Classifier.load(folder)
        self.fingerprint = sha256_of_file(folder / MANIFEST_FILE)  # which has the sums of all files

    @property
    def method(self) -> str:
        """The name of the bundle's method."""
        return str(self._classifier.facts.method["name"])

    @property
    def label_names(self) -> tuple[str, ...]:
        """In the order of the scores' columns."""
        return self._classifier.label_names

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Calibrated logits (texts, labels) float32: their softmax has the classifier's probabilities."""
        names, temperature = self.label_names, self._classifier.facts.calibration.temperature
        predictions = self._classifier.stream(texts, all_labels=True)
        rows = [[(one.scores or {})[name] for name in names] for one in predictions]
        return np.array(rows, dtype=np.float32) / np.float32(temperature)


def open_teacher(folder: Path) -> BundleTeacher:
    """Check a bundle and make it ready to teach.

    Raises:
        BundleError: There is no bundle, it is damaged, or its encoder is missing or another one.
    """
    return BundleTeacher(folder)
