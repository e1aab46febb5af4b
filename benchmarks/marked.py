"""Parts of pages that a command writes: the text between two markers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tanzaku.errors import RecordError

Record = Mapping[str, Any]


def section(heading: str, record: Record | None, write: Callable[[Record], Sequence[str]], command: str) -> str:
    """What a record says, or that there is none and which command of `python -m` makes it."""
    if record is None:
        return f"{heading}\n\nNot measured yet: `python -m {command}` makes the record."
    return "\n".join([heading, "", *write(record)])


def made(record: Record, path: Path, *, more: str = "") -> str:
    """By which command a record was made, on what and when, with a link to it; `more` comes after the day."""
    machine = f"{record['machine']['cpu']}, {record['machine']['physical_cores']} cores"
    link = f"[record](../records/benchmarks/{path.name})"
    return f"`{record['command']}` on {machine}, ended {record['ended'][:10]}{more} ({link})"


def with_marked(page: str, text: str, *, begin: str, end: str, name: str) -> str:
    """The page with another text between its markers.

    Args:
        page: The whole text.
        text: What comes between the markers; it ends with a line break.
        begin: The marker before it, a line with its break.
        end: The marker after it, likewise.
        name: The page's, for the error.

    Raises:
        RecordError: The page lacks a marker.
    """
    before, first, rest = page.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise RecordError(f"{name} lacks the marker {(end if first else begin).strip()}")
    return f"{before}{begin}\n{text}\n{end}{after}"
