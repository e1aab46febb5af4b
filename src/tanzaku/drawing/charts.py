"""What a chart shows, in data units: two renderers draw it, `svg` for the page and `figure` for files.

Everything that a reader could compare between the two is decided here or in the modules that make charts: values,
intervals, scales, labels and which arm is recommended. A renderer decides colours and sizes only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scale = Literal["linear", "log"]

# Shares of the horizontal axis's length.
_MOST_SHIFT, _ALL_SHIFTS = 0.014, 0.1
_MOST_RULE_STEP, _ALL_RULES = 0.055, 0.3


@dataclass(frozen=True)
class Point:
    """One value with its interval; `label` is shown where a pointer rests on it."""

    x: float
    y: float
    label: str
    low: float | None = None
    high: float | None = None
    hollow: bool = False
    recommended: bool = False
    """Whether a ring is drawn around it."""
    name: str = ""
    """Written next to the point where there is room."""


@dataclass(frozen=True)
class Line:
    """Points of one look; `join` says how they are connected. A `look` of None is the thin line of a Pareto front."""

    label: str
    points: tuple[Point, ...]
    look: int | None
    join: Literal["straight", "stairs", "none"] = "straight"
    marked: bool = True
    recommended: bool = False
    """Of the recommended arm: where no point has a ring, the legend says so, and the line is thicker than others."""
    published: bool = False
    """The thesis's values: a dotted line with hollow points."""


@dataclass(frozen=True)
class Rule:
    """A value without a position on the horizontal axis: a line across."""

    label: str
    y: float
    look: int
    points: tuple[Point, ...]
    """Drawn near the right end, whatever their `x`: the value with its interval, and the thesis's value."""

    @property
    def recommended(self) -> bool:
        """Whether it is the recommended arm's."""
        return any(point.recommended for point in self.points)


@dataclass(frozen=True)
class Axis:
    """One axis; without `ticks`, round numbers are chosen."""

    label: str
    scale: Scale = "linear"
    ticks: tuple[float, ...] = ()
    from_zero: bool = False
    limits: tuple[float, float] | None = None
    """Where the axis ends whatever the values are; without them, it covers all values."""


@dataclass(frozen=True)
class Chart:
    """Lines over two numeric axes."""

    key: str
    """A word for its identifiers in the page."""
    title: str
    caption: str
    x: Axis
    y: Axis
    lines: tuple[Line, ...]
    rules: tuple[Rule, ...] = ()
    note: str = ""
    """A sentence below the legend."""
    shades: int = 0
    """Where not 0, the looks of the lines are steps on a scale of so many, such as the ranks of a study."""

    @property
    def marks(self) -> list[Line | Rule]:
        """Lines and rules."""
        return [*self.lines, *self.rules]

    @property
    def texts(self) -> list[str]:
        """Everything that a figure writes."""
        return [self.title, self.x.label, self.y.label, *(mark.label for mark in self.marks)]

    @property
    def points(self) -> list[Point]:
        """Of all lines and rules, those of lines without marks too."""
        return [point for mark in self.marks for point in mark.points]

    @property
    def heights(self) -> list[float]:
        """Everything that the vertical axis must cover."""
        values = [value for point in self.points for value in (point.y, point.low, point.high)]
        return [value for value in values if value is not None]

    @property
    def has_ring(self) -> bool:
        """Whether a recommended arm has a ring around its point."""
        return any(point.recommended for point in self.points)

    def is_thick(self, line: Line) -> bool:
        """Whether a line is the recommended arm's among others."""
        return line.recommended and not all(one.recommended for one in self.lines)

    @property
    def has_published(self) -> bool:
        """Whether any of the thesis's values is shown."""
        return any(line.published for line in self.lines) or any(
            point.hollow for rule in self.rules for point in rule.points
        )

    def shift(self, line: Line) -> float:
        """How far to the right of their values a line's points are drawn, so that the intervals of several lines don't
        hide each other: a share of the horizontal axis's length."""
        with_intervals = (one for one in self.lines if any(point.low is not None for point in one.points))
        looks = list(dict.fromkeys(one.look for one in with_intervals))
        if line.look not in looks:
            return 0.0
        return min(_MOST_SHIFT, _ALL_SHIFTS / len(looks)) * (looks.index(line.look) - (len(looks) - 1) / 2)

    @property
    def reserved(self) -> float:
        """The share at the right end of the horizontal axis that holds the points of the rules."""
        return min(_MOST_RULE_STEP * len(self.rules), _ALL_RULES)

    def rule_share(self, place: int) -> float:
        """Where along the horizontal axis a rule's points are drawn, a share of its length."""
        return 1 - self.reserved + self.reserved / len(self.rules) * (place + 0.5)


@dataclass(frozen=True)
class ForestRow:
    """One arm's mean and interval, in percent."""

    label: str
    mean: float
    low: float
    high: float
    recommended: bool = False
    published: float | None = None
    """The thesis's value."""


@dataclass(frozen=True)
class Forest:
    """The intervals of all arms, one below the other (a forest plot)."""

    title: str
    caption: str
    x: Axis
    """Its limits leave out what would make the other intervals too short to read; renderers cut it with an arrow."""
    rows: tuple[ForestRow, ...]

    @property
    def texts(self) -> list[str]:
        """Everything that a figure writes."""
        return [self.x.label, *(row.label for row in self.rows)]
