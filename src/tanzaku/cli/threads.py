"""The option --threads, of every command that trains or classifies."""

from typing import Annotated, Any

import typer

from tanzaku.threads import settle_threads


def _settle(threads: int | None) -> int | None:
    settle_threads(threads)  # before the command imports PyTorch
    return threads


def threads_option(**layout: Any) -> Any:
    """The option; `layout` is typer's, such as the panel of the help that it belongs to."""
    return typer.Option(
        "--threads",
        min=1,
        callback=_settle,
        help="Number of threads for computing.",
        **({"show_default": "OMP_NUM_THREADS, otherwise one per usable physical core"} | layout),
    )


Threads = Annotated[int | None, threads_option()]
