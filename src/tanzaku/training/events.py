"""What the training loops report: fine-tuning's (`training.loop`) and that on unlabelled text (`pretraining.loop`).

A loop is a generator of these events. Asked to stop, it saves a checkpoint, reports `Stopped` and raises `Interrupted`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Measure = float | list[float] | None


class Interrupted(Exception):  # noqa: N818 - somebody asked for it, so it is no error
    """Training or classifying was asked to stop; a checkpoint of the training is there."""


@dataclass(frozen=True)
class EpochResult:
    """What one epoch of fine-tuning did. Losses are means: over steps in training, over documents in validation.
    Learning rates are those at the epoch's end; `group_learning_rates` has the groups with one of their own."""

    epoch: int
    steps: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    train_seconds: float
    eval_seconds: float
    group_learning_rates: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class HeldOutResult:
    """One evaluation on held-out text. Losses are the objective's; `train_loss` is the mean since the one before."""

    step: int
    epoch: float  # passes over the training text so far
    tokens: int  # that went through the encoder so far, [CLS] and [SEP] among them
    seconds: float  # since the start, without the time between two sessions
    learning_rate: float
    train_loss: float
    held_out_loss: float
    muon_learning_rate: float | None = None  # of the hidden matrices, where Muon trains them
    measures: Mapping[str, Measure] = field(default_factory=dict)  # the objective's other ones of the held-out text

    def flat(self) -> dict[str, Any]:
        """The fields and the measures by name, as records have them."""
        content = asdict(self)
        measures: dict[str, Any] = content.pop("measures")
        return content | measures


# Of every loop.


@dataclass(frozen=True)
class Resumed:
    """Training resumes from the checkpoint of `step`; `history` has fine-tuning's epochs that were done before."""

    step: int
    history: tuple[EpochResult, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class CheckpointPassedOver:
    """A damaged checkpoint was not used."""

    message: str


@dataclass(frozen=True)
class Stopped:
    """Asked to stop; the checkpoint of `step` is saved, where checkpoints are."""

    step: int


# Of fine-tuning.


@dataclass(frozen=True)
class StepDone:
    """One optimiser step."""

    epoch: int
    step: int
    total_steps: int
    loss: float
    learning_rate: float
    documents: int
    is_slow: bool = False
    """Whether features were computed that later epochs remember, so that its time says nothing of theirs."""


@dataclass(frozen=True)
class EvaluationProgress:
    """Part of an evaluation is done."""

    documents: int
    total_documents: int


@dataclass(frozen=True)
class EpochDone:
    """An epoch, its evaluation too."""

    result: EpochResult


@dataclass(frozen=True)
class TrainingDone:
    """The end: the model holds the weights of the best epoch."""

    history: tuple[EpochResult, ...]
    curve: tuple[tuple[int, float], ...]
    best_epoch: int
    stopped_early: bool
    resumptions: int


# Of learning from unlabelled text.


@dataclass(frozen=True)
class StepsDone:
    """Some steps are done; `loss` is their mean, `progress` the share of the budget that is spent."""

    step: int
    progress: float
    loss: float
    tokens_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class HeldOutDone:
    """The held-out text was read."""

    result: HeldOutResult


@dataclass(frozen=True)
class BudgetSpent:
    """The end: the budget is spent."""

    history: tuple[HeldOutResult, ...]
    step: int
    tokens: int
    seconds: float
    resumptions: int


Event = (
    Resumed
    | CheckpointPassedOver
    | Stopped
    | StepDone
    | EvaluationProgress
    | EpochDone
    | TrainingDone
    | StepsDone
    | HeldOutDone
    | BudgetSpent
)
