"""What can be said of learning from unlabelled text, and of one pretraining; every default stands here."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tanzaku.display import number
from tanzaku.errors import SpecError

_SHAPE = re.compile(r"(\d+)x(\d+)")
_HEAD_SIZE = 64
# A prototype (4 layers, 256 wide, 2,048 tokens a step) learned well at the first; trained weights bear a tenth.
_LEARNING_RATE_FROM_SCRATCH = 1e-3
_LEARNING_RATE_CONTINUED = 1e-4
# Jordan et al. 2024 found 0.02 to do for language models of every size; and again a tenth for trained weights.
_MUON_RATE_FROM_SCRATCH = 0.02
_MUON_RATE_CONTINUED = 0.002
# These change when something is saved or shown, never what is learned.
_WITHOUT_EFFECT = {"checkpoint_minutes", "workers"}
_BUDGETS = ("epochs", "steps", "tokens", "minutes")

Documents = Annotated[
    Literal["blank-line", "line"], Field(description="What ends a document: a blank line, or every line's end.")
]


class LoopOptions(BaseModel):
    """The options of learning from unlabelled text, whatever is learned; frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_tokens: Annotated[int, Field(ge=8, description="Tokens of a sequence, [CLS] and [SEP] among them.")] = 128
    batch_tokens: Annotated[int, Field(ge=8, description="Tokens of a step.")] = 2048
    optimizer: Annotated[
        Literal["adamw", "muon"],
        Field(description="AdamW for all, or Muon for the matrices inside the layers and AdamW for the rest."),
    ] = "muon"
    muon_learning_rate: Annotated[
        float | None,
        Field(gt=0, description="Muon's learning rate at its highest; 0.02, or 0.002 continued, if not given."),
    ] = None
    learning_rate: Annotated[
        float | None,
        Field(gt=0, description="AdamW's learning rate at its highest; 1e-3, or 1e-4 continued, if not given."),
    ] = None
    schedule: Annotated[Literal["linear", "cosine"], Field(description="How the learning rate falls to 0.")] = "linear"
    warmup: Annotated[float, Field(ge=0, lt=1, description="Share of the budget in which the rate rises from 0.")] = (
        0.05
    )
    weight_decay: Annotated[float, Field(ge=0, description="Decoupled weight decay, of AdamW and Muon.")] = 0.01
    beta1: Annotated[float, Field(ge=0, lt=1, description="AdamW's decay of the first moment.")] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1, description="AdamW's decay of the second moment.")] = 0.98
    epsilon: Annotated[float, Field(gt=0, description="AdamW's ε.")] = 1e-6
    max_grad_norm: Annotated[float, Field(gt=0, description="The gradient is clipped to this Euclidean norm.")] = 1.0
    steps: Annotated[int | None, Field(ge=1, description="The budget as optimiser steps.")] = None
    tokens: Annotated[int | None, Field(ge=1, description="The budget as tokens, in as many steps as it takes.")] = None
    minutes: Annotated[
        float | None, Field(gt=0, description="The budget as minutes of training, evaluation and checkpoints included.")
    ] = None
    epochs: Annotated[
        float | None, Field(gt=0, description="The budget as passes over the text, without what is held out.")
    ] = None
    dropout: Annotated[float, Field(ge=0, lt=1, description="Dropout probability while training.")] = 0.0
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Field(description="Arithmetic of the matrix products; auto is bfloat16 where the hardware computes it."),
    ] = "auto"
    fast: Annotated[
        bool, Field(description="On a CPU, compute BERT with the fast path; transformers computes all others.")
    ] = True
    attention: Annotated[
        Literal["auto", "sdpa", "eager"],
        Field(description="transformers' implementation; auto is fused (sdpa) on a GPU and plain on a CPU."),
    ] = "auto"
    device: Annotated[Literal["auto", "cpu", "cuda"], Field(description="Where to compute.")] = "auto"
    held_out: Annotated[float, Field(gt=0, lt=0.5, description="Share of the text that is kept for evaluation.")] = 0.01
    held_out_tokens: Annotated[int, Field(ge=8, description="Tokens of it that an evaluation reads at most.")] = 200_000
    evaluations: Annotated[
        int, Field(ge=1, description="Evaluations, evenly over the budget; the last at its end.")
    ] = 20
    save_dtype: Annotated[Literal["float32", "float16"], Field(description="Data type of the saved weights.")] = (
        "float32"
    )
    checkpoint_minutes: Annotated[float, Field(gt=0, description="Minutes between checkpoints.")] = 5.0
    workers: Annotated[
        int | None, Field(ge=1, description="Tokenising processes; as many as threads if not given.")
    ] = None
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Seed of new weights, order, masking and dropout.")] = 42

    _inputs: ClassVar[frozenset[str]] = frozenset()
    """Fields that name inputs, whose contents count for the identity instead."""

    @model_validator(mode="after")
    def _check_learning(self) -> Self:
        if sum(getattr(self, budget) is not None for budget in _BUDGETS) != 1:
            raise ValueError("give the budget either as steps, as tokens, as minutes or as epochs")
        if self.optimizer == "adamw" and self.muon_learning_rate is not None:
            raise ValueError("muon_learning_rate is for optimizer = muon alone; leave it out, or choose muon")
        if self.batch_tokens < self.max_tokens:
            raise ValueError(
                f"batch_tokens = {self.batch_tokens} is less than one sequence of {self.max_tokens} tokens"
            )
        return self

    def identity(self, **inputs: Any) -> str:
        """SHA-256, in hexadecimal, over all that decides the result: these options and `inputs`, as JSON."""
        # What `fast` decides is among the inputs, where it decides something.
        content = self.model_dump(mode="json", exclude=_WITHOUT_EFFECT | {"fast"} | self._inputs)
        return hashlib.sha256(json.dumps([content, inputs], sort_keys=True).encode()).hexdigest()


class ContinuedOptions(LoopOptions):
    """The options of masked-language-model pretraining that continues from an encoder on a given text, frozen."""

    masking_rate: Annotated[float, Field(gt=0, lt=1, description="Share of the tokens to predict.")] = 0.2
    whole_words: Annotated[bool, Field(description="Mask all pieces of a word together.")] = False

    def going_on_from(self, encoder: str) -> "PretrainOptions":
        """These options as those of `tanzaku pretrain --from`, resolved."""
        return PretrainOptions(**self.model_dump(exclude_unset=True), from_encoder=encoder).resolved()

    def __str__(self) -> str:
        """The budget, and what differs from the defaults, such as "3 epochs, max_tokens 512"."""
        return describe_options(self.model_dump(mode="json"))


class NewEncoderOptions(BaseModel):
    """The options of a new encoder, which are fixed where a pretraining continues from an encoder; frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    shape: Annotated[str | None, Field(description="Layers x hidden size of a new encoder; 4x256 if not given.")] = None
    heads: Annotated[int | None, Field(ge=1, description="Attention heads; the hidden size / 64 if not given.")] = None
    intermediate: Annotated[
        int | None, Field(ge=1, description="Width of the feed-forward layer; 4 x hidden if not given.")
    ] = None
    initial_std: Annotated[float, Field(gt=0, description="Standard deviation of a new encoder's weights.")] = 0.02
    initial_embeddings: Annotated[
        Literal["counts", "random"],
        Field(description="A new encoder's embeddings: from counts of the text's neighbouring pieces, or random."),
    ] = "counts"
    initial_positions: Annotated[
        Literal["sinusoidal", "random"],
        Field(description="A new encoder's position vectors before they are trained: sines and cosines, or random."),
    ] = "sinusoidal"
    positions: Annotated[
        int | None,
        Field(ge=8, description="Tokens that a new encoder can read at once; max_tokens if not given."),
    ] = None
    tie: Annotated[bool, Field(description="One matrix as a new encoder's embedding and output projection.")] = True
    vocabulary_size: Annotated[
        int, Field(ge=8, description="WordPieces of a new vocabulary, including the five special ones.")
    ] = 12_000
    character_coverage: Annotated[
        float,
        Field(
            gt=0, le=1, description="Share of the text's characters that a new vocabulary has; rarer ones are [UNK]."
        ),
    ] = 0.999


class PretrainOptions(NewEncoderOptions, ContinuedOptions):
    """The options of `tanzaku pretrain`, frozen; see `resolved` for the defaults that depend on other options."""

    from_encoder: Annotated[str | None, Field(description="Continue from this encoder: folder, Hub id or name.")] = None
    documents: Documents = "blank-line"

    _inputs: ClassVar[frozenset[str]] = frozenset({"from_encoder"})

    @model_validator(mode="after")
    def _check_encoder(self) -> Self:
        if self.from_encoder is not None:
            given = self.model_fields_set & set(NewEncoderOptions.model_fields)
            if refused := sorted(name for name in given if getattr(self, name) is not None):
                raise ValueError(f"{refused[0]} is fixed by the encoder that from_encoder names; leave it out")
            return self
        layers, hidden = parse_shape(self.shape or "4x256")
        heads = self.heads or max(1, hidden // _HEAD_SIZE)
        if layers < 1:
            raise ValueError(f"the shape {self.shape} has no layers; give at least one, such as 4x256")
        if hidden < 1 or hidden % heads:
            raise ValueError(f"a hidden size of {hidden} can't be divided among {heads} heads; choose --heads to fit")
        if self.positions is not None and self.positions < self.max_tokens:
            raise ValueError(f"positions = {self.positions} is less than a sequence of {self.max_tokens} tokens")
        return self

    def resolved(self) -> "PretrainOptions":
        """With every default filled in that depends on another option."""
        content: dict[str, Any] = self.model_dump(exclude_none=True)
        if self.from_encoder is not None:
            for name in NewEncoderOptions.model_fields:
                content.pop(name, None)
            content.setdefault("learning_rate", _LEARNING_RATE_CONTINUED)
            if self.optimizer == "muon":
                content.setdefault("muon_learning_rate", _MUON_RATE_CONTINUED)
            return PretrainOptions.model_validate(content)
        layers, hidden = parse_shape(content.setdefault("shape", "4x256"))
        del layers
        content.setdefault("heads", max(1, hidden // _HEAD_SIZE))
        content.setdefault("intermediate", 4 * hidden)
        content.setdefault("positions", self.max_tokens)
        content.setdefault("learning_rate", _LEARNING_RATE_FROM_SCRATCH)
        if self.optimizer == "muon":
            content.setdefault("muon_learning_rate", _MUON_RATE_FROM_SCRATCH)
        return PretrainOptions.model_validate(content)


def parse_shape(text: str) -> tuple[int, int]:
    """(layers, hidden size) of a shape such as "4x256".

    Raises:
        ValueError: It is not of this form.
    """
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"the shape {text!r} is not understood; write layers x hidden size, such as 4x256")
    return int(match[1]), int(match[2])


def describe_budget(content: Mapping[str, Any]) -> str:
    """How long `ContinuedOptions`, as a record has them, go on: "8 epochs"."""
    return next(f"{number(content[unit])} {unit}" for unit in _BUDGETS if content.get(unit) is not None)


def describe_options(content: Mapping[str, Any]) -> str:
    """The label of `ContinuedOptions` as a record has them."""
    fields = ContinuedOptions.model_fields
    named = {*_BUDGETS, *_WITHOUT_EFFECT}
    further = [
        f"{name} {number(value)}" if isinstance(value, float) else f"{name} {value}"
        for name, value in sorted(content.items())
        if name not in named and (name not in fields or value != fields[name].default)
    ]
    return ", ".join([describe_budget(content), *further])


def read_options(content: dict[str, Any]) -> PretrainOptions:
    """Check the options that a user gave; None stands for "not given".

    Raises:
        SpecError: One is unknown or has a value that it can't have; the message names it.
    """
    return read_model(PretrainOptions, content, where="pretrain").resolved()


Options = TypeVar("Options", bound=LoopOptions)


def read_model(kind: type[Options], content: Mapping[str, Any], *, where: str) -> Options:
    """Options of this kind from those that a user gave; None stands for "not given".

    Raises:
        SpecError: One is unknown or has a value that it can't have; the message starts with `where` and names it.
    """
    try:
        return kind.model_validate({key: value for key, value in content.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise SpecError(f"{where}: {name + ': ' if name else ''}{message}") from error
