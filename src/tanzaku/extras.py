"""The packages that only some work needs: `pip install 'tanzaku[EXTRA]'` adds them."""

import importlib
from typing import Literal

from tanzaku.errors import TanzakuError

Extra = Literal["report", "tune"]

_MODULES: dict[Extra, tuple[str, ...]] = {"report": ("jinja2", "matplotlib"), "tune": ("optuna", "tomli_w")}


def require_extra(extra: Extra, *, purpose: str) -> None:
    """Make sure that the packages of an extra are installed.

    Args:
        extra: Its name in pyproject.toml.
        purpose: What needs it, as the subject of a sentence, such as "the search".

    Raises:
        TanzakuError: One of the packages is missing; the message says how to install it.
    """
    for module in _MODULES[extra]:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise TanzakuError(
                f"{purpose} needs {error.name}, which is not installed; install it with: pip install 'tanzaku[{extra}]'"
            ) from error
