"""The pretraining loop: steps, evaluations, checkpoints; yields events, and resumes exactly where it was killed."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from tanzaku.compute import Compute
from tanzaku.errors import TanzakuError
from tanzaku.pretraining.objective import Objective
from tanzaku.training.checkpoint import Checkpoints, random_state, random_tensors, restore_random
from tanzaku.training.events import (
    BudgetSpent,
    CheckpointPassedOver,
    Event,
    HeldOutDone,
    HeldOutResult,
    Interrupted,
    Resumed,
    StepsDone,
    Stopped,
)
from tanzaku.training.optimizer import optimizer_tensors, restore_optimizer
from tanzaku.training.schedule import Schedule

_STEPS_A_REPORT = 10
_MODEL = "model."


@dataclass(frozen=True)
class Budget:
    """How long to train: a number of steps, or minutes of work."""

    steps: int | None
    minutes: float | None

    def progress(self, *, step: int, seconds: float) -> float:
        """The share that is spent, from 0 to 1."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        assert self.minutes is not None
        return min(1.0, seconds / (60 * self.minutes))


@dataclass(frozen=True)
class LoopSettings:
    """The numbers of the loop; see `PretrainOptions` for what they mean."""

    budget: Budget
    schedule: Schedule
    max_grad_norm: float
    evaluations: int
    checkpoint_minutes: float


class PretrainLoop:
    """Trains `objective.model` in place.

    Every parameter belongs to one of the optimisers; the schedule takes their rates as they come as its height.
    The first is AdamW's; a second is Muon's.

    With a budget of steps the result is the same however often the work is interrupted, to the last bit on the same
    CPU and thread count. With a budget of minutes, so is the course of the schedule.
    """

    def __init__(
        self,
        objective: Objective,
        optimizers: Sequence[torch.optim.Optimizer],
        *,
        settings: LoopSettings,
        compute: Compute,
        checkpoints: Checkpoints,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._objective, self._model, self._optimizers = objective, objective.model, optimizers
        self._batches, self._settings, self._compute = objective.batches, settings, compute
        self._checkpoints, self._stop = checkpoints, stop
        self._trained = {name: one for name, one in self._model.named_parameters() if one.requires_grad}
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        self._highest_rates = [(group, group["lr"]) for group in groups]
        self._history: list[HeldOutResult] = []
        self._step = self._resumptions = 0
        self._seconds_before = 0.0  # of earlier sessions
        self._next_evaluation = 1  # of settings.evaluations, evenly over the budget
        self._loss_steps = 0  # since the last evaluation, as is their sum
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=compute.device)
        self._started = self._saved_at = time.monotonic()

    def run(self) -> Iterator[Event]:
        """Do the work, or what is left of it.

        Raises:
            Interrupted: `stop` said so; a checkpoint was saved.
            TanzakuError: The loss of training, or of held-out text, is no longer a number.
        """
        yield from self._restore()
        self._started = self._saved_at = time.monotonic()
        while (progress := self._progress()) < 1.0:
            if self._stop():
                self._save()
                yield Stopped(self._step)
                raise Interrupted
            yield from self._train(progress)
            if self._evaluation_is_due(self._progress()):
                yield HeldOutDone(self._evaluate())
            if time.monotonic() - self._saved_at >= 60 * self._settings.checkpoint_minutes:
                self._save()
        if not self._history or self._history[-1].step < self._step:
            yield HeldOutDone(self._evaluate())
        self._save()
        yield BudgetSpent(
            history=tuple(self._history),
            step=self._step,
            tokens=self._step * self._batches.batch_tokens,
            seconds=self._seconds(),
            resumptions=self._resumptions,
        )

    def _train(self, progress: float) -> Iterator[StepsDone]:
        """Steps until something may have to be done between them."""
        self._model.train()
        began, first = time.monotonic(), self._step
        losses = torch.zeros((), dtype=torch.float64, device=self._compute.device)
        for _ in range(_STEPS_A_REPORT):
            loss = self._train_step(progress)
            losses += loss
            self._loss_sum += loss
            progress = self._progress()
            if self._evaluation_is_due(progress) or self._stop():
                break
        count, total = self._step - first, float(losses)
        self._loss_steps += count
        self._check_finite(total)
        yield StepsDone(
            step=self._step,
            progress=progress,
            loss=total / count,
            tokens_per_second=count * self._batches.batch_tokens / max(1e-9, time.monotonic() - began),
            seconds_left=self._session_seconds_left(progress),
        )

    def _train_step(self, progress: float) -> Tensor:
        """One step; gives the loss, (), not yet waited for."""
        factor = self._rate_factor(progress)
        for group, highest in self._highest_rates:
            group["lr"] = highest * factor
        loss = self._objective.loss(self._step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(self._trained.values()), self._settings.max_grad_norm)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self._step += 1
        return loss.detach()

    def _evaluate(self) -> HeldOutResult:
        self._model.eval()
        with torch.no_grad():
            held_out = self._objective.evaluate()
        # The last step's update is in no training loss.
        self._check_finite(held_out.loss)
        rates = [optimizer.param_groups[0]["lr"] for optimizer in self._optimizers]
        result = HeldOutResult(
            step=self._step,
            epoch=self._step / self._batches.steps_per_epoch,
            tokens=self._step * self._batches.batch_tokens,
            seconds=self._seconds(),
            learning_rate=rates[0],
            train_loss=float(self._loss_sum) / max(1, self._loss_steps),
            held_out_loss=held_out.loss,
            muon_learning_rate=rates[1] if len(rates) > 1 else None,
            measures=held_out.measures,
        )
        self._history.append(result)
        self._loss_sum.zero_()
        self._loss_steps = 0
        # Time runs on during an evaluation: those that it has passed by are left out.
        passed = int(self._progress() * self._settings.evaluations)
        self._next_evaluation = max(self._next_evaluation, passed) + 1
        return result

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise TanzakuError(
                f"the loss is no longer a number by step {self._step}; start again with a lower --learning-rate, "
                "a longer --warmup or --precision float32"
            )

    def _evaluation_is_due(self, progress: float) -> bool:
        return progress >= min(1.0, self._next_evaluation / self._settings.evaluations)

    def _rate_factor(self, progress: float) -> float:
        if self._settings.budget.steps is not None:
            # The first step's rate and the last's lie half a step inside the budget: neither is 0.
            progress += 0.5 / self._settings.budget.steps
        return self._settings.schedule.factor_at(progress)

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started

    def _progress(self) -> float:
        return self._settings.budget.progress(step=self._step, seconds=self._seconds())

    def _session_seconds_left(self, progress: float) -> float:
        return self._seconds() * (1.0 - progress) / max(1e-9, progress)

    def _save(self) -> None:
        tensors: dict[str, Tensor] = {f"{_MODEL}{name}": parameter for name, parameter in self._trained.items()}
        state = {
            "seconds": self._seconds(),
            "resumptions": self._resumptions,
            "history": [asdict(evaluation) for evaluation in self._history],
            "next_evaluation": self._next_evaluation,
            "loss_sum": float(self._loss_sum),
            "loss_steps": self._loss_steps,
            "random": random_state(),
        }
        tensors |= optimizer_tensors(self._optimizers, self._model) | random_tensors()
        self._checkpoints.save(self._step, tensors=tensors, state=state)
        self._saved_at = time.monotonic()

    def _restore(self) -> Iterator[Resumed | CheckpointPassedOver]:
        found, complaints = self._checkpoints.newest()
        yield from map(CheckpointPassedOver, complaints)
        if found is None:
            return
        with torch.no_grad():
            for name, parameter in self._trained.items():
                parameter.copy_(found.tensors[f"{_MODEL}{name}"])
        restore_optimizer(self._optimizers, self._model, found.tensors)
        restore_random(found.tensors, found.state["random"])
        self._step, self._seconds_before = found.step, found.state["seconds"]
        self._resumptions = found.state["resumptions"] + 1
        self._history = [HeldOutResult(**line) for line in found.state["history"]]
        self._next_evaluation = found.state["next_evaluation"]
        self._loss_sum.fill_(found.state["loss_sum"])
        self._loss_steps = found.state["loss_steps"]
        yield Resumed(step=self._step)
