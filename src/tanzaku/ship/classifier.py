"""The one way to predict: texts in, predictions out, in the texts' order and in constant memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from tanzaku.data.characters import check_characters, clean_text
from tanzaku.errors import BundleError
from tanzaku.measure.calibration import softmax
from tanzaku.ship.bundle import BundleFacts, open_bundle
from tanzaku.ship.scorers import Device, Precision, Scorer, load_scorer

# A first answer comes soon, and sorting by length pays from some hundred texts on.
_FIRST_CHUNK = 32
DEFAULT_CHUNK = 2048
DEFAULT_BATCH_TOKENS = 8192
# Of a text, in a message.
_SHOWN_CHARACTERS = 40


def _unheard(count: int) -> None:
    """What hears of batches where nobody listens."""


@dataclass(frozen=True)
class Prediction:
    """The label of one text.

    `probability` is calibrated; `score` is what the method itself gives, such as the label's logit, or for tfidf-svm
    its distance to the separating plane. `scores` and `probabilities` have every label, the likeliest first, where they
    were asked for; else they are None.
    """

    label: str
    probability: float
    score: float
    probabilities: dict[str, float] | None = None
    scores: dict[str, float] | None = None


class Classifier:
    """Classifies texts with a bundle. `facts` is what the bundle says of itself.

    Texts are read as `tanzaku.data.characters` says, as those were that it was trained on.
    """

    def __init__(self, facts: BundleFacts, scorer: Scorer) -> None:
        self.facts = facts
        self._scorer = scorer

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        encoder: str | None = None,
        device: Device = "auto",
        precision: Precision = "auto",
        batch_tokens: int = DEFAULT_BATCH_TOKENS,
    ) -> Classifier:
        """Check a bundle and make it ready.

        Args:
            folder: What `tanzaku pack` wrote.
            encoder: Where the base encoder lies, if not under the name in the bundle; its fingerprint is checked.
            device: `"cpu"`, `"cuda"`, or `"auto"`: a GPU where there is one.
            precision: `"auto"` is that of the bundle's run, except that a run in bfloat16 is classified in float32,
                with a warning, where the hardware has no instructions for bfloat16; either may be chosen.
            batch_tokens: The most tokens that go through the model at once, padding counted; bounds the memory.

        Raises:
            BundleError: There is no bundle, it is damaged, or its encoder is missing or another one.
        """
        for name, value, choices in (
            ("device", device, get_args(Device)),
            ("precision", precision, get_args(Precision)),
        ):
            if value not in choices:
                raise BundleError(f"{name} = {value!r}; choose one of {', '.join(choices)}")
        if batch_tokens < 1:
            raise BundleError(f"batch_tokens = {batch_tokens}; give 1 or more")
        bundle = open_bundle(folder)
        scorer = load_scorer(bundle, encoder=encoder, device=device, precision=precision, batch_tokens=batch_tokens)
        return cls(bundle.facts, scorer)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels, in the order of the scores' columns."""
        return self.facts.label_names

    def __call__(self, texts: Sequence[str], *, all_labels: bool = False) -> list[Prediction]:
        """Classify texts; `all_labels` adds the score and probability of every label.

        Raises:
            DataError: A text holds half a surrogate pair, which is not a character.
            BundleError: The model's scores of a text are infinite or not numbers.
            TypeError: `texts` is one text, or holds something else than texts.
        """
        return list(self.stream(texts, all_labels=all_labels))

    def stream(
        self,
        texts: Iterable[str],
        *,
        all_labels: bool = False,
        chunk: int = DEFAULT_CHUNK,
        listener: Callable[[int], None] = _unheard,
    ) -> Iterator[Prediction]:
        """Classify any number of texts in constant memory; a prediction for each, in their order.

        Args:
            texts: Read as needed: never more than `chunk` beyond the predictions that were taken.
            all_labels: Add the score and probability of every label.
            chunk: At most so many texts are sorted by length together; 1 answers each text before the next is read.
            listener: Called after each batch with the number of texts in it.

        Raises:
            DataError, BundleError, TypeError: As in `__call__`, when the text's turn comes.
        """
        if chunk < 1:
            raise BundleError(f"chunk = {chunk}; give 1 or more")
        for_each = self._predict_all if all_labels else self._predict
        pieces = _chunks(_readable(texts), largest=chunk)
        return itertools.chain.from_iterable(for_each(self._score(piece, listener)) for piece in pieces)

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Logits, or tfidf-svm's distances: (texts, labels) float32, columns as in `label_names`.

        Raises:
            DataError, BundleError, TypeError: As in `__call__`.
        """
        pieces = [self._score(piece, _unheard) for piece in _chunks(_readable(texts), largest=DEFAULT_CHUNK)]
        return np.concatenate([np.zeros((0, len(self.label_names)), dtype=np.float32), *pieces])

    def token_ids(self, texts: Sequence[str]) -> list[np.ndarray] | None:
        """The token ids of each text, (tokens,) int32, before long documents are cut; None where words are read.

        Raises:
            DataError, TypeError: As in `__call__`.
        """
        documents = self._scorer.token_ids(list(_readable(texts)))
        return None if documents is None else list(documents)

    def _score(self, texts: Sequence[str], listener: Callable[[int], None]) -> np.ndarray:
        """(texts, labels) float32, all of them finite."""
        scores = self._scorer(texts, listener=listener)
        wrong = np.flatnonzero(~np.isfinite(scores).all(axis=1))
        if len(wrong):
            raise BundleError(
                f"the model's scores of {len(wrong)} of {len(texts)} texts are infinite or not numbers, the first one "
                f"being {texts[wrong[0]][:_SHOWN_CHARACTERS]!r}; choose precision = float32 (--precision float32), or, "
                "if it is that already, train and pack the model again"
            )
        return scores

    def _predict(self, scores: np.ndarray) -> list[Prediction]:
        best = scores.argmax(axis=1)
        probabilities = softmax(scores, temperature=self.facts.calibration.temperature)
        return [
            Prediction(
                label=self.label_names[column],
                probability=float(probabilities[row, column]),
                score=float(scores[row, column]),
            )
            for row, column in enumerate(best)
        ]

    def _predict_all(self, scores: np.ndarray) -> list[Prediction]:
        order = np.argsort(-scores, axis=1, kind="stable")
        probabilities = softmax(scores, temperature=self.facts.calibration.temperature)
        return [
            Prediction(
                label=prediction.label,
                probability=prediction.probability,
                score=prediction.score,
                probabilities=self._by_label(probabilities[row], order[row]),
                scores=self._by_label(scores[row], order[row]),
            )
            for row, prediction in enumerate(self._predict(scores))
        ]

    def _by_label(self, values: np.ndarray, order: np.ndarray) -> dict[str, float]:
        return {self.label_names[column]: float(values[column]) for column in order}


def _readable(texts: Iterable[str]) -> Iterator[str]:
    if isinstance(texts, str):
        raise TypeError("a list of texts is wanted, not one text; write [text]")
    return map(_read, texts, itertools.count(1))


def _read(text: str, number: int) -> str:
    if not isinstance(text, str):
        raise TypeError(f"text {number} is of the type {type(text).__name__}; texts are strings")
    check_characters(text, place=f"text {number}")
    return clean_text(text)


def _chunks(texts: Iterator[str], *, largest: int) -> Iterator[list[str]]:
    size = min(_FIRST_CHUNK, largest)
    while chunk := list(itertools.islice(texts, size)):
        yield chunk
        size = min(2 * size, largest)
