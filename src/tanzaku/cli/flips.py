"""The option --max-flips, of every command that compares a bundle with another form of it."""

from typing import Any

import typer


def max_flips_option(*, condition: str = "") -> Any:
    """The option; `condition` says when it has an effect, such as "With --int8: "."""
    text = "write nothing if more than this percentage of the compared texts get another label."
    return typer.Option(
        metavar="PERCENT",
        min=0,
        max=100,
        help=condition + text if condition else text.capitalize(),
        show_default="no limit; the number is printed",
    )


def share_of(max_flips: float | None) -> float | None:
    """The share of texts that may get another label, from the percentage that was given."""
    return None if max_flips is None else max_flips / 100
