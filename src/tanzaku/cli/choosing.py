"""The options by which `tanzaku pack` and `tanzaku study report` choose an arm."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer


@dataclass(frozen=True)
class Choosing:
    """What the recommended arm is, as options."""

    margin: Annotated[
        float,
        typer.Option(
            min=0, max=100, help="Percentage points that the recommended arm may be worse than the best; 0: the best."
        ),
    ] = 0.5
    choose_by: Annotated[
        Literal["accuracy", "macro_f1"] | None,
        typer.Option(help="What of the validation set arms are chosen by.", show_default="what the study file said"),
    ] = None
