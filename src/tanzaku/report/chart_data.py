"""The arms of a section as its charts show them: lines against the rank and baselines, their names and looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tanzaku.analysis import thesis
from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.evidence import Evidence
from tanzaku.analysis.series import baselines_of, series_of
from tanzaku.analysis.thesis import Published
from tanzaku.report import formats
from tanzaku.report.names import legend_names, page_name
from tanzaku.words import Words


@dataclass(frozen=True)
class Group:
    """Arms of one name and one look: a line against the rank, or an arm without a rank."""

    label: str
    arms: tuple[Arm, ...]
    look: int
    ranked: bool


@dataclass(frozen=True)
class ChartData:
    """What a section's charts are made from."""

    section: Section
    evidence: Evidence
    words: Words

    @cached_property
    def groups(self) -> list[Group]:
        """The lines against the rank, then the arms without a rank; all with a finished run."""
        series = series_of(self.section)
        labels = legend_names([arms[0] for arms in series], words=self.words)
        lines = [Group(label, arms, look, True) for look, (label, arms) in enumerate(zip(labels, series, strict=True))]
        baselines = baselines_of(self.section)
        return lines + [
            Group(self.name(arm), (arm,), look, False) for look, arm in enumerate(baselines, start=len(lines))
        ]

    def name(self, arm: Arm) -> str:
        """The arm's name, with its rank."""
        return page_name(arm, words=self.words)

    def common_name(self, arms: Sequence[Arm]) -> str:
        """What is common to the names of some arms of one method, without the rank."""
        names = [arm.full_name(self.words) for arm in arms]
        parts = [part for part in names[0].details if all(part in name.details for name in names)]
        return ", ".join([arms[0].short_name(self.words).method, *parts])

    def is_recommended(self, arm: Arm) -> bool:
        """Whether the arm is recommended: of all, or of those that adapt the encoder."""
        return arm in self.evidence.recommended

    def published(self, arm: Arm) -> Published | None:
        """The thesis's row for an arm, where the data is the thesis's."""
        return thesis.published_for(arm) if thesis.is_thesis_data(self.section.data) else None


def percent(arm: Arm) -> float:
    """The mean test accuracy in percent."""
    return 100 * arm.accuracy.mean if arm.accuracy else float("nan")


def interval_text(mean: float, low: float | None, high: float | None) -> str:
    """Such as `93.22 (92.50–94.10)`, in percent."""
    text = formats.percent(mean / 100)
    if low is None or high is None:
        return text
    return f"{text} ({formats.percent(low / 100)}–{formats.percent(high / 100)})"


def megabytes(arm: Arm) -> float:
    """The mean saved size in MB."""
    return arm.mean_cost("saved_bytes") / 1e6


def seconds(arm: Arm) -> float:
    """The mean training time without evaluation in seconds."""
    return arm.mean_cost("train_seconds")
