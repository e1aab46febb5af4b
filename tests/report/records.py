"""Synthetic run records, made through the real models: figures are invented, shapes are a study's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from statsmodels.stats.proportion import proportion_confint

from tanzaku.analysis.arms import sections_of
from tanzaku.analysis.evidence import Evidence, evidence_of
from tanzaku.analysis.predictions import RunPredictions, run_key
from tanzaku.analysis.thesis import TABLE_3_1
from tanzaku.measure.metrics import ChooseBy, measure
from tanzaku.methods.lora import Lora
from tanzaku.study.predictions import VALIDATION_PREDICTIONS_FILE, write_predictions
from tanzaku.study.record import (
    RANKS_FOLDER,
    ComputeFacts,
    Costs,
    EncoderFacts,
    Environment,
    EpochRecord,
    FailedRun,
    FinishedEncoderRun,
    FinishedRun,
    FinishedTextRun,
    RankRecord,
    RunRecord,
    Scores,
    write_record,
)
from tanzaku.study.summary import ClassScores, DataFacts, SplitScores

LIVEDOOR = tuple(sorted(TABLE_3_1))
LORA = {"name": "lora", **Lora(rank=8, dropout=0.1, targets=("query", "value")).model_dump(mode="json")}
RANKS = (2, 4, 8, 32, 64, 128, 256)
THESIS_ACCURACIES = {  # near the thesis's, so that figures look as they will
    5e-4: (0.8712, 0.8743, 0.8790, 0.8865, 0.8901, 0.8882, 0.8534),
    5e-5: (0.7011, 0.7098, 0.7133, 0.7222, 0.7287, 0.7301, 0.7312),
}


def lora(rank: int, **options: Any) -> dict[str, Any]:
    """A LoRA method in the thesis's settings, with some of them changed."""
    return {**LORA, "rank": rank, **options}


def training(learning_rate: float, *, epochs: int = 5, patience: int | None = 3, **options: Any) -> dict[str, Any]:
    """A resolved `[training]`."""
    return {
        "learning_rate": learning_rate,
        "epochs": epochs,
        "batch_size": 8,
        "weight_decay": 0.0,
        "patience": patience,
        "threshold": 0.005,
        "padding": "longest",
        "checkpoint_minutes": 10.0,
        **options,
    }


def data_facts(
    label_names: Sequence[str] = LIVEDOOR, *, fingerprint: str = "d" * 64, name: str = "livedoor"
) -> DataFacts:
    """The data of a record: the real corpus's sizes."""
    return DataFacts(
        name=name,
        fingerprint=fingerprint,
        label_names=tuple(label_names),
        train_documents=2945,
        val_documents=736,
        test_documents=3686,
        train_documents_per_class=tuple(_shared_out(2945, len(label_names))),
    )


def _shared_out(documents: int, classes: int) -> list[int]:
    return [documents // classes + (index < documents % classes) for index in range(classes)]


def encoder_facts(*, fingerprint: str = "e" * 64, name: str = "small-encoder") -> EncoderFacts:
    """A small encoder."""
    return EncoderFacts(
        name=name,
        fingerprint=fingerprint,
        model_type="bert",
        layers=4,
        hidden_size=256,
        vocabulary_size=12_000,
        parameters=6_400_000,
        head=("classifier",),
    )


def environment(**changes: Any) -> Environment:
    """The machine of a record."""
    facts: dict[str, Any] = {
        "versions": {"torch": "2.9.0", "tanzaku": "0.1.0"},
        "platform": "Linux-6.1-x86_64",
        "cpu": "Example CPU 3000",
        "cores": 2,
        "threads": 2,
        "memory_bytes": 8_000_000_000,
        "gpu": None,
        "git_commit": "0123456789abcdef",
        "git_dirty": False,
    }
    return Environment(**{**facts, **changes})


def scores(accuracy: float, *, documents: int = 3686, label_names: Sequence[str] = LIVEDOOR) -> Scores:
    """Scores whose confusion matrix has the accuracy, with the errors spread over the next two classes."""
    size = len(label_names)
    supports = _shared_out(documents, size)
    if tuple(label_names) == LIVEDOOR and documents == 3686:
        supports = [TABLE_3_1[name].test - (name == "livedoor-homme") for name in label_names]
    wrong = documents - round(accuracy * documents)
    confusion = [[0] * size for _ in range(size)]
    for index, support in enumerate(supports):
        share = min(support, wrong // size + (index < wrong % size))
        confusion[index][index] += support - share
        confusion[index][(index + 1) % size] += share - share // 3
        confusion[index][(index + 2) % size] += share // 3
    correct = sum(confusion[index][index] for index in range(size))
    low, high = proportion_confint(correct, documents, alpha=0.05, method="wilson")
    return Scores(
        documents=documents,
        correct=correct,
        accuracy=correct / documents,
        accuracy_interval=(float(low), float(high)),
        macro_f1=correct / documents - 0.005,
        per_class={
            name: ClassScores(precision=accuracy, recall=accuracy, f1=accuracy, support=support)
            for name, support in zip(label_names, supports, strict=True)
        },
        confusion=tuple(map(tuple, confusion)),
    )


def scores_of(confusion: Sequence[Sequence[int]], label_names: Sequence[str]) -> Scores:
    """Scores of a confusion matrix, measured as a run measures them."""
    cells = [
        (row, column) for row, line in enumerate(confusion) for column, count in enumerate(line) for _ in range(count)
    ]
    classes, predicted = np.array(cells).T
    return Scores.model_validate(asdict(measure(classes, predicted, label_names=label_names)))


def history(epochs: int, *, rate: float) -> tuple[EpochRecord, ...]:
    """Losses that fall faster with a larger `rate`."""
    return tuple(
        EpochRecord(
            epoch=epoch,
            steps=369 * epoch,
            train_loss=2.2 * math.exp(-rate * epoch) + 0.2,
            val_loss=2.2 * math.exp(-rate * epoch) + 0.3,
            val_accuracy=0.9 - 0.6 * math.exp(-rate * epoch),
            learning_rate=1e-4,
            train_seconds=20.0,
            eval_seconds=2.0,
        )
        for epoch in range(1, epochs + 1)
    )


def costs(*, rank: int | None = None, seconds: float = 100.0, **changes: Any) -> Costs:
    """Costs as LoRA's on a BERT-base would be, or a full model's."""
    saved = 442_500_000 if rank is None else 36_864 * rank * 4 + 45_000
    facts: dict[str, Any] = {
        "train_seconds": seconds,
        "train_seconds_with_evaluation": seconds * 1.1,
        "test_seconds": 12.0,
        "peak_memory_bytes": 1_234_000_000,
        "peak_gpu_memory_bytes": None,
        "trainable_parameters": 110_000_000 if rank is None else 36_864 * rank + 6_921,
        "saved_bytes": saved,
    }
    return Costs(**{**facts, **changes})


def finished(
    method: dict[str, Any], *, accuracy: float, learning_rate: float = 5e-4, seed: int = 42, **changes: Any
) -> FinishedEncoderRun:
    """A finished run of a method that adapts an encoder. `changes` go to the record; `training`, if among them, to the
    spec."""
    settings = changes.pop("training", None) or training(learning_rate)
    epochs = min(settings["epochs"], 40)
    rank = method.get("rank")
    rate = (0.15 + 0.05 * math.log2(rank or 64)) * (1 if learning_rate > 1e-4 else 0.3)
    curve = tuple(
        (step, 2.2 * math.exp(-rate * step / 369) + 0.2 + 0.15 * math.sin(step)) for step in range(10, 369 * epochs, 10)
    )
    facts: dict[str, Any] = {
        "spec": _encoder_spec(method, settings, seed=seed),
        "method_details": {"scale": 1.0} if rank else {},
        "encoder": encoder_facts(),
        "compute": ComputeFacts(path="fast", precision="float32"),
        "history": history(epochs, rate=rate),
        "training_curve": curve,
        "best_epoch": epochs,
        "stopped_early": False,
        "costs": costs(rank=rank, seconds=100.0 + (rank or 80) / 4),
    }
    name = f"{method['name']}-r{rank}-lr{learning_rate}-s{seed}"
    return FinishedEncoderRun(**_common(name, changes), **_measured(accuracy, changes), **(facts | changes))


def _encoder_spec(method: dict[str, Any], settings: dict[str, Any], *, seed: int) -> dict[str, Any]:
    encoder = {"name": "small-encoder", "revision": None, "max_tokens": 128}
    parts = {"encoder": encoder, "method": method, "training": settings}
    return {"kind": "encoder", "data": {"source": "livedoor"}, **parts, "seed": seed, "choose_by": "accuracy"}


def _common(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "run_id": name,
        "study": "synthetic",
        "started": "2025-01-01T00:00:00+00:00",
        "ended": "2025-01-01T00:10:00+00:00",
        "data": data_facts(),
        "environment": environment(),
    }
    return {key: value for key, value in facts.items() if key not in changes}


def _measured(accuracy: float, changes: Mapping[str, Any]) -> dict[str, Any]:
    names = changes["data"].label_names if "data" in changes else LIVEDOOR
    facts = {"test": scores(accuracy, label_names=names), "val": scores(accuracy, documents=736, label_names=names)}
    return {key: value for key, value in facts.items() if key not in changes}


def at_ranks(
    record: FinishedEncoderRun, accuracies: Mapping[int, float], *, seconds: float = 3.0
) -> FinishedEncoderRun:
    """A finished run whose adapter was measured at other ranks too, each for so many seconds."""
    names = record.data.label_names
    ranks = tuple(
        RankRecord(
            rank=rank,
            val=_in_few_words(scores(accuracy, documents=736, label_names=names)),
            test=_in_few_words(scores(accuracy, label_names=names)),
            saved_bytes=36_864 * rank * 4 + 45_000,
            seconds=seconds,
        )
        for rank, accuracy in accuracies.items()
    )
    return record.model_copy(update={"ranks": ranks})


def _in_few_words(found: Scores) -> SplitScores:
    return SplitScores(**found.model_dump(include=set(SplitScores.model_fields)))


def failed(
    method: dict[str, Any], *, error: str, learning_rate: float = 5e-4, seed: int = 42, **changes: Any
) -> FailedRun:
    """A run of a method that adapts an encoder, which failed before it was evaluated."""
    spec = _encoder_spec(method, changes.pop("training", None) or training(learning_rate), seed=seed)
    name = f"{method['name']}-r{method.get('rank')}-lr{learning_rate}-s{seed}"
    return FailedRun(**_common(name, changes), **({"spec": spec, "error": error} | changes))


def baseline(*, accuracy: float = 0.9563, seed: int = 42, **changes: Any) -> FinishedTextRun:
    """The TF-IDF baseline."""
    method = {"name": "tfidf-svm", "analyzer": "mecab", "longest_ngram": 2, "penalty": 1.0}
    facts: dict[str, Any] = {
        "spec": {
            "kind": "text",
            "data": {"source": "livedoor"},
            "method": method,
            "seed": seed,
            "choose_by": "accuracy",
        },
        "costs": costs(seconds=14.0, saved_bytes=21_000_000, trainable_parameters=4_000_000),
    }
    common = _common(f"tfidf-svm-rNone-lrNone-s{seed}", changes)
    return FinishedTextRun(**common, **_measured(accuracy, changes), **(facts | changes))


def study() -> list[RunRecord]:
    """A study as the thesis's three tables are one: TF-IDF, head, full, LoRA at seven ranks and two learning rates."""
    records: list[RunRecord] = [
        baseline(),
        finished(
            {"name": "head"},
            accuracy=0.6321,
            learning_rate=5e-4,
            costs=costs(seconds=60.0, saved_bytes=28_000, trainable_parameters=6_921),
        ),
        finished({"name": "full"}, accuracy=0.9012, training=training(5e-5, patience=5), learning_rate=5e-5),
    ]
    for learning_rate, accuracies in THESIS_ACCURACIES.items():
        records += [
            finished(lora(rank), accuracy=accuracy, learning_rate=learning_rate)
            for rank, accuracy in zip(RANKS, accuracies, strict=True)
        ]
    return records


def predictions_like(record: FinishedRun, *, split: Literal["val", "test"] = "test") -> tuple[list[int], list[int]]:
    """Classes and predictions with the record's confusion matrix: class by class, in each the right ones first."""
    return _like(record.test if split == "test" else record.val)


def probabilities_like(classes: Sequence[int], predicted: Sequence[int]) -> list[float]:
    """From 0.5 to 0.95, a little higher where the prediction is right."""
    pairs = enumerate(zip(classes, predicted, strict=True))
    return [round(0.5 + 0.04 * ((7 * row) % 11) + 0.05 * (true == called), 4) for row, (true, called) in pairs]


def run_predictions(record: FinishedRun) -> RunPredictions:
    """The same with those at its ranks, as the report reads them."""
    at_ranks = {one.rank: np.array(_predicted_at(record, one)) for one in record.ranks}
    validation = RunPredictions(*map(np.array, predictions_like(record, split="val")))
    classes, predicted = map(np.array, predictions_like(record))
    probabilities = np.array(probabilities_like(*predictions_like(record)))
    return RunPredictions(classes, predicted, probabilities=probabilities, at_ranks=at_ranks, validation=validation)


def _predicted_at(record: FinishedRun, one: RankRecord) -> list[int]:
    return _like(scores(one.test.accuracy, label_names=record.data.label_names))[1]


def _like(found: Scores) -> tuple[list[int], list[int]]:
    classes, predicted = [], []
    for index, row in enumerate(found.confusion):
        order = [index, *(other for other in range(len(row)) if other != index)]
        classes += [index] * sum(row)
        predicted += [other for other in order for _ in range(row[other])]
    return classes, predicted


def write_all(records: Sequence[RunRecord], folder: Path, *, predictions: bool = True) -> Path:
    """Each record into a folder of its own below `folder`, with predictions beside those that finished."""
    for number, record in enumerate(records):
        write_record(record, folder / f"run-{number:02}")
        if predictions and isinstance(record, FinishedRun):
            classes, predicted = predictions_like(record)
            write_predictions(
                folder / f"run-{number:02}",
                classes=classes,
                predicted=predicted,
                probabilities=probabilities_like(classes, predicted),
            )
            classes_, predicted_ = predictions_like(record, split="val")
            write_predictions(
                folder / f"run-{number:02}", classes=classes_, predicted=predicted_, name=VALIDATION_PREDICTIONS_FILE
            )
            for one in record.ranks:
                below = folder / f"run-{number:02}" / RANKS_FOLDER / f"r{one.rank}"
                write_predictions(below, classes=classes, predicted=_predicted_at(record, one))
    return folder


def evidence(
    records: Sequence[RunRecord],
    *,
    margin: float = 0.005,
    predictions: bool = True,
    choose_by: ChooseBy = "accuracy",
) -> list[Evidence]:
    """What is inferred of each section of the records."""
    finished_runs = [record for record in records if isinstance(record, FinishedRun)]
    known = {run_key(record): run_predictions(record) for record in finished_runs if predictions}
    return [evidence_of(section, known, margin=margin, choose_by=choose_by) for section in sections_of(records)]
