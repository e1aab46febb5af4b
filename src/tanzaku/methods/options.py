"""Options that several of LoRA's kind have."""

from typing import Annotated, Literal

from pydantic import Field

from tanzaku.methods.labels import OptionLabel

Rank = Annotated[int, Field(ge=1, description="Rank r of the update B·A, in columns.")]
Alpha = Annotated[
    Literal["rank"] | Annotated[float, Field(gt=0)],
    Field(description='α of the scale α/r: a number, or "rank" for α = r (scale 1 at every rank).'),
    OptionLabel("α = {value}", values={"rank": "r"}),
]
InputDropout = Annotated[float, Field(ge=0, lt=1, description="Dropout probability on the input of A.")]
Pooler = Annotated[
    bool,
    Field(description="Update the pooler's linear layer too, which no preset takes; not where it is new."),
    OptionLabel("with the pooler", ja="プーラーを含む"),
]
