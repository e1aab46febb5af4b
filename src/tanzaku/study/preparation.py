"""From a resolved run to a training that is ready to begin: tokens, encoder, method, optimiser."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from tanzaku.data.dataset import Dataset, Documents
from tanzaku.encoders.load import EncoderSource, SequenceClassifier, load_classifier, load_tokenizer
from tanzaku.encoders.reading import tokenized_length
from tanzaku.encoders.tokens import tokenize
from tanzaku.methods import EncoderMethod
from tanzaku.study.encoder_spec import EncoderSpec
from tanzaku.study.pretrained import pretraining_facts
from tanzaku.study.record import EncoderFacts, PretrainingFacts
from tanzaku.study.spec import EncoderRunSpec, TrainingSpec
from tanzaku.study.teacher import SoftLabels
from tanzaku.training.batches import UNLABELLED, LabelledTokens
from tanzaku.training.checkpoint import Checkpoints
from tanzaku.training.forward import ChosenForward, Forward, choose_forward
from tanzaku.training.loop import Training
from tanzaku.training.losses import SoftLabelLoss
from tanzaku.training.optimizer import build_adamw
from tanzaku.training.peers import Peers
from tanzaku.training.remembered import remember_features
from tanzaku.training.schedule import Plateau, Schedule
from tanzaku.training.stopping import EarlyStopping


@dataclass(frozen=True)
class PreparedTraining:
    """A training that is ready to begin, how its model is computed, and what a record says of its encoder."""

    training: Training
    forward: ChosenForward
    encoder: EncoderFacts


def prepare_training(
    spec: EncoderRunSpec,
    train: LabelledTokens,
    val: LabelledTokens,
    encoder: EncoderSource,
    label_names: Sequence[str],
    checkpoints: Checkpoints,
    should_stop: Callable[[], bool],
    *,
    teacher: SoftLabels | None = None,
    peers: Peers = Peers(),  # noqa: B008 - frozen
) -> PreparedTraining:
    """Seed everything, load the encoder, attach the method and build the training; no test document is needed.

    With a teacher, its soft labels are learned, of the training documents and of further texts. Processes that train
    together (`peers`) each prepare the same.
    """
    seed_everything(spec.seed)
    loaded = _load(spec.encoder, spec.training, encoder, label_names, seed=spec.seed)
    pretraining = pretraining_facts(encoder) if spec.encoder.pretrain else None
    facts = _encoder_facts(encoder, loaded.model, loaded.head, pretraining)
    model = spec.method.attach(loaded.model, head=loaded.head).to(_device())
    chosen = choose_forward(model, fast=spec.training.fast, precision=spec.training.precision)
    forward = replace(chosen, run=spec.method.wrap_forward(remember_features(chosen.run)))
    optimizer = _build_optimizer(spec.training, spec.method, model, loaded.head)
    if teacher is not None:
        train = _with_soft_labels(spec, train, teacher, encoder)
    training = _build_training(spec, model, optimizer, train, val, checkpoints, should_stop, forward.run, peers)
    if not peers.is_first:  # the processes' documents differ, and so must what dropout leaves out of them
        torch.manual_seed(int(np.random.SeedSequence([spec.seed, peers.number]).generate_state(1)[0]))
    return PreparedTraining(training, forward, facts)


def tokenized_splits(
    spec: EncoderRunSpec, dataset: Dataset, encoder: EncoderSource, *, progress: bool = False
) -> tuple[LabelledTokens, LabelledTokens, LabelledTokens]:
    """The train, validation and test split as tokens; from the cache on disk where they are there."""
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
            weights=_weights(split),
        )
        for split in (dataset.train, dataset.val, dataset.test)
    )
    return train, val, test


def _with_soft_labels(
    spec: EncoderRunSpec, train: LabelledTokens, teacher: SoftLabels, encoder: EncoderSource
) -> LabelledTokens:
    """The training documents and then the teacher's further texts, with its logits."""
    length = tokenized_length(spec.encoder.long_text, max_tokens=spec.encoder.max_tokens)
    further = tokenize(
        load_tokenizer(encoder),
        teacher.texts,
        max_tokens=length,
        cache_key=encoder.fingerprint if teacher.texts else None,
    )
    weights = train.weights
    if weights is not None:
        weights = np.concatenate([weights, np.ones(len(further), dtype=np.float32)])
    return replace(
        train,
        tokens=train.tokens.followed_by(further),
        classes=np.concatenate([train.classes, np.full(len(further), UNLABELLED, dtype=np.int64)]),
        weights=weights,
        soft=teacher.scores,
    )


def class_indices(split: Documents, dataset: Dataset) -> np.ndarray:
    """The split's class indices, (documents,) int64."""
    index = {name: place for place, name in enumerate(dataset.label_names)}
    return np.array([index[label] for label in split.labels], dtype=np.int64)


def _weights(split: Documents) -> np.ndarray | None:
    """(documents,) float32 with a mean of 1, for the learning rate to keep its meaning; None where all count alike."""
    if split.weights is None:
        return None
    weights = np.array(split.weights, dtype=np.float32)
    weights /= weights.mean()
    return weights


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and PyTorch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


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


def _build_optimizer(
    settings: TrainingSpec, method: EncoderMethod, model: nn.Module, head: Sequence[str]
) -> torch.optim.AdamW:
    return build_adamw(
        model,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        beta1=settings.beta1,
        beta2=settings.beta2,
        epsilon=settings.epsilon,
        group_of=partial(method.parameter_group, head=head),
        group_rates=group_rates(settings, method),
    )


def group_rates(settings: TrainingSpec, method: EncoderMethod) -> dict[str, float]:
    """The rates of the groups of parameters that have one of their own."""
    rates: dict[str, float] = {}
    if settings.head_learning_rate is not None:
        rates["head"] = settings.head_learning_rate
    if (embeddings := settings.embeddings_learning_rate) is not None:
        rates |= {"embeddings": embeddings, "embeddings_fast": embeddings}
    factors = method.rate_factors().items()
    return {**rates, **{group: rates.get(group, settings.learning_rate) * factor for group, factor in factors}}


def _build_training(
    spec: EncoderRunSpec,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: LabelledTokens,
    val: LabelledTokens,
    checkpoints: Checkpoints,
    should_stop: Callable[[], bool],
    forward: Forward,
    peers: Peers,
) -> Training:
    settings = spec.training
    return Training(
        model=model,
        train=train,
        val=val,
        optimizer=optimizer,
        stopping=EarlyStopping(settings.patience, settings.threshold),
        best_by=settings.best_by,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        eval_batch_size=settings.eval_batch_size,
        max_grad_norm=settings.max_grad_norm,
        seed=spec.seed,
        log_steps=settings.log_steps,
        schedule=Schedule(settings.schedule, settings.warmup, settings.decay),
        plateau=_plateau(settings),
        checkpoints=checkpoints,
        checkpoint_seconds=60 * settings.checkpoint_minutes,
        should_stop=should_stop,
        forward=forward,
        hooks=spec.method,
        soft_labels=_soft_label_loss(settings),
        peers=peers,
    )


def _soft_label_loss(settings: TrainingSpec) -> SoftLabelLoss | None:
    distill = settings.distill
    return None if distill is None else SoftLabelLoss(distill.temperature, distill.weight)


def _plateau(settings: TrainingSpec) -> Plateau | None:
    if settings.schedule != "plateau":
        return None
    return Plateau(settings.plateau_factor, settings.plateau_patience, settings.threshold)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
