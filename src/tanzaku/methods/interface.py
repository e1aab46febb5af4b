"""What every method offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict

from tanzaku.errors import MethodError
from tanzaku.methods.labels import OptionLabel, Title

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    Forward = Callable[[nn.Module, Any], Tensor]

ParameterGroup = Literal["head", "lora_a", "lora_b", "embeddings", "embeddings_fast", "other"]


class _Options(BaseModel):
    """Frozen, and an unknown option is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: ClassVar[str]  # what study files and records call the method
    title: ClassVar[Title]  # what reports call it
    paper: ClassVar[str]  # where the method comes from, such as "Hu et al. 2021, arXiv 2106.09685"

    # Whether equal documents and options give the same result for every seed, so that one run counts for all seeds.
    deterministic: ClassVar[bool] = False

    # Softmax(scores / this) are the probabilities that are usually right. Held-out documents correct it for each model,
    # few of them only a little. Scores that were trained with cross-entropy are logits.
    typical_temperature: ClassVar[float] = 1.0

    # Options that say what is measured of a trained model, not how it is trained: arms do not differ in them.
    measuring_options: ClassVar[tuple[str, ...]] = ()

    is_baseline: ClassVar[bool] = False  # whether it is one that reports compare the others with
    table_order: ClassVar[int] = 5  # where its rows stand in tables: smaller comes first, of equals by name

    @classmethod
    def option_label(cls, option: str) -> OptionLabel:
        """What the name of an arm says of an option."""
        labels = [item for item in cls.model_fields[option].metadata if isinstance(item, OptionLabel)]
        return labels[0] if labels else OptionLabel.of(option)

    def dictionaries(self) -> tuple[str, ...]:
        """The packages with dictionaries that classifying needs, by the names of their modules, such as `"ipadic"`.

        Those that the tokenizer of an adapted encoder needs are not among them.
        """
        return ()

    def as_trained(self) -> Self:
        """The method with its `measuring_options` at their defaults: equal to another that trains the same."""
        defaults = {name: type(self).model_fields[name].get_default() for name in self.measuring_options}
        return self.model_copy(update=defaults)

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """Put the method's name before the message of a `MethodError`.

        What calls a method does this; a method does not name itself, for another may use it.
        """
        try:
            yield
        except MethodError as error:
            raise MethodError(f"{self.name}: {error}") from error

    def details(self) -> dict[str, float | int | str]:
        """Facts for the record that follow from the options, such as LoRA's effective scale."""
        return {}


class StepHooks:
    """What a method may do at each step of training; by default nothing."""

    def wrap_forward(self, forward: Forward) -> Forward:
        """`forward` with what the method does at every step of training; most methods do nothing.

        Args:
            forward: From the attached model and a batch to logits. Whether it is a step of training is told by
                `model.training`. What is drawn comes from PyTorch's global generator, whose state checkpoints save.
        """
        return forward

    def penalty(self, model: nn.Module) -> Tensor | None:
        """A scalar that is added to the loss before its gradient is taken; None for none."""
        return None

    def on_step(self, model: nn.Module, *, step: int, total_steps: int) -> None:
        """Called after the optimiser's step number `step` (from 1), while its gradients are still there.

        Raises:
            MethodError: The training is too short for what the method does.
        """

    def step_state(self, model: nn.Module) -> dict[str, Tensor]:
        """What `on_step` keeps from one step to the next, in addition to the parameters; a checkpoint holds it."""
        return {}

    def restore_step_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put back what `step_state` gave."""


class EncoderMethod(_Options, StepHooks, ABC):
    """A way of adapting an encoder with a classification head.

    `head` is everywhere the tuple of module names that the checkpoint lacks (`SequenceClassifier.head`): these start
    from random numbers, so every method trains and saves them in full.
    """

    saves_whole_model: ClassVar[bool] = False  # whether `save` writes every weight, so that no encoder is needed again
    mergeable: ClassVar[bool] = True  # whether what it adds can be put into the encoder's own weights; see `merge`
    adds_low_rank: ClassVar[bool] = False  # whether all that it changes in the encoder is s·B·A on linear layers
    bytes_per_parameter: ClassVar[int] = 4  # in which `save` writes what is trained
    opens_in_peft: ClassVar[bool] = False  # whether PEFT computes the same from its adapter, over the plain encoder

    # Options of what `learn_documents` does: the training, and its validation, do not depend on them.
    options_after_training: ClassVar[tuple[str, ...]] = ()

    # Settings of training that would do nothing for this method: an arm that names one is refused.
    settings_without_effect: ClassVar[tuple[str, ...]] = ("embeddings_learning_rate",)

    def unused_settings(self) -> tuple[str, ...]:
        """Settings of training that would do nothing with these options."""
        return ()

    def parameter_group(self, name: str, *, head: Sequence[str]) -> ParameterGroup:
        """What a trainable parameter of the attached model belongs to, by its full name; each may have its own rate."""
        return "head" if any(f".{module}." in f".{name}" for module in head) else "other"

    def rate_factors(self) -> dict[ParameterGroup, float]:
        """Factors on the learning rate, of the groups that the method's options give another one.

        That of "embeddings_fast" is on the embeddings' rate.
        """
        return {}

    @abstractmethod
    def attach(self, model: nn.Module, *, head: Sequence[str]) -> nn.Module:
        """Add what the method adds and freeze what it freezes; `model` is used up, the result takes its place.

        New weights are drawn from PyTorch's global generator: seed it before.

        Raises:
            MethodError: The model lacks the modules that the options name.
        """

    def trained_like(self) -> EncoderMethod | None:
        """The method whose training is the same, of which a finished run need not be trained again; most have none."""
        return None

    def take_over(self, model: nn.Module, folder: Path) -> None:
        """Put the weights that a run of `trained_like` saved in `folder` into the attached model.

        Raises:
            MethodError: The folder does not hold them.
        """
        raise NotImplementedError

    def learn_documents(self, model: nn.Module, train: Iterable[Any], held_out: HeldOut | None) -> None:
        """Learn from the documents what gradients do not teach; it is called once, when the training has ended.

        Most methods need nothing.

        Args:
            model: What was trained; it is changed in place.
            train: All training documents, as the model reads them.
            held_out: The validation documents; None where they are the training documents again.
        """

    @abstractmethod
    def trainable_parameters(self, model: nn.Module, *, head: Sequence[str]) -> int:
        """How many parameters `attach` would leave trainable, from a bare model's shapes (the meta device does)."""

    def check(self, model: nn.Module, *, head: Sequence[str] = ()) -> None:
        """Make sure, before any training, that `attach` can do its work.

        Args:
            model: A bare classifier's shapes (the meta device does).
            head: The modules that are trained as they are, so far as they are known.

        Raises:
            MethodError: The model lacks the modules that the options name, or its head is of another kind.
        """
        self.trainable_parameters(model, head=head)

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
        """The adapted model as a plain one of the bare model's own class, with the same logits.

        Where `mergeable` is false, it is the model as it is: it predicts, but its weights are not a plain encoder's.
        """


@dataclass(frozen=True)
class HeldOut:
    """Documents that a model was not trained on.

    `batches` are the documents as the model reads them, and `logits()` what it makes of them, (documents, labels)
    float32.
    """

    batches: Iterable[Any]
    logits: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Contribution:
    """What a part of a text, `text[start:end]`, adds to the score of each label: `scores` (labels,) float64."""

    start: int
    end: int
    scores: np.ndarray


class TextMethod(_Options, ABC):
    """A classifier that learns from the texts themselves, without an encoder."""

    takes_weights: ClassVar[bool] = False  # whether `fit` takes the documents' weights

    @abstractmethod
    def fit(
        self,
        texts: Sequence[str],
        classes: Sequence[int],
        *,
        labels: int,
        seed: int,
        weights: Sequence[float] | None = None,
    ) -> Any:
        """Learn from `texts` and their class indices (0 to `labels` - 1); the result goes to the functions below.

        `weights` are only given where `takes_weights` is set and the documents do not count alike: see `Documents`.
        """

    def with_absolute_paths(self) -> Self:
        """The method with paths that are found from every folder, such as that of a worker."""
        return self

    def fingerprints(self) -> dict[str, str]:
        """Of the files that options name, by option; they stand for the names in a run's identity.

        So other files under the same name give another run, and a file that was moved gives the same.
        """
        return {}

    @abstractmethod
    def scores(self, fitted: Any, texts: Sequence[str]) -> np.ndarray:
        """Scores of shape (texts, labels), float32; the largest of a row is the prediction."""

    def contributions(self, fitted: Any, text: str) -> list[Contribution] | None:
        """What each word or character of a text adds to its scores, exactly: with the offsets of the classes, which do
        not depend on the text, they add up to `scores`. None where the method is not a sum over parts of the text."""
        return None

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
