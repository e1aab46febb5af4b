"""Charts in pixels: data becomes positions on a canvas here, and the template turns them into markup."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tanzaku.report.style import LEAST_RATIO

WIDTH, HEIGHT = 440, 310
LEFT, RIGHT, TOP, BOTTOM = 60, 14, 34, 46  # the vertical axis's title lies above it, where no tick's text is
COLOURS = 6  # of lines; the style sheet has as many
SHAPES = 5  # of points; the template has as many
_MOST_TICKS = 8
_ROOM = 0.06  # of the span, at either end
_WIDE, _NARROW = 14, 8.8  # pixels a character of a name has on a phone, where names are largest
_DIGIT = 10.4  # likewise, a character of a tick
_LEAST_PIXELS = 26  # between two ticks
_FROM_POINT, _FROM_RING = 8, 10  # pixels from a point to its name
_BETWEEN = 4  # pixels between the texts of two ticks beside each other

Scale = Literal["linear", "log"]
Format = Callable[[float], str]


@dataclass(frozen=True)
class Point:
    """One value with its interval, in data units; `label` is shown where a pointer rests on it."""

    x: float
    y: float
    label: str
    low: float | None = None
    high: float | None = None
    hollow: bool = False
    chosen: bool = False
    """Of the recommended arm: a ring is drawn around it."""
    name: str = ""
    """Written next to the point where there is room."""


@dataclass(frozen=True)
class Line:
    """Points of one look; `join` says how they are connected. A `look` of None is the front's thin line."""

    label: str
    points: tuple[Point, ...]
    look: int | None
    join: Literal["straight", "stairs", "none"] = "straight"
    marked: bool = True
    chosen: bool = False
    """Of the recommended arm: the legend says so, and the line is thicker."""
    published: bool = False
    """The thesis's figures: a dotted line with hollow points."""


@dataclass(frozen=True)
class Rule:
    """A value without a position on the horizontal axis, drawn across."""

    label: str
    y: float
    look: int
    chosen: bool = False
    """Of the recommended arm, as a line's."""


@dataclass(frozen=True)
class Axis:
    """One axis; without `ticks`, round numbers are found."""

    label: str
    scale: Scale = "linear"
    ticks: tuple[float, ...] = ()
    write: Format = "{:g}".format
    from_zero: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart in data units."""

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


@dataclass(frozen=True)
class Tick:
    """A tick's place and text."""

    place: float
    text: str


@dataclass(frozen=True)
class DrawnPoint:
    """A point in pixels; `low` and `high` are the ends of its bar."""

    x: float
    y: float
    low: float | None
    high: float | None
    label: str
    hollow: bool
    chosen: bool
    name: str


@dataclass(frozen=True)
class DrawnLine:
    """A line in pixels."""

    path: str
    points: tuple[DrawnPoint, ...]
    colour: int | None
    dashed: bool
    """Whether another line before has the colour."""
    shape: int
    label: str
    chosen: bool
    published: bool


@dataclass(frozen=True)
class Name:
    """A text beside a point."""

    x: float
    y: float
    text: str
    anchor: Literal["start", "end"]


@dataclass(frozen=True)
class Drawing:
    """A chart in pixels, ready for the template."""

    chart: Chart
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[DrawnLine, ...]
    rules: tuple[tuple[float, Rule], ...]
    names: tuple[Name, ...]


def draw(chart: Chart) -> Drawing:
    """Place everything on the canvas."""
    points = [point for line in chart.lines for point in line.points]
    heights = [value for point in points for value in (point.y, point.low, point.high) if value is not None]
    across = _Span.over([point.x for point in points], chart.x, start=LEFT, end=WIDTH - RIGHT)
    up = _Span.over([*heights, *(rule.y for rule in chart.rules)], chart.y, start=HEIGHT - BOTTOM, end=TOP)
    lines = tuple(_draw_line(line, across, up) for line in chart.lines)
    return Drawing(
        chart=chart,
        x_ticks=_ticks(chart.x, across, beside=True),
        y_ticks=_ticks(chart.y, up, beside=False),
        lines=lines,
        rules=tuple((_tenth(up.place(rule.y)), rule) for rule in chart.rules),
        names=_names(lines),
    )


@dataclass(frozen=True)
class _Span:
    low: float
    high: float
    scale: Scale
    start: float
    end: float

    @classmethod
    def over(cls, values: Iterable[float], axis: Axis, *, start: float, end: float) -> _Span:
        known = [*values, *axis.ticks]
        measured = [math.log(value) for value in known] if axis.scale == "log" else known
        low, high = min(measured), max(measured)
        if axis.scale == "log" and low < high:
            lacking = max(0.0, math.log(LEAST_RATIO) - (high - low))
            low, high = low - lacking / 2, high + lacking / 2
        room = _ROOM * (high - low) or 0.5
        return cls(0.0 if axis.from_zero else low - room, high + room, axis.scale, start, end)

    def place(self, value: float) -> float:
        measured = math.log(value) if self.scale == "log" else value
        return self.start + (self.end - self.start) * (measured - self.low) / (self.high - self.low)

    @property
    def ends(self) -> tuple[float, float]:
        return (math.exp(self.low), math.exp(self.high)) if self.scale == "log" else (self.low, self.high)


def round_numbers(low: float, high: float) -> list[float]:
    """At most eight multiples of 1, 2 or 5 times a power of ten, from low to high."""
    step = 10 ** math.floor(math.log10((high - low) / _MOST_TICKS))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= _MOST_TICKS)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(number * step, 10) for number in range(first, last + 1)]


def round_powers(low: float, high: float) -> list[float]:
    """Of 1, 2 and 5 times powers of ten from low to high, as many kinds as leave at most eight."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [round(factor * 10.0**power, 10) for power in decades for factor in factors]
        found = [value for value in found if low <= value <= high]
        if len(found) <= _MOST_TICKS:
            return found
    return found[:: math.ceil(len(found) / _MOST_TICKS)]


def _ticks(axis: Axis, span: _Span, *, beside: bool) -> tuple[Tick, ...]:
    """Those of the axis, or round ones, as many as have room; `beside` says that their texts share a line."""
    ticks: list[Tick] = []
    for value in axis.ticks or _round_values(axis, span):
        tick = Tick(_tenth(span.place(value)), axis.write(value))
        if not ticks or abs(tick.place - ticks[-1].place) >= _least_distance(ticks[-1], tick, beside=beside):
            ticks.append(tick)
    return tuple(ticks)


def _round_values(axis: Axis, span: _Span) -> list[float]:
    """On a logarithmic axis whose values lie close together there is hardly a round power: round numbers then."""
    powers = round_powers(*span.ends) if axis.scale == "log" else []
    return powers if len(powers) > 1 else round_numbers(*span.ends)


def _least_distance(one: Tick, other: Tick, *, beside: bool) -> float:
    width = _DIGIT * (len(one.text) + len(other.text)) / 2 + _BETWEEN
    return max(_LEAST_PIXELS, width) if beside else _LEAST_PIXELS


def _draw_line(line: Line, across: _Span, up: _Span) -> DrawnLine:
    points = tuple(
        DrawnPoint(
            x=_tenth(across.place(point.x)),
            y=_tenth(up.place(point.y)),
            low=None if point.low is None else _tenth(up.place(point.low)),
            high=None if point.high is None else _tenth(up.place(point.high)),
            label=point.label,
            hollow=point.hollow,
            chosen=point.chosen,
            name=point.name,
        )
        for point in line.points
    )
    return DrawnLine(
        path=_path(points, line.join),
        points=points if line.marked else (),
        colour=None if line.look is None else line.look % COLOURS,
        dashed=(line.look or 0) // COLOURS % 2 == 1,
        shape=(line.look or 0) % SHAPES,
        label=line.label,
        chosen=line.chosen,
        published=line.published,
    )


def _path(points: Sequence[DrawnPoint], join: str) -> str:
    if join == "none" or len(points) < 2:
        return ""
    parts = [f"M{points[0].x:g} {points[0].y:g}"]
    for point in points[1:]:
        parts.append(f"H{point.x:g}V{point.y:g}" if join == "stairs" else f"L{point.x:g} {point.y:g}")
    return "".join(parts)


def _names(lines: Sequence[DrawnLine]) -> tuple[Name, ...]:
    """Next to each point with a name, on the first side where it meets no other name and no point; the recommended
    arm's first."""
    points = sorted((point for line in lines for point in line.points), key=lambda point: not point.chosen)
    taken: list[tuple[float, float, float, float]] = [
        (point.x - reach, point.y - reach, point.x + reach, point.y + reach)
        for point in points
        for reach in (9 if point.chosen else 5,)
    ]
    names: list[Name] = []
    for point in points:
        if not point.name:
            continue
        width = sum(_WIDE if ord(character) > 0x2E80 else _NARROW for character in point.name)
        away = _FROM_RING if point.chosen else _FROM_POINT
        sides: list[tuple[float, float, Literal["start", "end"]]] = [
            (point.x + away, point.y + away + 8, "start"),
            (point.x - away, point.y - away, "end"),
            (point.x + away, point.y - away, "start"),
            (point.x - away, point.y + away + 8, "end"),
        ]
        for x, y, anchor in sides:
            left = x if anchor == "start" else x - width
            box = (left, y - 13, left + width, y + 3)
            inside = box[0] >= LEFT and box[2] <= WIDTH and box[1] >= TOP - 12 and box[3] <= HEIGHT - BOTTOM
            if inside and not any(_meet(box, other) for other in taken):
                names.append(Name(_tenth(x), _tenth(y), point.name, anchor))
                taken.append(box)
                break
    return tuple(names)


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _tenth(place: float) -> float:
    return round(place, 1)
