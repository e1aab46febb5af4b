"""The commands that a report names: only those that work where the report was made."""

from __future__ import annotations

import shlex
from pathlib import Path

from tanzaku.study.record import MODEL_FOLDER


def pack_command(run: Path) -> str | None:
    """How to pack a run.

    Returns:
        None where the run's model is not there, since records may be archived without it.
    """
    return f"tanzaku pack {quoted(run)} --out BUNDLE" if (run / MODEL_FOLDER).is_dir() else None


def quoted(path: Path) -> str:
    """A path as a shell takes it."""
    return shlex.quote(path.as_posix())
