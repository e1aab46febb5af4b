"""What every method offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    Forward = Callable[[nn.Module, Any], Tensor]


class _Options(BaseModel):
    """Frozen, and an unknown option is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Options that came after the first runs were made: at their defaults, which therefore never change, they are not
    # written, so that a run keeps its identity and the arms of a report stay together.
    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _leave_out_later(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = write(self)
        defaults = self.later_defaults()
        return {
            name: value
            for name, value in content.items()
            if name not in defaults or getattr(self, name) != defaults[name]
        }

    @classmethod
    def later_defaults(cls) -> dict[str, Any]:
        """What a run without its `later` options had in their place."""
        return {
            name: field.get_default(call_default_factory=True)
            for name, field in cls.model_fields.items()
            if name in cls.later
        }

    def details(self) -> dict[str, float | int | str]:
        """Facts for the record that follow from the options, such as LoRA's effective scale."""
        return {}

    def label(self, name: str) -> str:
        """A short name for folders and tables: `name` (the method's own) with what tells its arms apart."""
        return name


class EncoderMethod(_Options, ABC):
    """A way of adapting an encoder with a classification head.

    `head` is everywhere the tuple of module names that the checkpoint lacks (`SequenceClassifier.head`): these start
    from random numbers, so every method trains and saves them in full.
    """

    uses_encoder: ClassVar[bool] = True
    saves_whole_model: ClassVar[bool] = False  # whether `save` writes every weight, so that no encoder is needed again

    @abstractmethod
    def attach(self, model: nn.Module, *, head: Sequence[str]) -> nn.Module:
        """Add what the method adds and freeze what it freezes; `model` is used up, the result takes its place.

        New weights are drawn from PyTorch's global generator: seed it before.

        Raises:
            MethodError: The model lacks the modules that the options name.
        """

    @abstractmethod
    def trainable_parameters(self, model: nn.Module, *, head: Sequence[str]) -> int:
        """How many parameters `attach` would leave trainable, from a bare model's shapes (the meta device does)."""

    def wrap_forward(self, forward: Forward) -> Forward:
        """`forward` with what the method does at every step of training; most methods do nothing.

        Args:
            forward: From the attached model and a batch to logits. Whether it is a step of training is told by
                `model.training`. What is drawn comes from PyTorch's global generator, whose state checkpoints save.
        """
        return forward

    @abstractmethod
    def save(self, model: nn.Module, folder: Path) -> None:
        """Write what was trained, and only that, into `folder` (made if missing), without pickle."""

    @abstractmethod
    def load(self, model: nn.Module, folder: Path, *, head: Sequence[str]) -> nn.Module:
        """Put what `save` wrote onto a bare model; the result predicts as the saved one did.

        Raises:
            MethodError: The folder does not hold what `save` writes, or it does not fit the model.
        """

    @abstractmethod
    def merge(self, model: nn.Module) -> nn.Module:
        """The adapted model as a plain one of the bare model's own class, with the same logits."""


class TextMethod(_Options, ABC):
    """A classifier that learns from the texts themselves, without an encoder."""

    uses_encoder: ClassVar[bool] = False

    @abstractmethod
    def fit(self, texts: Sequence[str], classes: Sequence[int], *, labels: int, seed: int) -> Any:
        """Learn from `texts` and their class indices (0 to `labels` - 1); the result goes to the functions below."""

    @abstractmethod
    def scores(self, fitted: Any, texts: Sequence[str]) -> np.ndarray:
        """Scores of shape (texts, labels), float32; the largest of a row is the prediction."""

    @abstractmethod
    def parameters(self, fitted: Any) -> int:
        """How many numbers were learned."""

    @abstractmethod
    def save(self, fitted: Any, folder: Path) -> None:
        """Write what was learned into `folder`, without pickle."""

    @abstractmethod
    def load(self, folder: Path) -> Any:
        """Read what `save` wrote.

        Raises:
            MethodError: The folder does not hold it.
        """


Method = EncoderMethod | TextMethod
