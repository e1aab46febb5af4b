"""How checks are printed, those of `tanzaku doctor` and of `tanzaku inspect`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.text import Text

from tanzaku.display import plain_console

if TYPE_CHECKING:
    from tanzaku.encoders.checks import Check

_STYLES = {"ok": "green", "none": "dim", "warn": "bold yellow", "fail": "bold red"}


def shown(checks: "Iterable[Check]", *, silent: bool) -> "list[Check]":
    """All checks, each printed as soon as it is made."""
    console = plain_console(soft_wrap=True, quiet=silent)
    made = []
    for check in checks:
        made.append(check)
        console.print(Text.assemble((f"{check.status:<5}", _STYLES[check.status]), f"{check.name}: {check.detail}"))
        if check.remedy:
            console.print(Text.assemble("     ", (f"→ {check.remedy}", "bold")))
    return made
