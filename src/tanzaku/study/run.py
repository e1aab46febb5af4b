"""One run, top to bottom: from the data and a resolved spec to a saved model and a record. Read this first."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from tanzaku.data.dataset import Dataset, Documents
from tanzaku.encoders.load import EncoderSource, SequenceClassifier, load_classifier, load_tokenizer
from tanzaku.encoders.reading import tokenized_length
from tanzaku.encoders.tokens import tokenize
from tanzaku.files import folder_bytes
from tanzaku.measure.cost import peak_gpu_memory_bytes, peak_memory_bytes
from tanzaku.measure.metrics import measure
from tanzaku.methods import EncoderMethod, TextMethod
from tanzaku.provenance import now
from tanzaku.study.environment import describe_environment
from tanzaku.study.pretrained import pretraining_facts
from tanzaku.study.record import (
    ComputeFacts,
    Costs,
    DataFacts,
    EncoderFacts,
    EpochRecord,
    PretrainingFacts,
    RunRecord,
    Scores,
    write_predictions,
    write_record,
)
from tanzaku.study.spec import EncoderSpec, RunSpec, TrainingSpec
from tanzaku.training.batches import LabelledTokens
from tanzaku.training.checkpoint import Checkpoints
from tanzaku.training.forward import Forward, choose_forward
from tanzaku.training.loop import EpochResult, Event, Training, TrainingDone, evaluate
from tanzaku.training.optimizer import build_adamw
from tanzaku.training.stopping import EarlyStopping

MODEL_FOLDER = "model"
CHECKPOINT_FOLDER = "checkpoints"
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

    A run that was killed goes on from its newest checkpoint, and ends bit-identical to an undisturbed one on the same
    CPU with the same number of threads.

    Raises:
        TanzakuError: The encoder, the method or the data can't be used.
        Interrupted: `should_stop` said so; a checkpoint was saved.
    """
    started = now()
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(spec.method, EncoderMethod):
        assert encoder is not None
        result = _adapt(spec, spec.method, dataset, encoder, folder, listeners, should_stop)
    else:
        result = _fit(spec, spec.method, dataset, folder)
    np.save(folder / LOGITS_FILE, result.test, allow_pickle=False)
    classes = class_indices(dataset.test, dataset)
    write_predictions(folder, classes=classes.tolist(), predicted=result.test.argmax(axis=1).tolist())
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
    return record


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
    assert spec.encoder is not None
    train, val, test = tokenized_splits(spec, dataset, encoder)
    seed_everything(spec.seed)
    loaded = _load(spec.encoder, spec.training, encoder, dataset.label_names, seed=spec.seed)
    pretraining = pretraining_facts(encoder) if spec.encoder.pretrain else None
    encoder_facts = _encoder_facts(encoder, loaded.model, loaded.head, pretraining)
    model = method.attach(loaded.model, head=loaded.head).to(_device())
    checkpoints = Checkpoints(folder / CHECKPOINT_FOLDER, identity=folder.name)
    forward = choose_forward(model, fast=spec.training.fast, precision=spec.training.precision)
    training = _build_training(
        spec.training, spec.seed, method, model, train, val, checkpoints, should_stop, forward.run
    )
    done = _listen(training, listeners)
    method.save(model, folder / MODEL_FOLDER)
    val_logits, _ = _classify(model, val, spec.training.eval_batch_size, forward.run)
    test_logits, test_seconds = _classify(model, test, spec.training.eval_batch_size, forward.run)
    checkpoints.clear()
    facts = {
        "encoder": encoder_facts,
        "compute": ComputeFacts(path=forward.path, precision=forward.precision),
        "history": tuple(EpochRecord(**asdict(result)) for result in done.history),
        "training_curve": done.curve,
        "best_epoch": done.best_epoch,
        "stopped_early": done.stopped_early,
        "resumptions": done.resumptions,
        "costs": _costs(done.history, model, folder / MODEL_FOLDER, test_seconds=test_seconds),
    }
    return _Result(facts, val_logits, test_logits)


def _costs(history: Sequence[EpochResult], model: nn.Module, saved: Path, *, test_seconds: float) -> Costs:
    train_seconds = sum(epoch.train_seconds for epoch in history)
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


def tokenized_splits(
    spec: RunSpec, dataset: Dataset, encoder: EncoderSource, *, progress: bool = False
) -> tuple[LabelledTokens, LabelledTokens, LabelledTokens]:
    """The train, validation and test split as tokens; from the cache on disk where they are there."""
    assert spec.encoder is not None
    assert spec.training is not None
    reading = spec.encoder
    length = tokenized_length(reading.long_text, max_tokens=reading.max_tokens)
    tokenizer = load_tokenizer(encoder)
    train, val, test = (
        LabelledTokens(
            tokenize(tokenizer, split.texts, max_tokens=length, cache_key=encoder.fingerprint, progress=progress),
            class_indices(split, dataset),
            pad_id=tokenizer.pad_token_id,
            pad_to=reading.max_tokens if spec.training.padding == "max_tokens" else None,
            long_text=reading.long_text,
            max_tokens=reading.max_tokens,
            max_windows=reading.max_windows,
        )
        for split in (dataset.train, dataset.val, dataset.test)
    )
    return train, val, test


def _load(
    reading: EncoderSpec, training: TrainingSpec, encoder: EncoderSource, label_names: Sequence[str], *, seed: int
) -> SequenceClassifier:
    return load_classifier(
        encoder,
        label_names=label_names,
        seed=seed,
        pooling=reading.pooling,
        long_text=reading.long_text,
        hidden_dropout=_probability(training.hidden_dropout),
        attention_dropout=_probability(training.attention_dropout),
    )


def _probability(dropout: float | Literal["encoder"]) -> float | None:
    return None if dropout == "encoder" else dropout


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and PyTorch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def class_indices(split: Documents, dataset: Dataset) -> np.ndarray:
    """The split's class indices, (documents,) int64."""
    index = {name: place for place, name in enumerate(dataset.label_names)}
    return np.array([index[label] for label in split.labels], dtype=np.int64)


def data_facts(dataset: Dataset) -> DataFacts:
    """What a record says of the data."""
    return DataFacts(
        name=dataset.name,
        fingerprint=dataset.fingerprint,
        label_names=dataset.label_names,
        train_documents=len(dataset.train),
        val_documents=len(dataset.val),
        test_documents=len(dataset.test),
    )


def _build_training(
    settings: TrainingSpec,
    seed: int,
    method: EncoderMethod,
    model: nn.Module,
    train: LabelledTokens,
    val: LabelledTokens,
    checkpoints: Checkpoints,
    should_stop: Callable[[], bool],
    forward: Forward,
) -> Training:
    optimizer = build_adamw(
        model,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        beta1=settings.beta1,
        beta2=settings.beta2,
        epsilon=settings.epsilon,
    )
    return Training(
        model=model,
        train=train,
        val=val,
        optimizer=optimizer,
        stopping=EarlyStopping(settings.patience, settings.threshold),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        eval_batch_size=settings.eval_batch_size,
        max_grad_norm=settings.max_grad_norm,
        seed=seed,
        log_steps=settings.log_steps,
        checkpoints=checkpoints,
        checkpoint_seconds=60 * settings.checkpoint_minutes,
        should_stop=should_stop,
        forward=forward,
        hooks=method,
    )


def _listen(training: Training, listeners: Sequence[Callable[[Event], None]]) -> TrainingDone:
    for event in training.run():
        for listener in listeners:
            listener(event)
    assert isinstance(event, TrainingDone)
    return event


def _classify(model: nn.Module, split: LabelledTokens, batch_size: int, forward: Forward) -> tuple[np.ndarray, float]:
    """Logits (documents, labels) float32, and the seconds that they took."""
    began = time.perf_counter()
    progress = evaluate(model, split, batch_size=batch_size, forward=forward)
    while True:
        try:
            next(progress)
        except StopIteration as finished:
            return finished.value.logits, time.perf_counter() - began


def _encoder_facts(
    encoder: EncoderSource, model: Any, head: tuple[str, ...], pretraining: PretrainingFacts | None
) -> EncoderFacts:
    config = model.config
    return EncoderFacts(
        name=encoder.name,
        fingerprint=encoder.fingerprint,
        model_type=config.model_type,
        layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        vocabulary_size=config.vocab_size,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        head=head,
        pretraining=pretraining,
    )


def _scores(split: Documents, logits: np.ndarray, dataset: Dataset) -> Scores:
    measures = measure(class_indices(split, dataset), logits.argmax(axis=1), label_names=dataset.label_names)
    return Scores.model_validate(asdict(measures))


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
