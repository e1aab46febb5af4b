"""Ranks that differ from layer to layer: a table from layers' numbers, or modules' names, to ranks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tanzaku.errors import MethodError
from tanzaku.methods.targets import is_called, place_of

_NUMBERS = re.compile(r"(\d+)(?:-(\d+))?")


def ranks_of(names: Iterable[str], *, pattern: Mapping[str, int], rank: int) -> dict[str, int]:
    """The rank of each module by its full name: that of the pattern's key that says most, or `rank`.

    A key is a layer's number from 0 ("11"), a span of them ("0-5"), or the end of a name ("value", or
    "layer.3.attention.self.value"). A name counts before a number, a longer name before a shorter one, a shorter span
    before a longer one, and of two as long the one that begins later.

    Raises:
        MethodError: A key means no targeted layer.
    """
    ranks = dict.fromkeys(names, rank)
    for key in sorted(pattern, key=_weight):  # what is written last stays
        matches = [name for name in ranks if _means(key, name)]
        if not matches:
            raise MethodError(
                f"rank_pattern: {key!r} means none of the targeted layers; give a layer's number from 0, a "
                f"span such as 0-5, or the end of one of their names, such as {next(iter(ranks))!r}"
            )
        ranks |= dict.fromkeys(matches, pattern[key])
    return ranks


def _weight(key: str) -> tuple[int, int, int]:
    span = _span(key)
    return (1, len(key), 0) if span is None else (0, -len(span), span.start)


def _means(key: str, name: str) -> bool:
    span = _span(key)
    if span is None:
        return is_called(name, key)
    place = place_of(name)
    return place is not None and place.number in span


def _span(key: str) -> range | None:
    """The numbers that a key means; None where it is a name."""
    numbers = _NUMBERS.fullmatch(key)
    return range(int(numbers[1]), int(numbers[2] or numbers[1]) + 1) if numbers else None
