"""What can be said of one distillation; every default stands here."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tanzaku.encoders.source import absolute_name
from tanzaku.errors import SpecError
from tanzaku.pretraining.options import Documents, LoopOptions, read_model

_NUMBER = re.compile(r"\d+")
_NUMBERS = re.compile(r"\d+(,\d+)*")
_LEARNING_RATE = 3e-4
_MUON_RATE = 0.005


class StudentShape(BaseModel):
    """The shape of a new student; what is not given is the teacher's."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    layers: Annotated[int, Field(ge=1, description="Transformer layers.")]
    hidden: Annotated[int | None, Field(ge=1, description="Width of the hidden states.")] = None
    heads: Annotated[int | None, Field(ge=1, description="Attention heads; by default as wide as the teacher's.")] = (
        None
    )
    intermediate: Annotated[
        int | None, Field(ge=1, description="Width of the feed-forward layer; by default in the teacher's proportion.")
    ] = None


class DistillOptions(LoopOptions):
    """The options of `tanzaku distill`, frozen; see `resolved` for the defaults that depend on other options."""

    muon_learning_rate: Annotated[
        float | None, Field(gt=0, description="Muon's learning rate at its highest; 0.005 if not given.")
    ] = None
    learning_rate: Annotated[
        float | None, Field(gt=0, description="AdamW's learning rate at its highest; 3e-4 if not given.")
    ] = None
    student: Annotated[
        str, Field(description="Shape of the student, such as layers=4 or layers=6,hidden=256, or an encoder's folder.")
    ]
    layers: Annotated[
        str | None,
        Field(
            description="The teacher's layers that the student's start as copies of, from 0, such as 2,5,8,11; evenly "
            "spaced up to the last one if not given."
        ),
    ] = None
    embeddings: Annotated[
        Literal["frozen", "trained"] | None,
        Field(description="Whether the student's embeddings are trained; frozen where they are the teacher's."),
    ] = None
    hidden_loss: Annotated[
        Literal["layers", "last", "none"],
        Field(description="Whose hidden states are learned: of matched layers, only of the last layer, or of none."),
    ] = "layers"
    pooled_loss: Annotated[
        Literal["vectors", "similarities", "none"],
        Field(description="What of the mean-pooled vectors is learned: their directions, or which are similar."),
    ] = "vectors"
    pooled_weight: Annotated[
        float, Field(gt=0, description="Weight of the pooled vectors' loss; that of the hidden states has weight 1.")
    ] = 1.0
    lengths: Annotated[
        Literal["mixed", "full"],
        Field(
            description="Sequences of max_tokens only, or batches of shorter ones too, of an equal number of tokens."
        ),
    ] = "mixed"
    documents: Documents = "blank-line"

    _inputs: ClassVar[frozenset[str]] = frozenset({"student"})

    @model_validator(mode="after")
    def _check_student(self) -> Self:
        shape = self.shape()
        if self.hidden_loss == "none" and self.pooled_loss == "none":
            raise ValueError("hidden_loss and pooled_loss are both none, so there is nothing to learn; choose one")
        if self.layers is None:
            return self
        if shape is None:
            raise ValueError("layers is for a student that starts from the teacher; leave it out, or give a shape")
        chosen = self.chosen_layers()
        if chosen is None or list(chosen) != sorted(set(chosen)):
            raise ValueError(f"layers = {self.layers!r}: give different numbers in ascending order, such as 2,5,8,11")
        if len(chosen) != shape.layers:
            raise ValueError(f"layers = {self.layers!r} names {len(chosen)} layers, and the student has {shape.layers}")
        return self

    def shape(self) -> StudentShape | None:
        """The shape of a new student; None where `student` is an encoder."""
        if "=" not in self.student or Path(absolute_name(self.student)).is_dir():
            return None
        try:
            return StudentShape.model_validate(self._sizes())
        except ValidationError as error:
            first = error.errors()[0]
            raise self._not_understood(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    def _sizes(self) -> dict[str, str]:
        """What `student` says of each size of a shape, such as "4" of layers."""
        sizes: dict[str, str] = {}
        for part in self.student.split(","):
            name, _, size = map(str.strip, part.partition("="))
            if name in sizes:
                raise self._not_understood(f"{name} is there twice")
            if not _NUMBER.fullmatch(size):
                raise self._not_understood(f"{part.strip()!r} gives no whole number")
            sizes[name] = size
        return sizes

    def _not_understood(self, reason: str) -> ValueError:
        others = ", ".join(name for name in StudentShape.model_fields if name != "layers")
        return ValueError(
            f"the shape {self.student!r} is not understood ({reason}); it takes layers, and also {others}, as in "
            "layers=6,hidden=256"
        )

    def chosen_layers(self) -> tuple[int, ...] | None:
        """The teacher's layers that were chosen; None where none were."""
        if self.layers is None or not _NUMBERS.fullmatch(self.layers):
            return None
        return tuple(map(int, self.layers.split(",")))

    def resolved(self) -> "DistillOptions":
        """With every default filled in that depends on another option."""
        content: dict[str, Any] = self.model_dump(exclude_none=True)
        content.setdefault("learning_rate", _LEARNING_RATE)
        if self.optimizer == "muon":
            content.setdefault("muon_learning_rate", _MUON_RATE)
        return DistillOptions.model_validate(content)


def read_distill_options(content: Mapping[str, Any]) -> DistillOptions:
    """Check the options that a user gave; None stands for "not given".

    Raises:
        SpecError: One is unknown or has a value that it can't have; the message names it.
    """
    if not content.get("student"):
        raise SpecError("distill: student is missing; give a shape such as layers=4, or an encoder's folder")
    return read_model(DistillOptions, content, where="distill").resolved()
