"""What a server does, without HTTP: its tasks, and answers to requests that were checked against the limits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tanzaku.analysis.abstention import DEFAULT_CONFIDENCE
from tanzaku.data.characters import check_characters, clean_text
from tanzaku.display import counted
from tanzaku.errors import BundleError
from tanzaku.serving.engine import Engine
from tanzaku.serving.explaining import Explanation, explain
from tanzaku.serving.failures import ApiError
from tanzaku.serving.limits import Limits
from tanzaku.serving.schemas import (
    Accuracy,
    ClassifyAnswer,
    ClassifyRequest,
    ExplanationAnswer,
    LabelScore,
    PhraseWeight,
    PredictionAnswer,
    PredictRequest,
    PredictScore,
    TaskAnswer,
)
from tanzaku.serving.tables import read_table, write_table
from tanzaku.serving.tasks import Task, Tasks
from tanzaku.serving.tokens import Tokens
from tanzaku.serving.watching import Metrics
from tanzaku.ship.cards.facts import Split, present_splits
from tanzaku.ship.classifier import Classifier, Prediction
from tanzaku.ship.held_out import threshold_of


@dataclass(frozen=True)
class LabelledFile:
    """A table with labels: the file, its media type, the column that was read, and how many rows there are.

    Of a spreadsheet, `sheet` was read, and `other_sheets`, which have values too, were not. `remarks` say what should
    be looked at in the file.
    """

    content: bytes
    media_type: str
    column: str
    rows: int
    sheet: str | None = None
    other_sheets: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass
class Service:
    """The parts of a server.

    Attributes:
        tasks: The bundles.
        limits: What requests may ask for.
        tokens: Who may ask.
        bundles: The folder below which an administrator may load bundles; None: tasks can't be changed.
        metrics: What is counted.
    """

    tasks: Tasks
    limits: Limits = field(default_factory=Limits)
    tokens: Tokens = field(default_factory=Tokens)
    bundles: Path | None = None
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.engine = Engine(observe=self.metrics.observe_turn)

    def classify(self, request: ClassifyRequest, task: Task) -> ClassifyAnswer:
        """Classify texts; see `Classifier` for the errors."""
        self.check_texts(request.texts)
        if request.explain and len(request.texts) > self.limits.max_explained:
            raise ApiError(
                413, f"explanations of {len(request.texts)} texts; ask for {self.limits.max_explained} at once at most"
            )
        check_characters(request.otherwise, place="otherwise")
        classifier = self.classifier(task)
        minimum = _minimum(request, task)
        predictions = classifier(request.texts, all_labels=True, min_probability=minimum, otherwise=request.otherwise)
        explanations = (
            [explain(classifier, text, contributions=task.contributions) for text in request.texts]
            if request.explain
            else [None] * len(predictions)
        )
        self.metrics.texts.labels(task.name).inc(len(predictions))
        return ClassifyAnswer(
            task=task.name,
            min_probability=minimum,
            predictions=[
                _prediction(one, top=request.top, explanation=why)
                for one, why in zip(predictions, explanations, strict=True)
            ],
        )

    def predict(self, request: PredictRequest, task: Task) -> list[PredictScore] | list[list[PredictScore]]:
        """Classify as text-embeddings-inference does: all labels of each text, the likeliest first."""
        texts = _texts_of(request.inputs)
        self.check_texts(texts)
        predictions = self.classifier(task)(texts, all_labels=True)
        self.metrics.texts.labels(task.name).inc(len(predictions))
        scores = [one.scores if request.raw_scores else one.probabilities for one in predictions]
        batch = [[PredictScore(label=label, score=score) for label, score in (one or {}).items()] for one in scores]
        return batch if _is_batch(request.inputs) else batch[0]

    def label_table(self, content: bytes, task: Task, *, name: str, column: str | None) -> LabelledFile:
        """A table with the labels of its texts."""
        limits = self.limits
        deadline = time.monotonic() + limits.table_seconds
        table = read_table(
            content,
            name=name,
            column=column,
            most_rows=limits.max_rows,
            check=lambda: self.engine.check(deadline),
        )
        texts = table.texts
        self.check_lengths(texts)
        predictions = task.classifier(self.engine, deadline=deadline)(texts)
        self.metrics.texts.labels(task.name).inc(len(predictions))
        labelled, media_type = write_table(table, predictions)
        remarks = (*table.remarks, *_of_empty(texts))
        return LabelledFile(
            labelled, media_type, table.column, len(predictions), table.sheet, table.other_sheets, remarks
        )

    def classifier(self, task: Task) -> Classifier:
        """The task's classifier for a request that begins now."""
        return task.classifier(self.engine, deadline=time.monotonic() + self.limits.request_seconds)

    def check_texts(self, texts: Sequence[str]) -> None:
        """Refuse too many texts, and texts that are too long."""
        limits = self.limits
        if len(texts) > limits.max_texts:
            raise ApiError(413, f"{len(texts)} texts in one request; send {limits.max_texts} at most")
        self.check_lengths(texts)

    def check_lengths(self, texts: Sequence[str]) -> None:
        """Refuse texts that are too long."""
        limits = self.limits
        for number, text in enumerate(texts, start=1):
            if len(text) > limits.max_characters:
                raise ApiError(
                    413, f"text {number} has {len(text)} characters; send texts of {limits.max_characters} at most"
                )

    def load(self, name: str, bundle: str) -> Task:
        """Load a bundle from the folder of bundles.

        Raises:
            BundleError: It is not in that folder, or can't be loaded.
        """
        assert self.bundles is not None
        root = self.bundles.resolve()
        try:
            folder = (root / bundle).resolve()
        except (OSError, ValueError) as error:  # a NUL, or a name that is too long
            raise BundleError(f"{bundle!r} is not the name of a folder") from error
        if folder == root or not folder.is_relative_to(root):
            raise BundleError(f"{bundle!r} is not below the server's folder of bundles; copy it there")
        task = self.tasks.load(name, folder)
        self.metrics.tasks.set(len(self.tasks.all()))
        return task

    def remove(self, name: str) -> None:
        """Take a task away."""
        self.tasks.remove(name)
        self.metrics.tasks.set(len(self.tasks.all()))

    def is_ready(self) -> bool:
        """Whether requests can be answered."""
        return self.engine.is_alive() and bool(self.tasks.all())


def _minimum(request: ClassifyRequest, task: Task) -> float | None:
    """From which probability on texts are answered."""
    if request.error_rate is None:
        if request.confidence is not None:
            raise ApiError(422, "confidence only has an effect with error_rate; give that too")
        if request.otherwise and request.min_probability is None:
            raise ApiError(422, "otherwise only has an effect with min_probability or error_rate; give one of them too")
        return request.min_probability
    if request.min_probability is not None:
        raise ApiError(422, "min_probability and error_rate both set the threshold; give one of them")
    found = threshold_of(
        task.held_out,
        error_rate=request.error_rate,
        confidence=DEFAULT_CONFIDENCE if request.confidence is None else request.confidence,
        remedy="give min_probability instead of error_rate, or a higher error_rate",
    )
    return found.probability


def describe_task(task: Task) -> TaskAnswer:
    """What clients see of a task."""
    facts = task.facts
    measured = {split.name: _accuracy(split) for split in present_splits(facts)}
    return TaskAnswer(
        name=task.name,
        labels=list(facts.label_names),
        method=str(facts.method["name"]),
        data=facts.run.data.name,
        trained=facts.run.ended,
        loaded=task.loaded,
        bundle_bytes=task.bundle_bytes,
        validation=measured.get("validation"),
        test=measured.get("test"),
        shares_pass=task.shares_pass,
        explanations="leave-one-out" if task.contributions is None else "linear",
    )


def _accuracy(split: Split) -> Accuracy:
    scores = split.scores
    return Accuracy(
        data=split.data,
        documents=scores.documents,
        accuracy=scores.accuracy,
        accuracy_interval=scores.accuracy_interval,
        macro_f1=scores.macro_f1,
    )


def _prediction(one: Prediction, *, top: int, explanation: Explanation | None) -> PredictionAnswer:
    probabilities, scores = one.probabilities or {}, one.scores or {}
    return PredictionAnswer(
        label=one.label,
        probability=one.probability,
        score=one.score,
        suggestion=one.suggestion,
        labels=[
            LabelScore(label=label, probability=probability, score=scores[label])
            for label, probability in list(probabilities.items())[:top]
        ],
        explanation=None
        if explanation is None
        else ExplanationAnswer(
            label=explanation.label,
            kind=explanation.kind,
            phrases=[
                PhraseWeight(text=phrase.text, start=phrase.start, end=phrase.end, weight=phrase.weight)
                for phrase in explanation.phrases
            ],
        ),
    )


def _is_batch(inputs: str | list[str] | list[list[str]]) -> bool:
    return isinstance(inputs, list) and not (inputs and isinstance(inputs[0], str))


def _texts_of(inputs: str | list[str] | list[list[str]]) -> list[str]:
    """The texts of text-embeddings-inference's inputs, in which a list of strings is one text or a pair."""
    if isinstance(inputs, str):
        return [inputs]
    sequences = inputs if _is_batch(inputs) else [inputs]
    if not sequences:
        raise ApiError(422, "inputs is empty; give a text, or a batch: [[text], [text], …]")
    texts = []
    for sequence in sequences:
        if isinstance(sequence, str) or len(sequence) != 1 or not isinstance(sequence[0], str):
            raise ApiError(
                422,
                "inputs has a list that is not one text, and pairs of texts are not supported; give a text, or a "
                "batch: [[text], [text], …]",
            )
        texts.append(sequence[0])
    return texts


def _of_empty(texts: Sequence[str]) -> list[str]:
    """What is to be said of texts without a character that can be read."""
    if not (count := sum(not clean_text(text).strip() for text in texts)):
        return []
    return [f"{counted(count, 'text is', 'texts are')} empty: the label of an empty text is meaningless."]
