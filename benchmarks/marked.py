"""Parts of pages that a command writes: the text between two markers."""

from __future__ import annotations

from tanzaku.errors import RecordError


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
