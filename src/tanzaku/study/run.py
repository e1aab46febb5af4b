"""One run, top to bottom: from the data and a resolved spec to a saved model and a record. Read this first."""

import io
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from torch import nn

from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.grouping import group_numbers
from tanzaku.errors import MethodError
from tanzaku.files import atomic_folder, folder_bytes, write_atomically
from tanzaku.measure.calibration import fit_temperature, rounded_down, softmax
from tanzaku.measure.cost import peak_gpu_memory_bytes, peak_memory_bytes
from tanzaku.measure.metrics import measure
from tanzaku.methods.interface import HeldOut
from tanzaku.provenance import Stopwatch
from tanzaku.study.environment import describe_environment
from tanzaku.study.planned import PlannedEncoderRun, PlannedRun, PlannedTextRun
from tanzaku.study.predictions import PREDICTIONS_FILE, VALIDATION_PREDICTIONS_FILE, write_predictions
from tanzaku.study.preparation import PreparedTraining, class_indices, prepare_training, tokenized_splits
from tanzaku.study.ranks import Classified, measure_ranks
from tanzaku.study.record import (
    MODEL_FOLDER,
    ComputeFacts,
    Costs,
    EpochRecord,
    FinishedEncoderRun,
    FinishedRun,
    FinishedTextRun,
    RankRecord,
    Scores,
    write_record,
)
from tanzaku.study.summary import CalibrationFacts, DataFacts
from tanzaku.study.taking_over import TrainedBefore, trained_before
from tanzaku.study.together import run_checkpoints, trained_together
from tanzaku.training.batches import LabelledTokens
from tanzaku.training.evaluation import evaluate
from tanzaku.training.events import EpochDone, Event, TrainingDone
from tanzaku.training.forward import Forward

LOGITS_FILE = "test-logits.npy"


def run(
    planned: PlannedRun,
    *,
    dataset: Dataset,
    study: str,
    listeners: Sequence[Callable[[Event], None]] = (),
    should_stop: Callable[[], bool] = lambda: False,
) -> FinishedRun:
    """Make one run; what it leaves in its folder is the model, the predictions and, written last, the record.

    A run that was killed resumes from its newest checkpoint, and ends bit-identical to an undisturbed one on the same
    CPU with the same number of threads.

    Raises:
        TanzakuError: The encoder, the method or the data can't be used.
        Interrupted: `should_stop` said so; a checkpoint was saved.
        OSError: The folder can't be written; the same call resumes from the newest checkpoint.
    """
    if isinstance(planned, PlannedTextRun):
        return run_text(planned, dataset=dataset, study=study)
    return run_encoder(planned, dataset=dataset, study=study, listeners=listeners, should_stop=should_stop)


def run_encoder(
    planned: PlannedEncoderRun,
    *,
    dataset: Dataset,
    study: str,
    listeners: Sequence[Callable[[Event], None]] = (),
    should_stop: Callable[[], bool] = lambda: False,
) -> FinishedEncoderRun:
    """`run` of a method that adapts an encoder."""
    watch = Stopwatch()
    spec, folder = planned.spec, planned.folder
    folder.mkdir(parents=True, exist_ok=True)
    with spec.method.named_errors():
        adapted = _adapt(planned, dataset, listeners, should_stop)
    done, before = adapted.trained.done, adapted.trained.before
    calibration = _calibrate(dataset, adapted.val, typical=spec.method.typical_temperature)
    _write_results(folder, dataset, val=adapted.val, test=adapted.test, temperature=calibration.temperature)
    record = FinishedEncoderRun(
        run_id=planned.run_id,
        study=study,
        started=watch.started,
        ended=watch.now,
        resumptions=done.resumptions,
        spec=spec.model_dump(mode="json"),
        method_details=spec.method.details(),
        data=data_facts(dataset),
        environment=describe_environment(),
        history=tuple(EpochRecord(**asdict(result)) for result in done.history),
        training_curve=done.curve,
        val=_scores(dataset.val, adapted.val, dataset),
        test=_scores(dataset.test, adapted.test, dataset),
        calibration=calibration,
        costs=adapted.costs,
        ranks=adapted.ranks,
        encoder=adapted.trained.prepared.encoder,
        distillation=planned.teacher.facts if planned.teacher else None,
        compute=adapted.compute,
        partly_read=adapted.partly_read,
        best_epoch=done.best_epoch,
        stopped_early=done.stopped_early,
        trained_by=before.folder.name if before else None,
    )
    write_record(record, folder)
    run_checkpoints(planned).clear()  # not before: without a record, the training resumes from them
    return record


def run_text(planned: PlannedTextRun, *, dataset: Dataset, study: str) -> FinishedTextRun:
    """`run` of a method that learns only from the texts."""
    watch = Stopwatch()
    spec, folder = planned.spec, planned.folder
    folder.mkdir(parents=True, exist_ok=True)
    with spec.method.named_errors():
        fitted = _fit(planned, dataset)
    calibration = _calibrate(dataset, fitted.val, typical=spec.method.typical_temperature)
    _write_results(folder, dataset, val=fitted.val, test=fitted.test, temperature=calibration.temperature)
    record = FinishedTextRun(
        run_id=planned.run_id,
        study=study,
        started=watch.started,
        ended=watch.now,
        spec=spec.model_dump(mode="json"),
        method_details=spec.method.details(),
        data=data_facts(dataset),
        environment=describe_environment(),
        val=_scores(dataset.val, fitted.val, dataset),
        test=_scores(dataset.test, fitted.test, dataset),
        calibration=calibration,
        costs=fitted.costs,
    )
    write_record(record, folder)
    return record


def _calibrate(dataset: Dataset, val: np.ndarray, *, typical: float) -> CalibrationFacts:
    """Fit the temperature on the validation set; where that is the training set again, it is the typical one."""
    count = len(val) if _is_held_out(dataset) else 0
    found = fit_temperature(val[:count], class_indices(dataset.val, dataset)[:count], typical=typical)
    return CalibrationFacts.model_validate(found, from_attributes=True)


def _is_held_out(dataset: Dataset) -> bool:
    """Whether the validation set is another than the training set."""
    return dataset.val.texts != dataset.train.texts


def _write_results(folder: Path, dataset: Dataset, *, val: np.ndarray, test: np.ndarray, temperature: float) -> None:
    """Write the scores of the test set and both sets' predictions."""
    _write_logits(folder / LOGITS_FILE, test)
    for split, logits, name in (
        (dataset.val, val, VALIDATION_PREDICTIONS_FILE),
        (dataset.test, test, PREDICTIONS_FILE),
    ):
        classes = class_indices(split, dataset)
        write_predictions(
            folder,
            classes=classes.tolist(),
            predicted=logits.argmax(axis=1).tolist(),
            probabilities=rounded_down(softmax(logits, temperature=temperature).max(axis=1)).tolist(),
            groups=group_numbers(split.groups or ()),
            name=name,
        )


def _write_logits(path: Path, logits: np.ndarray) -> None:
    content = io.BytesIO()
    np.save(content, logits, allow_pickle=False)
    write_atomically(path, content.getvalue())


@dataclass(frozen=True)
class _Trained:
    """A trained encoder method, and the run that trained it if it was another one."""

    prepared: PreparedTraining
    done: TrainingDone
    before: TrainedBefore | None


@dataclass(frozen=True)
class _Adapted:
    """What a trained encoder method gave; `val` and `test` are logits (documents, labels)."""

    trained: _Trained
    compute: ComputeFacts
    partly_read: int
    costs: Costs
    ranks: tuple[RankRecord, ...]
    val: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class _Fitted:
    """What a fitted text method gave; `val` and `test` are scores (documents, labels)."""

    costs: Costs
    val: np.ndarray
    test: np.ndarray


def _train(
    planned: PlannedEncoderRun,
    dataset: Dataset,
    train: LabelledTokens,
    val: LabelledTokens,
    listeners: Sequence[Callable[[Event], None]],
    should_stop: Callable[[], bool],
) -> _Trained:
    """Train an encoder method; the model then has the weights of the best epoch."""
    prepare = partial(
        prepare_training,
        *(planned.spec, train, val, planned.encoder, dataset.label_names, run_checkpoints(planned), should_stop),
        teacher=planned.teacher,
    )
    if before := trained_before(planned):
        prepared = prepare()
        done = before.take_over(planned.spec.method, prepared.training.model)
        return _Trained(prepared, _listen([*map(EpochDone, done.history), done], listeners), before)
    with trained_together(planned, dataset) as peers:
        prepared = prepare(peers=peers)
        return _Trained(prepared, _listen(prepared.training.run(), listeners), None)


def _adapt(
    planned: PlannedEncoderRun,
    dataset: Dataset,
    listeners: Sequence[Callable[[Event], None]],
    should_stop: Callable[[], bool],
) -> _Adapted:
    """Train an encoder method, save the best epoch, and classify the validation and the test set with it."""
    spec, folder = planned.spec, planned.folder
    train, val, test = tokenized_splits(spec, dataset, planned.encoder)
    trained = _train(planned, dataset, train, val, listeners, should_stop)
    model, forward = trained.prepared.training.model, trained.prepared.forward
    batch_size = spec.training.eval_batch_size
    classify = partial(_classify, model, batch_size=batch_size, forward=forward.run, should_stop=should_stop)
    learning = _learn_documents(planned, model, train, val if _is_held_out(dataset) else None, classify)
    saved = folder / MODEL_FOLDER
    with atomic_folder(saved, replace=True) as staging:
        spec.method.save(model, staging)
    val_logits, _ = classify(val)
    test_logits, test_seconds = classify(test)
    ranks = measure_ranks(
        spec.method,
        model,
        folder,
        saved=saved,
        splits=(Classified(val, val_logits), Classified(test, test_logits)),
        label_names=dataset.label_names,
        classify=lambda split: classify(split)[0],
    )
    compute = ComputeFacts(path=forward.path, precision=forward.precision, processes=planned.processes)
    if trained.before:
        compute = trained.before.record.compute
    costs = _costs(trained, saved, learning=learning, test_seconds=test_seconds)
    return _Adapted(trained, compute, train.partly_read, costs, ranks, val_logits, test_logits)


@dataclass(frozen=True)
class _Learning:
    """How long a method's `learn_documents` took, and of that, how long it took to classify the validation set."""

    seconds: float
    eval_seconds: float


def _learn_documents(
    planned: PlannedEncoderRun,
    model: nn.Module,
    train: LabelledTokens,
    val: LabelledTokens | None,
    classify: Callable[[LabelledTokens], tuple[np.ndarray, float]],
) -> _Learning:
    """Let the method learn from the documents what gradients do not teach; `val` is None where it is not held out."""
    batch_size, classified, began = planned.spec.training.eval_batch_size, list[float](), time.perf_counter()

    def logits() -> np.ndarray:
        assert val is not None
        found, seconds = classify(val)
        classified.append(seconds)
        return found

    held_out = None if val is None else HeldOut(val.in_order(batch_size), logits)
    planned.spec.method.learn_documents(model, train.in_order(batch_size), held_out)
    return _Learning(time.perf_counter() - began, sum(classified))


def _costs(trained: _Trained, saved: Path, *, learning: _Learning, test_seconds: float) -> Costs:
    history, model = trained.done.history, trained.prepared.training.model
    train_seconds = learning.seconds - learning.eval_seconds + sum(epoch.train_seconds for epoch in history)
    peak, peak_gpu = peak_memory_bytes(), peak_gpu_memory_bytes()
    if trained.before:  # it is the training that takes the most
        costs = trained.before.record.costs
        peak, peak_gpu = costs.peak_memory_bytes, costs.peak_gpu_memory_bytes
    return Costs(
        train_seconds=train_seconds,
        train_seconds_with_evaluation=train_seconds
        + learning.eval_seconds
        + sum(epoch.eval_seconds for epoch in history),
        test_seconds=test_seconds,
        peak_memory_bytes=peak,
        peak_gpu_memory_bytes=peak_gpu,
        trainable_parameters=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        saved_bytes=folder_bytes(saved),
    )


def _fit(planned: PlannedTextRun, dataset: Dataset) -> _Fitted:
    """Fit a text method, save it, and classify the validation and the test set with it."""
    method, saved = planned.spec.method, planned.folder / MODEL_FOLDER
    began = time.perf_counter()
    classes = class_indices(dataset.train, dataset).tolist()
    weights = {} if dataset.train.weights is None else {"weights": dataset.train.weights}
    if weights and not method.takes_weights:
        raise MethodError("the method can't weight documents; leave sample_weight out, or choose another method")
    labels = len(dataset.label_names)
    fitted = method.fit(dataset.train.texts, classes, labels=labels, seed=planned.spec.seed, **weights)
    train_seconds = time.perf_counter() - began
    val = method.scores(fitted, dataset.val.texts)
    with_evaluation = time.perf_counter() - began
    test = method.scores(fitted, dataset.test.texts)
    test_seconds = time.perf_counter() - began - with_evaluation
    with atomic_folder(saved, replace=True) as staging:
        method.save(fitted, staging)
    costs = Costs(
        train_seconds=train_seconds,
        train_seconds_with_evaluation=with_evaluation,
        test_seconds=test_seconds,
        peak_memory_bytes=peak_memory_bytes(),
        peak_gpu_memory_bytes=None,
        trainable_parameters=method.parameters(fitted),
        saved_bytes=folder_bytes(saved),
    )
    return _Fitted(costs, val, test)


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


def _listen(events: Iterable[Event], listeners: Sequence[Callable[[Event], None]]) -> TrainingDone:
    for event in events:
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
