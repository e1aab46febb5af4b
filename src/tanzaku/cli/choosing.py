"""The options by which `tanzaku pack` and `tanzaku study report` choose an arm."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer


@dataclass(frozen=True)
class Choosing:
    """Options that decide which arm is recommended."""

    margin: Annotated[
        float,
        typer.Option(
            min=0,
            max=100,
            help="Percentage points by which the recommended arm may be worse than the best; 0: the best.",
        ),
    ] = 0.5
    choose_by: Annotated[
        Literal["accuracy", "macro_f1"] | None,
        typer.Option(
            help="Validation metric by which arms are chosen.",
            show_default="as in the study file when the runs were made",
        ),
    ] = None
