"""How a figure is written: rounded as the thesis's tables round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tanzaku.analysis.arms import Estimate
from tanzaku.analysis.statistics import SIGNIFICANCE, Interval
from tanzaku.display import number
from tanzaku.words import Words

NONE = "–"
_Value = TypeVar("_Value")


def percent(share: float) -> str:
    """A share (0 to 1) as a percentage with two decimals, such as `93.35`."""
    return f"{100 * share:.2f}"


def mean(value: Estimate | None, write: Callable[[float], str] = percent) -> str:
    """The mean over runs; a dash where no run has the figure."""
    return write(value.mean) if value else NONE


def known(value: _Value | None, write: Callable[[_Value], str]) -> str:
    """A value that may be missing; a dash where it is."""
    return NONE if value is None else write(value)


def size(content_bytes: float) -> str:
    """Bytes as MB; see `megabytes`."""
    return megabytes(content_bytes / 1e6)


def whole_megabytes(content_bytes: float) -> str:
    """Bytes as whole MB with separators for thousands."""
    return count(content_bytes / 1e6)


def gigabytes(content_bytes: float) -> str:
    """Bytes as GB with two decimals."""
    return f"{content_bytes / 1e9:.2f}"


def megabytes(size: float) -> str:
    """A size in MB as Table 3.2 prints it: `0.34`, `4.8`, `442.5`; below 0.1, two significant digits."""
    if size <= 0:
        return "0"
    if round(size, 2) >= 1:
        return f"{size:.1f}"
    return f"{size:.2f}" if round(size, 3) >= 0.1 else _two_digits(size)


def seconds(duration: float) -> str:
    """Whole seconds with separators for thousands; one decimal below ten, two significant digits below 0.1."""
    return _two_digits(duration) if 0 < duration < 0.095 else rate(duration)


def milliseconds(duration: float) -> str:
    """Three significant digits below 100, such as `0.412`, `3.26`, `12.4`; whole milliseconds above."""
    return f"{duration:.0f}" if duration >= 99.95 else f"{duration:#.3g}"


def rate(number: float) -> str:
    """So many a second: one decimal below ten, otherwise a whole number with separators for thousands."""
    return f"{number:.1f}" if number < 9.95 else count(number)


def count(number: float, decimals: int = 0) -> str:
    """A number with separators for thousands, whole unless `decimals` are asked for."""
    return f"{number:,.{decimals}f}"


def thousands(number: float) -> str:
    """In thousands, such as `6.9` or `110,617`."""
    return f"{number / 1000:,.1f}" if number < 99_950 else f"{number / 1000:,.0f}"


def factor(number: float) -> str:
    """Such as LoRA's α or scale: three significant digits, and no fewer than a whole number has."""
    return f"{number:.0f}" if abs(number) >= 999.5 else f"{number:.3g}"


def interval(value: Interval | None) -> str:
    """Such as `92.50–94.10`, in percent."""
    return f"{percent(value.low)}–{percent(value.high)}" if value else NONE


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign: `+0.42`, `−1.30`."""
    text = f"{100 * share:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", "−")


def points_interval(value: Interval, *, words: Words) -> str:
    """Such as `−1.30 to +0.12`, in percentage points."""
    return words.text("{low} to {high}", low=points(value.low), high=points(value.high))


def p_value(value: float) -> str:
    """Such as `0.0312`; below what is told, `<0.0001`, and `<0.05` where rounding would hide that it is below."""
    if _rounds_up_to_the_level(value):
        return f"<{SIGNIFICANCE:g}"
    return f"{value:.4f}" if value >= 0.0001 else "<0.0001"


def p_relation(value: float) -> str:
    """What follows a "p" in a sentence: `= 0.0312`, `< 0.0001` or `= 1`."""
    if _rounds_up_to_the_level(value):
        return f"< {SIGNIFICANCE:g}"
    if value < 0.0001:
        return "< 0.0001"
    return "= 1" if round(value, 4) == 1 else f"= {value:.4f}"


def _rounds_up_to_the_level(value: float) -> bool:
    return value < SIGNIFICANCE and f"{value:.4f}" == f"{SIGNIFICANCE:.4f}"


def setting(value: Any, *, words: Words) -> str:
    """A setting's value: numbers short, lists and tables with commas, and None (a patience without end) in a word."""
    if value is None:
        return words.text("none")
    if isinstance(value, bool):
        return words.text("yes") if value else words.text("no")
    if isinstance(value, list | tuple):
        return ", ".join(setting(item, words=words) for item in value) or NONE
    if isinstance(value, dict):
        return ", ".join(f"{key}: {setting(item, words=words)}" for key, item in value.items()) or NONE
    return number(value) if isinstance(value, int | float) else str(value)


def spread(value: Estimate | None) -> str:
    """Such as `93.10–93.60 (0.25)`, in percent; a dash for one run."""
    if value is None or value.standard_deviation is None:
        return NONE
    return f"{percent(value.lowest)}–{percent(value.highest)} ({percent(value.standard_deviation)})"


def deviation(value: Estimate | None) -> str:
    """The standard deviation in percentage points; a dash for one run."""
    return known(value.standard_deviation if value else None, percent)


def span(value: Estimate | None) -> str:
    """Whole numbers over the runs: `5`, or `4–5` where they differ."""
    if value is None:
        return NONE
    return whole_span(value.lowest, value.highest)


def whole_span(lowest: float, highest: float) -> str:
    """Likewise, of the lowest and the highest."""
    return f"{lowest:.0f}" if lowest == highest else f"{lowest:.0f}–{highest:.0f}"


def _two_digits(size: float) -> str:
    text = f"{size:.2g}"
    return number(size, digits=2) if "e" in text else text
