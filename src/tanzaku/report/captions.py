"""What a figure shows, in words: its marks are explained only where it has them."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure

from tanzaku.analysis.evidence import Evidence
from tanzaku.report import formats, texts


@dataclass(frozen=True)
class FigureFile:
    """A figure that was written."""

    path: str
    """Of the SVG, from the report's folder."""
    caption: str


def caption_of(name: str, figure: Figure, evidence: Evidence) -> str:
    """The caption of one of `figures_of`'s figures."""
    arm = formats.arm_name(evidence.best) if evidence.best else ""
    marks = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    parts = [texts.FIGURE_CAPTIONS[name].format(arm=arm)]
    if name == "confusion":
        parts.append(texts.MATRIX_CAPTION if figure.axes[0].images else texts.PAIRS_CAPTION)
    if texts.LEGEND_RECOMMENDED in marks:
        parts.append(texts.RING_CAPTION)
    if texts.LEGEND_THESIS in marks:
        parts.append(texts.HOLLOW_CAPTION)
    return " ".join(parts)
