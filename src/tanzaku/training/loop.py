"""The one training loop, for every method that adapts an encoder.

It is a generator of the events in `training.events`: progress bars and logs listen, and know nothing of each other. In
the thesis's settings it takes the steps that Hugging Face's `Trainer` takes.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tanzaku.errors import CheckpointError
from tanzaku.methods.interface import StepHooks
from tanzaku.training.batches import UNLABELLED, LabelledTokens, epoch_batches
from tanzaku.training.checkpoint import Checkpoint, Checkpoints, random_state, random_tensors, restore_random
from tanzaku.training.evaluation import evaluate
from tanzaku.training.events import (
    CheckpointPassedOver,
    EpochDone,
    EpochResult,
    Event,
    Interrupted,
    Resumed,
    StepDone,
    Stopped,
    TrainingDone,
)
from tanzaku.training.forward import Forward, model_logits
from tanzaku.training.losses import SoftLabelLoss, Whole, batch_loss
from tanzaku.training.optimizer import optimizer_tensors, restore_optimizer
from tanzaku.training.peers import Peers
from tanzaku.training.remembered import RememberedFeatures
from tanzaku.training.schedule import Plateau, Schedule
from tanzaku.training.stopping import BestBy, EarlyStopping, watched_value

_CURVE_DECIMALS = 6


@dataclass
class _State:
    """Where training is; JSON-able, so that a checkpoint holds all of it."""

    epoch: int = 1
    step: int = 0
    step_in_epoch: int = 0
    epoch_loss: float = 0.0
    window_loss: float = 0.0
    window_steps: int = 0
    epoch_train_seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    curve: list[tuple[int, float]] = field(default_factory=list)
    stopping: dict[str, Any] = field(default_factory=dict)
    plateau: dict[str, Any] = field(default_factory=dict)
    resumptions: int = 0


@dataclass
class Training:
    """Trains one model. Everything it needs is built before and given flat.

    Args:
        model: What is trained; `forward` calls it.
        train: The training split.
        val: The validation split; evaluated after each epoch.
        optimizer: Over the model's trainable parameters, at the highest learning rates; its default one is shown.
        stopping: Early stopping; also knows the best epoch.
        best_by: What of the validation set the best epoch is chosen by, and early stopping watches.
        epochs: At most so many passes.
        batch_size: Documents a step.
        eval_batch_size: Rows a batch in evaluation: documents, or the windows that they are cut into.
        max_grad_norm: The gradient is clipped to this Euclidean norm.
        seed: Of the epochs' orders.
        log_steps: The training curve has one point for so many steps.
        schedule: The factor on the learning rates at each step.
        plateau: Reduces them further where the validation loss stands still.
        checkpoints: Where to save, or None.
        checkpoint_seconds: Save at least so often, besides each epoch's end.
        should_stop: Asked after each step and each validation batch; True saves a checkpoint, and raises `Interrupted`
            after the event `Stopped`.
        forward: From the model and a batch on its device to logits (documents, labels), in training and evaluation.
        hooks: What the method does at each step. Its penalty is not among the losses that are reported.
        soft_labels: How a teacher's soft labels count, where `train` has any.
        peers: The processes that train the model together; each has a `Training` with the same arguments, and
            `batch_size` documents a step are those of all.
    """

    model: nn.Module
    train: LabelledTokens
    val: LabelledTokens
    optimizer: torch.optim.Optimizer
    stopping: EarlyStopping
    epochs: int
    batch_size: int
    eval_batch_size: int
    max_grad_norm: float
    seed: int
    log_steps: int
    schedule: Schedule = field(default_factory=Schedule)
    plateau: Plateau | None = None
    best_by: BestBy = "loss"
    checkpoints: Checkpoints | None = None
    checkpoint_seconds: float = math.inf
    should_stop: Callable[[], bool] = lambda: False
    forward: Forward = model_logits
    hooks: StepHooks = field(default_factory=StepHooks)
    soft_labels: SoftLabelLoss | None = None
    peers: Peers = field(default_factory=Peers)

    def __post_init__(self) -> None:
        self._device = next(self.model.parameters()).device
        self._parameters = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self._peak_rates = [group["lr"] for group in self.optimizer.param_groups]
        self._total_steps = self.epochs * math.ceil(len(self.train) / self.batch_size)
        self._state = _State()
        self._best: dict[str, Tensor] = {}
        self._saved_at = time.monotonic()

    def run(self) -> Iterator[Event]:
        """Train to the end, from the newest valid checkpoint where there is one.

        Raises:
            CheckpointError: A checkpoint does not fit the model.
            Interrupted: `should_stop` said so; a checkpoint was saved.
            FloatingPointError: The loss is no longer a number.
        """
        yield from self._resume()
        self.peers.copy_from_first([parameter.detach() for parameter in self._parameters.values()])
        state = self._state
        while state.epoch <= self.epochs and not self.stopping.should_stop:
            yield from self._train_epoch()
            yield from self._finish_epoch()
        assert self.stopping.best_epoch is not None  # every epoch's loss is checked to be a number
        self._copy_in(self._best)
        yield TrainingDone(
            history=self._history(),
            curve=tuple((step, loss) for step, loss in state.curve),
            best_epoch=self.stopping.best_epoch,
            stopped_early=len(state.history) < self.epochs,
            resumptions=state.resumptions,
        )

    def _history(self) -> tuple[EpochResult, ...]:
        return tuple(EpochResult(**entry) for entry in self._state.history)

    def _train_epoch(self) -> Iterator[Event]:
        state = self._state
        batches = epoch_batches(len(self.train), batch_size=self.batch_size, seed=self.seed, epoch=state.epoch)
        self.model.train()
        for documents in batches[state.step_in_epoch :]:
            began = time.perf_counter()
            learning_rate = self._set_learning_rate()
            loss = self._step(documents)
            state.epoch_train_seconds += time.perf_counter() - began
            state.step += 1
            state.step_in_epoch += 1
            self._log(loss)
            slow = isinstance(self.forward, RememberedFeatures) and self.forward.met_new
            yield StepDone(state.epoch, state.step, self._total_steps, loss, learning_rate, len(documents), slow)
            yield from self._save_when_due()

    def _step(self, documents: np.ndarray) -> float:
        share = self.peers.share(documents)
        batch = self.train.batch(share.documents).to(self._device)
        logits = self.forward(self.model, batch)  # (documents, labels)
        loss = batch_loss(logits, batch, self.soft_labels, whole=self._whole(documents))
        if not share.counts:
            loss = 0 * loss
        penalty = self.hooks.penalty(self.model)
        (loss if penalty is None else loss + penalty / self.peers.count).backward()
        self.peers.add_gradients(list(self._parameters.values()))
        nn.utils.clip_grad_norm_(list(self._parameters.values()), self.max_grad_norm)
        self.optimizer.step()
        self.hooks.on_step(self.model, step=self._state.step + 1, total_steps=self._total_steps)
        self.optimizer.zero_grad()
        return self.peers.add(loss.item())

    def _whole(self, documents: np.ndarray) -> Whole | None:
        """What a share of these documents has to know of them; None where one process has them all."""
        if self.peers.count == 1:
            return None
        return Whole(len(documents), labelled=int((self.train.classes[documents] != UNLABELLED).sum()))

    def _set_learning_rate(self) -> float:
        factor = self._rate_factor()
        for group, peak in zip(self.optimizer.param_groups, self._peak_rates, strict=True):
            group["lr"] = peak * factor
        rate: float = self.optimizer.defaults["lr"] * factor
        return rate

    def _own_rates(self) -> dict[str, float]:
        """The highest rates of the groups that have one of their own."""
        groups = zip(self.optimizer.param_groups, self._peak_rates, strict=True)
        return {group["name"]: peak for group, peak in groups if group.get("name")}

    def _rate_factor(self) -> float:
        factor = self.schedule.factor(self._state.step, total_steps=self._total_steps)
        return factor * self.plateau.reduction if self.plateau else factor

    def _log(self, loss: float) -> None:
        state = self._state
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the training loss is {loss} at step {state.step}; a smaller learning rate usually mends it"
            )
        state.epoch_loss += loss
        state.window_loss += loss
        state.window_steps += 1
        if state.window_steps == self.log_steps:
            # All the digits of a noisy mean would be a third of a record.
            state.curve.append((state.step, round(state.window_loss / state.window_steps, _CURVE_DECIMALS)))
            state.window_loss, state.window_steps = 0.0, 0

    def _finish_epoch(self) -> Iterator[Event]:
        state = self._state
        began = time.perf_counter()
        try:
            evaluation = yield from evaluate(
                self.model,
                self.val,
                batch_size=self.eval_batch_size,
                forward=self.forward,
                should_stop=self.should_stop,
                peers=self.peers,
            )
        except Interrupted:
            self._save()  # all of the epoch's steps: it resumes with this evaluation
            yield Stopped(state.step)
            raise
        eval_seconds = time.perf_counter() - began
        if not math.isfinite(evaluation.loss):
            raise FloatingPointError(f"the validation loss is {evaluation.loss} after epoch {state.epoch}")
        if self.plateau:
            self.plateau.update(evaluation.loss)
        accuracy = float((evaluation.logits.argmax(axis=1) == self.val.classes).mean())
        value = watched_value(loss=evaluation.loss, accuracy=accuracy, best_by=self.best_by)
        documents = len(self.val) if self.best_by == "accuracy" else None
        if self.stopping.update(value, epoch=state.epoch, documents=documents):
            self._best = {name: parameter.detach().cpu().clone() for name, parameter in self._parameters.items()}
        result = EpochResult(
            epoch=state.epoch,
            steps=state.step,
            train_loss=state.epoch_loss / state.step_in_epoch,
            val_loss=evaluation.loss,
            val_accuracy=accuracy,
            learning_rate=self.optimizer.defaults["lr"] * self._rate_factor(),
            train_seconds=state.epoch_train_seconds,
            eval_seconds=eval_seconds,
            group_learning_rates={name: peak * self._rate_factor() for name, peak in self._own_rates().items()},
        )
        state.history.append(asdict(result))
        state.epoch += 1
        state.step_in_epoch, state.epoch_loss, state.epoch_train_seconds = 0, 0.0, 0.0
        self._save()
        yield EpochDone(result)

    def _save_when_due(self) -> Iterator[Stopped]:
        wanted, due = self.peers.any(self.should_stop(), time.monotonic() - self._saved_at > self.checkpoint_seconds)
        if wanted or due:
            self._save()
        if wanted:
            yield Stopped(self._state.step)
            raise Interrupted

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        if self.checkpoints is None:
            return
        random_states = self.peers.with_all_states(random_tensors())
        if not self.peers.is_first:
            return
        tensors: dict[str, Tensor] = {f"model.{name}": parameter for name, parameter in self._parameters.items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self._best.items()}
        tensors |= {f"method.{name}": tensor for name, tensor in self.hooks.step_state(self.model).items()}
        tensors |= optimizer_tensors(self.optimizer, self.model) | random_states
        state = {
            **asdict(self._state),
            "stopping": self.stopping.state(),
            "plateau": self.plateau.state() if self.plateau else {},
            "random": random_state(),
        }
        # The state after an epoch's evaluation has the step of the one before it: it is the newer, so it gets the next
        # number.
        self.checkpoints.save(2 * self._state.step + (self._state.step_in_epoch == 0), tensors=tensors, state=state)

    def _resume(self) -> Iterator[Event]:
        if self.checkpoints is None:
            return
        checkpoint, complaints = self.checkpoints.newest()
        for complaint in complaints:
            yield CheckpointPassedOver(complaint)
        if checkpoint is not None:
            try:
                self._restore(checkpoint)
            except (KeyError, TypeError) as error:
                raise CheckpointError(
                    f"the checkpoint of step {checkpoint.step} in {self.checkpoints.folder} has other contents than "
                    "this version of Tanzaku writes; remove the folder to start over, or go on with the version that "
                    "wrote it"
                ) from error
            yield Resumed(self._state.step, self._history())

    def _restore(self, checkpoint: Checkpoint) -> None:
        tensors, content = checkpoint.tensors, dict(checkpoint.state)
        model = _part(tensors, "model")
        if {name: tensor.shape for name, tensor in model.items()} != {n: p.shape for n, p in self._parameters.items()}:
            raise CheckpointError("the checkpoint's weights are not those of this model; remove it to start over")
        self._copy_in(model)
        self._best = _part(tensors, "best")
        self.hooks.restore_step_state(self.model, _part(tensors, "method"))
        restore_optimizer(self.optimizer, self.model, tensors)
        restore_random(self.peers.own_states(tensors), content.pop("random"))
        self.stopping.restore(content["stopping"])
        if self.plateau:
            self.plateau.restore(content["plateau"])
        content["curve"] = [(step, loss) for step, loss in content["curve"]]
        self._state = _State(**content)
        self._state.resumptions += 1

    @torch.no_grad()
    def _copy_in(self, weights: dict[str, Tensor]) -> None:
        for name, tensor in weights.items():
            self._parameters[name].copy_(tensor)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")
    }
