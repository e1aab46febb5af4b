"""Options that several of LoRA's kind have."""

from typing import Annotated, Literal

from pydantic import Field

Rank = Annotated[int, Field(ge=1, description="Rank r of the update B·A, in columns.")]
Alpha = Annotated[
    Literal["rank"] | Annotated[float, Field(gt=0)],
    Field(description='α of the scale α/r: a number, or "rank" for α = r (scale 1 at every rank).'),
]
InputDropout = Annotated[float, Field(ge=0, lt=1, description="Dropout probability on the input of A.")]
