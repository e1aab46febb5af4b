"""Charts for the page: every position and path is computed here, and the template writes them down as SVG."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tanzaku.drawing.charts import Chart, Forest, ForestRow, Line, Point, Rule
from tanzaku.drawing.scales import Span, shifts

WIDTH, HEIGHT = 440, 310
LEFT, RIGHT, TOP, BOTTOM = 60, 426, 34, 264  # the vertical axis's title lies above it, where no tick's text is
COLOURS = 6  # of lines; the style sheet has as many
SHAPES = 5  # of points
DASHES = 4  # of rules; the style sheet has as many
SAMPLE = "0 0 24 12"  # the view box of a line's sample in the legend
_SAMPLE_PATH, _SAMPLE_X, _SAMPLE_Y = "M0 6H24", 12, 6
_WIDE, _NARROW = 14, 8.8  # pixels a character of a name has on a phone, where names are largest
_DIGIT = 10.4  # likewise, a character of a tick
_LEAST_PIXELS = 26  # between two ticks
_FROM_POINT, _FROM_RING = 8, 10  # pixels from a point to its name
_HALF_LINE = 1  # of a Pareto front's width
_RING, _SAMPLE_RING = 9.0, 5.0  # radius
_MANY = 12  # lines, which are drawn thin
_CAP = 3.5  # half the length of the line at an interval's end
_Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Tick:
    """A tick's line and text."""

    path: str
    x: float
    y: float
    text: str


@dataclass(frozen=True)
class DrawnPoint:
    """A point in pixels; `low` and `high` are the ends of its interval."""

    of: Point
    x: float
    y: float
    low: float | None
    high: float | None
    shape: int

    @property
    def mark(self) -> str:
        """The path of its symbol."""
        return mark_path(self.shape, self.x, self.y)

    @property
    def bar(self) -> str:
        """The path of its interval; empty without one."""
        if self.low is None or self.high is None:
            return ""
        caps = (f"M{self.x - _CAP:g} {end:g}h{2 * _CAP:g}" for end in (self.low, self.high))
        return f"M{self.x:g} {self.low:g}V{self.high:g}{''.join(caps)}"

    @property
    def ring(self) -> str:
        """The path of the ring of a recommended arm; empty for others."""
        return circle_path(self.x, self.y, _RING) if self.of.recommended else ""


@dataclass(frozen=True)
class DrawnLine:
    """A line or a rule in pixels."""

    path: str
    classes: str
    """Of the path, in the style sheet."""
    colour: int | None
    points: tuple[DrawnPoint, ...]
    title: str = ""
    """Shown where a pointer rests on a rule."""
    steps: tuple[_Box, ...] = ()
    """What the horizontal and vertical parts of stairs cover."""


@dataclass(frozen=True)
class Entry:
    """An entry of the legend: a sample of a line and its symbol."""

    label: str
    colour: int | None
    path: str = ""
    classes: str = ""
    mark: str = ""
    hollow: bool = False
    ring: str = ""
    badge: bool = False
    """Whether the text says that this is the recommended arm, because no ring does."""


@dataclass(frozen=True)
class Name:
    """A text next to a point."""

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
    rules: tuple[DrawnLine, ...]
    names: tuple[Name, ...]
    legend: tuple[Entry, ...]
    view_box: str = f"0 0 {WIDTH} {HEIGHT}"
    frame: str = f"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"
    x_title: tuple[float, float] = ((LEFT + RIGHT) / 2, HEIGHT - 6)
    y_title: tuple[float, float] = (8, 16)


@dataclass(frozen=True)
class Whisker:
    """A row of a forest plot in percent of the width; a `cut` end continues beyond the axis."""

    low: float
    middle: float
    high: float
    cut_low: bool
    cut_high: bool


def draw(chart: Chart, *, recommended: str) -> Drawing:
    """Place everything on the canvas.

    Args:
        chart: What to draw.
        recommended: The legend's text for the ring of a recommended arm.
    """
    across = Span.over([point.x for line in chart.lines for point in line.points], chart.x, reserved=chart.reserved)
    up = Span.over(chart.heights, chart.y)
    lines = tuple(
        _draw_line(line, chart, across, up, moved)
        for line, moved in zip(chart.lines, shifts(chart, across, up), strict=True)
    )
    rules = tuple(_draw_rule(rule, place, chart, up) for place, rule in enumerate(chart.rules))
    x_ticks = across.ticks(chart.x, length=RIGHT - LEFT, least=_LEAST_PIXELS, character=_DIGIT, end=1 - chart.reserved)
    y_ticks = up.ticks(chart.y, length=BOTTOM - TOP, least=_LEAST_PIXELS)
    return Drawing(
        chart=chart,
        x_ticks=tuple(_x_tick(_x(across.share(value)), text) for value, text in x_ticks),
        y_ticks=tuple(_y_tick(_y(up.share(value)), text) for value, text in y_ticks),
        lines=lines,
        rules=rules,
        names=_names([*lines, *rules]),
        legend=_legend(chart, lines, rules, recommended=recommended),
    )


def whisker(forest: Forest, row: ForestRow) -> Whisker | None:
    """A row's place on the forest plot's axis; None where its mean lies beyond."""
    span = Span.over([], forest.x)
    low, middle, high = (round(100 * span.share(value), 1) for value in (row.low, row.mean, row.high))
    if not 0 <= middle <= 100:
        return None
    return Whisker(max(0.0, low), middle, min(100.0, high), cut_low=low < 0, cut_high=high > 100)


def mark_path(shape: int, x: float, y: float) -> str:
    """The outline of a symbol: a circle, a square, a triangle, a diamond or a triangle on its tip."""
    if shape == 0:
        return circle_path(x, y, 4.5)
    outlines = {
        1: (-4, -4, "h8v8h-8z"),
        2: (0, -5.5, "l5 9h-10z"),
        3: (0, -5.5, "l5.5 5.5-5.5 5.5-5.5-5.5z"),
        4: (0, 5.5, "l5-9h-10z"),
    }
    right, down, outline = outlines[shape]
    return f"M{x + right:g} {y + down:g}{outline}"


def circle_path(x: float, y: float, radius: float) -> str:
    """A circle around a point."""
    half = f"a{radius:g} {radius:g} 0 1 0"
    return f"M{x - radius:g} {y:g}{half} {2 * radius:g} 0{half} {-2 * radius:g} 0z"


def _x_tick(x: float, text: str) -> Tick:
    return Tick(f"M{x:g} {BOTTOM}v5", x, BOTTOM + 19, text)


def _y_tick(y: float, text: str) -> Tick:
    return Tick(f"M{LEFT} {y:g}H{RIGHT}", LEFT - 6, y + 4.5, text)


def _x(share: float) -> float:
    return round(LEFT + (RIGHT - LEFT) * share, 1)


def _y(share: float) -> float:
    return round(BOTTOM + (TOP - BOTTOM) * share, 1)


def _draw_line(line: Line, chart: Chart, across: Span, up: Span, moved: Sequence[float]) -> DrawnLine:
    look = line.look or 0
    points = tuple(
        _draw_point(point, _x(across.share(point.x) + shift), up, look % SHAPES)
        for point, shift in zip(line.points, moved, strict=True)
    )
    classes = ["line", "front" if line.look is None else f"look-{look % COLOURS}"]
    classes += ["dashed"] * (look // COLOURS % 2 == 1) + ["published"] * line.published
    classes += ["chosen"] * chart.is_thick(line) + ["fine"] * (len(chart.lines) > _MANY and not chart.is_thick(line))
    return DrawnLine(
        path=_path(points, line.join),
        classes=" ".join(classes),
        colour=None if line.look is None else look % COLOURS,
        points=points if line.marked else (),
        steps=_steps(points) if line.join == "stairs" else (),
    )


def _draw_point(point: Point, x: float, up: Span, shape: int) -> DrawnPoint:
    y, low, high = (None if value is None else _y(up.share(value)) for value in (point.y, point.low, point.high))
    assert y is not None
    return DrawnPoint(point, x, y, low, high, shape)


def _draw_rule(rule: Rule, place: int, chart: Chart, up: Span) -> DrawnLine:
    x, colour = _x(chart.rule_share(place)), rule.look % COLOURS
    return DrawnLine(
        path=f"M{LEFT} {_y(up.share(rule.y)):g}H{RIGHT}",
        classes=f"rule look-{colour} dash-{place % DASHES}",
        colour=colour,
        points=tuple(_draw_point(point, x, up, rule.look % SHAPES) for point in rule.points),
        title=rule.points[0].label if rule.points else rule.label,
    )


def _path(points: Sequence[DrawnPoint], join: str) -> str:
    if join == "none" or len(points) < 2:
        return ""
    parts = [f"M{points[0].x:g} {points[0].y:g}"]
    for point in points[1:]:
        parts.append(f"H{point.x:g}V{point.y:g}" if join == "stairs" else f"L{point.x:g} {point.y:g}")
    return "".join(parts)


def _steps(points: Sequence[DrawnPoint]) -> tuple[_Box, ...]:
    boxes = []
    for one, other in itertools.pairwise(points):
        boxes.append((one.x, one.y - _HALF_LINE, other.x, one.y + _HALF_LINE))
        boxes.append((other.x - _HALF_LINE, other.y, other.x + _HALF_LINE, one.y))
    return tuple(boxes)


def _legend(
    chart: Chart, lines: Sequence[DrawnLine], rules: Sequence[DrawnLine], *, recommended: str
) -> tuple[Entry, ...]:
    """One entry a label, then one for the ring."""
    entries: dict[str, Entry] = {}
    for mark, drawn in zip(chart.marks, [*lines, *rules], strict=True):
        if mark.label and mark.label not in entries:
            entries[mark.label] = Entry(
                mark.label,
                drawn.colour,
                path=_SAMPLE_PATH if drawn.path else "",
                classes=drawn.classes,
                mark=mark_path(drawn.points[0].shape, _SAMPLE_X, _SAMPLE_Y) if drawn.points else "",
                hollow=all(point.of.hollow for point in drawn.points),
                badge=mark.recommended and not chart.has_ring,
            )
    if chart.has_ring:
        entries[recommended] = Entry(recommended, None, ring=circle_path(_SAMPLE_X, _SAMPLE_Y, _SAMPLE_RING))
    return tuple(entries.values())


def _names(lines: Sequence[DrawnLine]) -> tuple[Name, ...]:
    """Next to each point with a name, on the first side where it meets no other name, no point and no stairs; the
    recommended arm's first."""
    points = sorted((point for line in lines for point in line.points), key=lambda point: not point.of.recommended)
    taken: list[_Box] = [box for line in lines for box in line.steps]
    names: list[Name] = []
    for point in points:
        others = [_around(other) for other in points if other is not point]
        for name, box in _sides(point) if point.of.name else ():
            inside = box[0] >= LEFT and box[2] <= WIDTH and box[1] >= TOP - 12 and box[3] <= BOTTOM
            if inside and not any(_meet(box, other) for other in (*taken, *others)):
                names.append(name)
                taken.append(box)
                break
    return tuple(names)


def _around(point: DrawnPoint) -> _Box:
    """So much around a point that a name outside does not seem to be this point's."""
    reach = 12 if point.of.recommended else 10
    return point.x - reach, point.y - reach, point.x + reach, point.y + reach


def _sides(point: DrawnPoint) -> Iterator[tuple[Name, _Box]]:
    """Where a point's name may be, the best side first, and what it covers there."""
    text = point.of.name
    width = sum(_WIDE if ord(character) > 0x2E80 else _NARROW for character in text)
    away = _FROM_RING if point.of.recommended else _FROM_POINT
    right, left, below, above = point.x + away, point.x - away, point.y + away + 8, point.y - away
    middle = point.y + 4
    for x, y in ((right, below), (left, above), (right, above), (left, below), (right, middle), (left, middle)):
        start = x if x == right else x - width
        anchor: Literal["start", "end"] = "start" if x == right else "end"
        yield Name(round(x, 1), round(y, 1), text, anchor), (start, y - 13, start + width, y + 3)


def _meet(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
