"""What `[tune]` in a study file may say."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Range(_Settings):
    """Numbers from `low` to `high`, both among them; whole ones where both ends are."""

    low: Annotated[int | float, Field(description="The smallest value.")]
    high: Annotated[int | float, Field(description="The largest value.")]
    log: Annotated[bool, Field(description="Spread evenly over the logarithm, not over the value.")] = False

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError("low must be smaller than high, and with log greater than 0")
        return self

    @property
    def whole(self) -> bool:
        """Whether it is one of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def between(self) -> tuple[float, ...]:
        """A number between the ends where they are not whole; settings of whole numbers refuse it, and so the range."""
        return () if self.whole else (self.low + (self.high - self.low) / math.pi,)


class TuneSpec(_Settings):
    """How `tanzaku study tune` searches, and among what."""

    arm: Annotated[
        int | None, Field(ge=0, description="Which arm is tuned, from 0; without it, the first with an encoder.")
    ] = None
    space: Annotated[
        dict[str, tuple[Any, ...] | Range] | None,
        Field(
            description="The settings that are searched, by their names in an arm: a list of values or a range. "
            "Without it, those of `DEFAULT_SPACE` that the method has and neither the arm nor [training] or [encoder] "
            "says. The arm's own axes are searched too."
        ),
    ] = None
    objective: Annotated[
        Literal["accuracy", "loss"],
        Field(description="Of the validation set, at the epoch whose weights a run would keep (`best_by`)."),
    ] = "accuracy"
    trials: Annotated[int, Field(ge=1, description="Trials in all, those of earlier calls too.")] = 30
    minutes: Annotated[
        float | None, Field(gt=0, description="Stop after so many minutes; without it, after all trials.")
    ] = None
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Of the search, and of every trial's training.")] = 42
    startup_trials: Annotated[
        int, Field(ge=1, description="So many are drawn at random before the search follows what it has seen.")
    ] = 8
    pruner: Annotated[
        Literal["median", "hyperband", "none"],
        Field(
            description="Ends trials early that are worse than the median of the others at the same epoch, or by "
            "Hyperband's brackets, or never."
        ),
    ] = "median"
    unpruned_epochs: Annotated[int, Field(ge=1, description="No trial is ended before so many epochs.")] = 2
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=2**32)], ...],
        Field(min_length=1, description="Of the study that is written with the best settings."),
    ] = (1, 2, 3)

    @field_validator("space", mode="before")
    @classmethod
    def _parse_space(cls, space: Any) -> Any:
        return {name: _values(name, value) for name, value in space.items()} if isinstance(space, dict) else space


def _values(name: str, value: Any) -> tuple[Any, ...] | Range:
    if isinstance(value, list | tuple) and value:
        return tuple(value)
    if isinstance(value, Range):
        return value
    try:
        return Range.model_validate(value)
    except ValidationError as error:
        told = error.errors()[0]
        what = "".join(f"{part}: " for part in told["loc"])
        raise ValueError(
            f"{name}: {what}{told['msg'].removeprefix('Value error, ')}; give a list of values or a range such as "
            "{ low = 1e-4, high = 1e-2, log = true }"
        ) from error
