"""One run, top to bottom: from the data and a resolved spec to a saved model and a record. Read this first."""

import io
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tanzaku.data.dataset import Dataset, Documents
from tanzaku.encoders.load import EncoderSource
from tanzaku.files import errors_naming, folder_bytes, write_atomically
from tanzaku.measure.cost import peak_gpu_memory_bytes, peak_memory_bytes
from tanzaku.measure.metrics import measure
from tanzaku.methods import EncoderMethod, TextMethod
from tanzaku.provenance import now
from tanzaku.study.environment import describe_environment
from tanzaku.study.preparation import class_indices, prepare_training, tokenized_splits
from tanzaku.study.ranks import Classified, measure_ranks
from tanzaku.study.record import (
    CHECKPOINT_FOLDER,
    MODEL_FOLDER,
    PREDICTIONS_FILE,
    VALIDATION_PREDICTIONS_FILE,
    ComputeFacts,
    Costs,
    DataFacts,
    EpochRecord,
    RunRecord,
    Scores,
    write_predictions,
    write_record,
)
from tanzaku.study.spec import RunSpec
from tanzaku.training.batches import LabelledTokens
from tanzaku.training.checkpoint import Checkpoints
from tanzaku.training.evaluation import evaluate
from tanzaku.training.forward import Forward
from tanzaku.training.loop import EpochResult, Event, Training, TrainingDone

LOGITS_FILE = "test-logits.npy"


def run(
    spec: RunSpec,
    *,
    dataset: Dataset,
    encoder: EncoderSource | None,
    folder: Path,
    study: str,
    listeners: Sequence[Callable[[Event], None]] = (),
    should_stop: Callable[[], bool] = lambda: False,
) -> RunRecord:
    """Make one run; what it leaves in `folder` is the model, the predictions and, written last, the record.

    A run that was killed resumes from its newest checkpoint, and ends bit-identical to an undisturbed one on the same
    CPU with the same number of threads.

    Raises:
        TanzakuError: The encoder, the method or the data can't be used.
        Interrupted: `should_stop` said so; a checkpoint was saved.
        OSError: `folder` can't be written; the same call resumes from the newest checkpoint.
    """
    started = now()
    folder.mkdir(parents=True, exist_ok=True)
    with spec.method.named_errors():
        if isinstance(spec.method, EncoderMethod):
            assert encoder is not None
            result = _adapt(spec, spec.method, dataset, encoder, folder, listeners, should_stop)
        else:
            result = _fit(spec, spec.method, dataset, folder)
    _write_predictions(folder, dataset, result)
    record = RunRecord(
        run_id=folder.name,
        study=study,
        status="finished",
        started=started,
        ended=now(),
        spec=spec.model_dump(mode="json"),
        method_details=spec.method.details(),
        data=data_facts(dataset),
        environment=describe_environment(),
        val=_scores(dataset.val, result.val, dataset),
        test=_scores(dataset.test, result.test, dataset),
        **result.facts,
    )
    write_record(record, folder)
    _checkpoints(folder).clear()  # not before: without a record, the training resumes from them
    return record


def _write_predictions(folder: Path, dataset: Dataset, result: "_Result") -> None:
    _write_logits(folder / LOGITS_FILE, result.test)
    for split, logits, name in (
        (dataset.val, result.val, VALIDATION_PREDICTIONS_FILE),
        (dataset.test, result.test, PREDICTIONS_FILE),
    ):
        classes = class_indices(split, dataset)
        write_predictions(folder, classes=classes.tolist(), predicted=logits.argmax(axis=1).tolist(), name=name)


def _write_logits(path: Path, logits: np.ndarray) -> None:
    content = io.BytesIO()
    np.save(content, logits, allow_pickle=False)
    write_atomically(path, content.getvalue())


def _checkpoints(folder: Path) -> Checkpoints:
    return Checkpoints(folder / CHECKPOINT_FOLDER, identity=folder.name)


@dataclass(frozen=True)
class _Result:
    """The record's fields that follow from the method, and the scores (documents, labels) of two splits."""

    facts: dict[str, Any]
    val: np.ndarray
    test: np.ndarray


def _adapt(
    spec: RunSpec,
    method: EncoderMethod,
    dataset: Dataset,
    encoder: EncoderSource,
    folder: Path,
    listeners: Sequence[Callable[[Event], None]],
    should_stop: Callable[[], bool],
) -> _Result:
    """Train an encoder method, save the best epoch, and classify the validation and the test set with it."""
    assert spec.training is not None
    train, val, test = tokenized_splits(spec, dataset, encoder)
    prepared = prepare_training(spec, train, val, encoder, dataset.label_names, _checkpoints(folder), should_stop)
    model = prepared.training.model
    done = _listen(prepared.training, listeners)
    with errors_naming(folder / MODEL_FOLDER):
        method.save(model, folder / MODEL_FOLDER)
    classify = partial(
        _classify,
        model,
        batch_size=spec.training.eval_batch_size,
        forward=prepared.forward.run,
        should_stop=should_stop,
    )
    val_logits, _ = classify(val)
    test_logits, test_seconds = classify(test)
    facts = {
        "encoder": prepared.encoder,
        "compute": ComputeFacts(path=prepared.forward.path, precision=prepared.forward.precision),
        "costs": _costs(
            done.history,
            model,
            folder / MODEL_FOLDER,
            learning_seconds=prepared.learning_seconds,
            test_seconds=test_seconds,
        ),
        "ranks": measure_ranks(
            method,
            model,
            folder,
            saved=folder / MODEL_FOLDER,
            splits=(Classified(val, val_logits), Classified(test, test_logits)),
            label_names=dataset.label_names,
            classify=lambda split: classify(split)[0],
        ),
        **_course(done),
    }
    return _Result(facts, val_logits, test_logits)


def _course(done: TrainingDone) -> dict[str, Any]:
    """How the training went."""
    return {
        "history": tuple(EpochRecord(**asdict(result)) for result in done.history),
        "training_curve": done.curve,
        "best_epoch": done.best_epoch,
        "stopped_early": done.stopped_early,
        "resumptions": done.resumptions,
    }


def _costs(
    history: Sequence[EpochResult], model: nn.Module, saved: Path, *, learning_seconds: float, test_seconds: float
) -> Costs:
    train_seconds = learning_seconds + sum(epoch.train_seconds for epoch in history)
    return Costs(
        train_seconds=train_seconds,
        train_seconds_with_evaluation=train_seconds + sum(epoch.eval_seconds for epoch in history),
        test_seconds=test_seconds,
        peak_memory_bytes=peak_memory_bytes(),
        peak_gpu_memory_bytes=peak_gpu_memory_bytes(),
        trainable_parameters=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        saved_bytes=folder_bytes(saved),
    )


def _fit(spec: RunSpec, method: TextMethod, dataset: Dataset, folder: Path) -> _Result:
    """Fit a text method, save it, and classify the validation and the test set with it."""
    began = time.perf_counter()
    classes = class_indices(dataset.train, dataset).tolist()
    fitted = method.fit(dataset.train.texts, classes, labels=len(dataset.label_names), seed=spec.seed)
    train_seconds = time.perf_counter() - began
    val = method.scores(fitted, dataset.val.texts)
    with_evaluation = time.perf_counter() - began
    test = method.scores(fitted, dataset.test.texts)
    test_seconds = time.perf_counter() - began - with_evaluation
    with errors_naming(folder / MODEL_FOLDER):
        method.save(fitted, folder / MODEL_FOLDER)
    costs = Costs(
        train_seconds=train_seconds,
        train_seconds_with_evaluation=with_evaluation,
        test_seconds=test_seconds,
        peak_memory_bytes=peak_memory_bytes(),
        peak_gpu_memory_bytes=None,
        trainable_parameters=method.parameters(fitted),
        saved_bytes=folder_bytes(folder / MODEL_FOLDER),
    )
    return _Result({"costs": costs}, val, test)


def data_facts(dataset: Dataset) -> DataFacts:
    """What a record says of the data."""
    training = Counter(dataset.train.labels)
    return DataFacts(
        name=dataset.name,
        source=dataset.source,
        fingerprint=dataset.fingerprint,
        label_names=dataset.label_names,
        train_documents=len(dataset.train),
        val_documents=len(dataset.val),
        test_documents=len(dataset.test),
        train_documents_per_class=tuple(training[name] for name in dataset.label_names),
    )


def _listen(training: Training, listeners: Sequence[Callable[[Event], None]]) -> TrainingDone:
    for event in training.run():
        for listener in listeners:
            listener(event)
    assert isinstance(event, TrainingDone)
    return event


def _classify(
    model: nn.Module, split: LabelledTokens, *, batch_size: int, forward: Forward, should_stop: Callable[[], bool]
) -> tuple[np.ndarray, float]:
    """Logits (documents, labels) float32, and the seconds that they took.

    Raises:
        FloatingPointError: Logits are infinite or not numbers.
    """
    began = time.perf_counter()
    progress = evaluate(model, split, batch_size=batch_size, forward=forward, should_stop=should_stop)
    while True:
        try:
            next(progress)
        except StopIteration as finished:
            logits = finished.value.logits
            if wrong := int((~np.isfinite(logits)).any(axis=1).sum()):
                raise FloatingPointError(
                    f"{wrong} of {len(logits)} documents have scores that are infinite or not numbers, so the model "
                    'has no answer for them; lower the learning rate, or set training.precision to "float32"'
                ) from None
            return logits, time.perf_counter() - began


def _scores(split: Documents, logits: np.ndarray, dataset: Dataset) -> Scores:
    measures = measure(class_indices(split, dataset), logits.argmax(axis=1), label_names=dataset.label_names)
    return Scores.model_validate(asdict(measures))
