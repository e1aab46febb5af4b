"""Rows that a split must not separate: those with the same text, and those of the same group."""

import random
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

from tanzaku.data.characters import without_invisible


def same_text(text: str) -> str:
    """What texts that read alike have in common: width (NFKC), case, white space and invisible characters aside."""
    return "".join(unicodedata.normalize("NFKC", without_invisible(text)).casefold().split())


def together(*columns: Sequence[Hashable | None]) -> list[int]:
    """Number the rows so that rows that agree in one of the columns, also indirectly, have the same number.

    Args:
        columns: Row i's value in each column; None agrees with nothing.

    Returns:
        Row i's number, which is that of the first row that belongs to it.
    """
    parents = list(range(len(columns[0])))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    for column in columns:
        first: dict[Hashable, int] = {}
        for row, value in enumerate(column):
            if value is not None:
                one, other = sorted((root(row), root(first.setdefault(value, row))))
                parents[other] = one
    return [root(row) for row in range(len(parents))]


def group_numbers(groups: Sequence[str | None]) -> list[int] | None:
    """A number for each row, the same for rows of a group; a row without a group has one of its own.

    None where no row has a group.
    """
    return together(groups) if any(group is not None for group in groups) else None


def linked_groups(groups: Sequence[str | None], numbers: Sequence[int]) -> int:
    """How many groups have their number in common with another, such as by a text that both have.

    Args:
        groups: Row i's group, None if it has none.
        numbers: Row i's number, as `together` gives it.
    """
    groups_of: defaultdict[int, set[str]] = defaultdict(set)
    for group, number in zip(groups, numbers, strict=True):
        if group is not None:
            groups_of[number].add(group)
    return sum(len(found) for found in groups_of.values() if len(found) > 1)


def assign_groups(
    labels: Sequence[str], groups: Sequence[Hashable], *, shares: Sequence[float], seed: int
) -> list[list[int]]:
    """Distribute whole groups so that each part has about its share of every class.

    The groups are taken in an order that the seed shuffles: those with a rare class first, and of these the largest
    first. Each goes to the part that is then the least full, as in scikit-learn's `StratifiedGroupKFold`, but with
    parts of different sizes. Where as few groups of a class are left as there are parts without it, these parts take
    precedence, since a class can't be measured where it is missing.

    Args:
        labels: Row i's class.
        groups: Row i's group.
        shares: Of the parts; together 1.
        seed: Of the order.

    Returns:
        The rows of each part, in row order.
    """
    rows_of: defaultdict[Hashable, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        rows_of[group].append(row)
    classes = {group: Counter(labels[row] for row in rows) for group, rows in rows_of.items()}
    totals = Counter(labels)
    order = list(rows_of)
    random.Random(seed).shuffle(order)
    rarest = {group: min(totals[label] for label in counts) for group, counts in classes.items()}
    order.sort(key=lambda group: (rarest[group], -max(classes[group].values())))
    left = Counter(label for counts in classes.values() for label in counts)
    parts: list[list[int]] = [[] for _ in shares]
    there: list[Counter[str]] = [Counter() for _ in shares]
    for group in order:
        scarce = [label for label in classes[group] if left[label] <= sum(not counts[label] for counts in there)]
        costs = [
            (-sum(not counts[label] for label in scarce), _fill(classes[group], counts, share, totals))
            for counts, share in zip(there, shares, strict=True)
        ]
        best = min(range(len(parts)), key=costs.__getitem__)
        parts[best] += rows_of[group]
        there[best] += classes[group]
        left -= Counter(dict.fromkeys(classes[group], 1))
    return [sorted(part) for part in parts]


def _fill(group: Counter[str], there: Counter[str], share: float, totals: Counter[str]) -> float:
    """How full a part is with a group: its rows of the group's classes, as a fraction of its share of them."""
    return sum((there[label] + count) / (share * totals[label]) * count for label, count in group.items())
