"""A run that is ready to be made: its settings, the folder it writes to and, if it adapts one, its encoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tanzaku.study.spec import EncoderRunSpec, TextRunSpec

if TYPE_CHECKING:
    from tanzaku.encoders.source import EncoderSource
    from tanzaku.study.teacher import SoftLabels


@dataclass(frozen=True)
class PlannedEncoderRun:
    """A run of a method that adapts an encoder."""

    spec: EncoderRunSpec
    folder: Path
    encoder: EncoderSource
    teacher: SoftLabels | None = None
    processes: int = 1
    """That train it together. Its results do not depend on them, up to rounding and what dropout leaves out."""
    trained_like: str | None = None
    """The identity of the run whose training is the same; see `EncoderMethod.trained_like`."""

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.folder.name


@dataclass(frozen=True)
class PlannedTextRun:
    """A run of a method that learns only from the texts."""

    spec: TextRunSpec
    folder: Path

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.folder.name


PlannedRun = PlannedEncoderRun | PlannedTextRun
