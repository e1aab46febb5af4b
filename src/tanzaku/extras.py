"""The packages that only some work needs: the extras of pyproject.toml."""

import importlib
from typing import Literal

from tanzaku.errors import TanzakuError

Extra = Literal["report", "tune", "xlsx"]

# By the names that are imported, the names that are installed.
_PACKAGES: dict[Extra, dict[str, str]] = {
    "report": {"jinja2": "jinja2", "matplotlib": "matplotlib"},
    "tune": {"optuna": "optuna"},
    "xlsx": {"openpyxl": "openpyxl"},
}


def require_extra(extra: Extra, *, purpose: str) -> None:
    """Make sure that the packages of an extra are installed.

    Args:
        extra: Its name in pyproject.toml.
        purpose: What needs it, as the subject of a sentence, such as "the search".

    Raises:
        TanzakuError: One of the packages is missing; the message says how to install it.
    """
    for module in _PACKAGES[extra]:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise TanzakuError(
                f"{purpose} needs {error.name}, which is not installed; install it with: "
                f"pip install {' '.join(_PACKAGES[extra].values())} (the extra {extra!r})"
            ) from error
