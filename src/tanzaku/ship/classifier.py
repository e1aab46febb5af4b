"""The one way to predict: texts in, predictions out, in the texts' order and in constant memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np

from tanzaku.analysis.abstention import DEFAULT_CONFIDENCE, Threshold
from tanzaku.data.characters import check_characters, clean_text
from tanzaku.display import counted
from tanzaku.errors import BundleError
from tanzaku.measure.calibration import softmax
from tanzaku.ship.bundle import BundleFacts, open_bundle
from tanzaku.ship.held_out import HeldOut, read_held_out, threshold_of
from tanzaku.ship.hub import bundle_folder
from tanzaku.ship.scorers import Device, Precision, Scorer, check_options, load_scorer

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
    were asked for; else they are None. Of a text that is not answered, `label` is what the caller gave for that, and
    `suggestion` the likeliest label; else `suggestion` is None.
    """

    label: str
    probability: float
    score: float
    probabilities: dict[str, float] | None = None
    scores: dict[str, float] | None = None
    suggestion: str | None = None


class Classifier:
    """Classifies texts with a bundle. `facts` is what the bundle says of itself.

    Texts are read as `tanzaku.data.characters` says, as those were that it was trained on.
    """

    def __init__(self, facts: BundleFacts, scorer: Scorer, *, held_out: HeldOut | None = None) -> None:
        self.facts = facts
        self._scorer = scorer
        self._held_out = held_out

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
            folder: What `tanzaku pack` wrote, or `hf://owner/name[@revision]` for a bundle on the Hub.
            encoder: Where the base encoder lies, if not under the name in the bundle; its fingerprint is checked.
            device: `"cpu"`, `"cuda"`, or `"auto"`: a GPU where there is one.
            precision: `"auto"` is that of the bundle's run, except that a run in bfloat16 is classified in float32,
                with a warning, where the hardware has no instructions for bfloat16; either may be chosen. An
                export has only the one in which it was exported.
            batch_tokens: The most tokens that go through the model at once, padding counted; bounds the memory.

        Raises:
            BundleError: There is no bundle, it is damaged, its encoder is missing or another one, or it is an export
                or without an encoder and can't compute as asked for.
        """
        for name, value, choices in (
            ("device", device, get_args(Device)),
            ("precision", precision, get_args(Precision)),
        ):
            if value not in choices:
                raise BundleError(f"{name} = {value!r}; choose one of {', '.join(choices)}")
        if batch_tokens < 1:
            raise BundleError(f"batch_tokens = {batch_tokens}; give 1 or more")
        bundle = open_bundle(bundle_folder(folder))
        check_options(bundle.facts, device=device, precision=precision, encoder=encoder)
        scorer = load_scorer(bundle, encoder=encoder, device=device, precision=precision, batch_tokens=batch_tokens)
        return cls(bundle.facts, scorer, held_out=read_held_out(bundle.folder))

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels, in the order of the scores' columns."""
        return self.facts.label_names

    def threshold(self, error_rate: float, *, confidence: float = DEFAULT_CONFIDENCE) -> Threshold:
        """The `min_probability` with which at most a share of the answers are wrong, as `threshold.probability`.

        It is chosen on the held-out documents of which the bundle keeps the probabilities, and true of texts that are
        like these: the validation documents of its run, or the documents of the cross-validation of `tanzaku fit`. See
        `tanzaku.ship.held_out` and `tanzaku.analysis.abstention`.

        Args:
            error_rate: The share of wrong ones among the answers, between 0 and 1.
            confidence: With which this is promised, between 0 and 1.

        Raises:
            BundleError: The promise can't be made, such as with few held-out documents, or a share is out of range.
        """
        return threshold_of(self._held_out, error_rate=error_rate, confidence=confidence)

    def __call__(
        self,
        texts: Sequence[str],
        *,
        all_labels: bool = False,
        min_probability: float | None = None,
        otherwise: str = "",
    ) -> list[Prediction]:
        """Classify texts.

        Args:
            texts: They are all classified before the first prediction is returned.
            all_labels: Add the score and probability of every label.
            min_probability: Answer only texts whose label has at least this probability; None answers all.
            otherwise: The label of the others.

        Raises:
            DataError: A text holds half a surrogate pair, which is not a character.
            BundleError: The model's scores of a text are infinite or not numbers, or not as many as there are labels.
            TypeError: `texts` is one text, or holds something else than texts.
        """
        return list(self.stream(texts, all_labels=all_labels, min_probability=min_probability, otherwise=otherwise))

    def stream(
        self,
        texts: Iterable[str],
        *,
        all_labels: bool = False,
        min_probability: float | None = None,
        otherwise: str = "",
        chunk: int = DEFAULT_CHUNK,
        done: int = 0,
        listener: Callable[[int], None] = _unheard,
    ) -> Iterator[Prediction]:
        """Classify any number of texts in constant memory; a prediction for each, in their order.

        Args:
            texts: Read as needed: never more than `chunk` beyond the predictions that were taken.
            all_labels: As in `__call__`.
            min_probability: As in `__call__`.
            otherwise: As in `__call__`.
            chunk: At most so many texts are sorted by length together; 1 answers each text before the next is read.
            done: How many texts came before these, in a call that ended after one of `chunk_sizes`: the rest is then
                classified in the same batches as it would have been, to the same bits.
            listener: Called after each batch with the number of texts in it.

        Raises:
            DataError, BundleError, TypeError: As in `__call__`, when the text's turn comes.
        """
        if chunk < 1:
            raise BundleError(f"chunk = {chunk}; give 1 or more")
        if min_probability is not None and not 0 <= min_probability <= 1:
            raise BundleError(f"min_probability = {min_probability}; give a probability from 0 to 1, such as 0.8")
        for_each = self._predict_all if all_labels else self._predict
        pieces = _chunks(_readable(texts), largest=chunk, done=done)
        predictions = itertools.chain.from_iterable(for_each(self._score(piece, listener)) for piece in pieces)
        if min_probability is None:
            return predictions
        return (_answered(one, min_probability=min_probability, otherwise=otherwise) for one in predictions)

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
        if scores.shape != (len(texts), len(self.label_names)):
            raise BundleError(
                f"the bundle of the run {self.facts.run.run_id} has {len(self.label_names)} labels, but its model's "
                f"scores of {counted(len(texts), 'text')} have the shape {scores.shape}; pack or export it again"
            )
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


def _answered(prediction: Prediction, *, min_probability: float, otherwise: str) -> Prediction:
    if prediction.probability >= min_probability:
        return prediction
    return replace(prediction, label=otherwise, suggestion=prediction.label)


def _readable(texts: Iterable[str]) -> Iterator[str]:
    if isinstance(texts, str):
        raise TypeError("a list of texts is wanted, not one text; write [text]")
    return map(_read, texts, itertools.count(1))


def _read(text: str, number: int) -> str:
    if not isinstance(text, str):
        raise TypeError(f"text {number} is of the type {type(text).__name__}; texts are strings")
    check_characters(text, place=f"text {number}")
    return clean_text(text)


def chunk_sizes(largest: int) -> Iterator[int]:
    """How many texts `Classifier.stream` classifies together, one chunk after another without end."""
    size = min(_FIRST_CHUNK, largest)
    while True:
        yield size
        size = min(2 * size, largest)


def _chunks(texts: Iterator[str], *, largest: int, done: int = 0) -> Iterator[list[str]]:
    sizes = chunk_sizes(largest)
    while done > 0:
        done -= next(sizes)
    if done < 0:  # it ended within a chunk
        sizes = itertools.chain([-done], sizes)
    for size in sizes:
        if not (chunk := list(itertools.islice(texts, size))):
            return
        yield chunk
