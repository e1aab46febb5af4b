"""From values to positions along an axis, and the ticks that fit on it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tanzaku.drawing.charts import Axis, Chart, Scale

_MOST_TICKS = 8
_ROOM = 0.06  # of the span, at either end
# Shares of the axes: points closer than this would cover each other, and then they are drawn so far apart.
_CLOSE_ACROSS, _CLOSE_UP, _APART = 0.02, 0.03, 0.04
_WIDEST = 0.12  # however many there are, so that none is far from its value
_LEAST_RATIO = 1.02  # of a logarithmic axis's ends; closer, ticks would differ beyond the digits that are written


@dataclass(frozen=True)
class Span:
    """What an axis covers; `low` and `high` are logarithms on a logarithmic scale."""

    low: float
    high: float
    scale: Scale

    @classmethod
    def over(cls, values: Iterable[float], axis: Axis, *, reserved: float = 0.0) -> Span:
        """Of an axis that covers these values and its ticks, with a share `reserved` at the end for something else."""
        if axis.limits:
            return cls(*axis.limits, axis.scale)
        known = [*values, *axis.ticks]
        measured = [math.log(value) for value in known] if axis.scale == "log" else known
        low, high = min(measured), max(measured)
        if axis.scale == "log" and low < high:
            missing = max(0.0, math.log(_LEAST_RATIO) - (high - low))
            low, high = low - missing / 2, high + missing / 2
        room = _ROOM * (high - low) or 0.5
        start, end = 0.0 if axis.from_zero else low - room, high + room
        return cls(start, start + (end - start) / (1 - reserved), axis.scale)

    def share(self, value: float) -> float:
        """How far along the axis a value lies: 0 at its start, 1 at its end."""
        measured = math.log(value) if self.scale == "log" else value
        return (measured - self.low) / (self.high - self.low)

    def value(self, share: float) -> float:
        """The value so far along the axis."""
        measured = self.low + share * (self.high - self.low)
        return math.exp(measured) if self.scale == "log" else measured

    @property
    def ends(self) -> tuple[float, float]:
        """The values at the start and at the end."""
        return self.value(0), self.value(1)

    def ticks(
        self, axis: Axis, *, length: float, least: float, character: float = 0.0, end: float = 1.0
    ) -> list[tuple[float, str]]:
        """The axis's ticks, or round values, as many as have room, with their texts.

        Args:
            axis: The axis.
            length: Of the axis, in the renderer's unit.
            least: The least distance of two ticks.
            character: The width of a character where the texts share a line.
            end: The share of the axis up to which there may be ticks.
        """
        chosen: list[tuple[float, str]] = []
        values = axis.ticks or self._round_values(end)
        for value, text in zip(values, tick_texts(values, axis.scale), strict=True):
            if chosen:
                distance = length * (self.share(value) - self.share(chosen[-1][0]))
                if distance < max(least, character * ((len(text) + len(chosen[-1][1])) / 2 + 0.4)):
                    continue
            chosen.append((value, text))
        return chosen

    def _round_values(self, end: float) -> list[float]:
        """On a logarithmic axis whose values lie close together there is hardly a round power: round numbers then."""
        low, high = self.value(0), self.value(end)
        powers = round_powers(low, high) if self.scale == "log" else []
        return powers if len(powers) > 1 else round_numbers(low, high)


def shifts(chart: Chart, across: Span, up: Span) -> list[list[float]]:
    """How far to the right of its value each point of each line is drawn, as a share of the horizontal axis.

    Lines with intervals are shifted as a whole (`Chart.shift`). Points that no line joins stand side by side where they
    would cover each other.
    """
    moved = [[chart.shift(line)] * len(line.points) for line in chart.lines]
    groups: list[list[tuple[int, int]]] = []
    places = {
        (number, index): (across.share(point.x), up.share(point.y))
        for number, line in enumerate(chart.lines)
        for index, point in enumerate(line.points)
        if line.join == "none"
    }
    for key, (right, height) in places.items():
        for group in groups:
            first = places[group[0]]
            if abs(first[0] - right) < _CLOSE_ACROSS and abs(first[1] - height) < _CLOSE_UP:
                group.append(key)
                break
        else:
            groups.append([key])
    for group in groups:
        if len(group) > 1:
            apart = min(_APART, _WIDEST / (len(group) - 1))
            width = apart * (len(group) - 1)
            middle = sum(places[key][0] for key in group) / len(group)
            start = max(0.0, min(middle - width / 2, 1 - width))
            for place, (number, index) in enumerate(group):
                moved[number][index] = start + apart * place - places[number, index][0]
    return moved


def has_overlaps(chart: Chart) -> bool:
    """Whether points that no line joins would cover each other."""
    across = Span.over([point.x for line in chart.lines for point in line.points], chart.x, reserved=chart.reserved)
    moved = shifts(chart, across, Span.over(chart.heights, chart.y))
    return any(any(row) for line, row in zip(chart.lines, moved, strict=True) if line.join == "none")


def tick_texts(values: Sequence[float], scale: Scale) -> list[str]:
    """Ticks as they are written: with separators for thousands, and on a linear axis with equally many decimals."""
    short = [f"{value:,g}" for value in values]
    if scale == "log" or any("e" in text for text in short):
        return short
    decimals = max((len(text.partition(".")[2]) for text in short), default=0)
    return [f"{value:,.{decimals}f}" for value in values]


def round_numbers(low: float, high: float) -> list[float]:
    """At most nine multiples of 1, 2 or 5 times a power of ten, from low to high."""
    step = 10 ** math.floor(math.log10((high - low) / _MOST_TICKS))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= _MOST_TICKS)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(number * step, 10) for number in range(first, last + 1)]


def round_powers(low: float, high: float) -> list[float]:
    """Of 1, 2 and 5 times powers of ten from low to high, as many kinds as leave at most eight."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        values = [round(factor * 10.0**power, 10) for power in decades for factor in factors]
        values = [value for value in values if low <= value <= high]
        if len(values) <= _MOST_TICKS:
            return values
    return values[:: math.ceil(len(values) / _MOST_TICKS)]
