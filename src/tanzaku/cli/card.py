"""The option for the model card that bundles and exports have."""

from typing import Annotated, Literal

import typer

CardLanguage = Annotated[Literal["en", "ja"], typer.Option(help="Language of the model card, README.md.")]
