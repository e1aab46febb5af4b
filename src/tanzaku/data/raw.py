"""Documents as they stand in a source, before anything is checked, and the rows of it that can't be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tanzaku.data.findings import Finding
from tanzaku.errors import DataError

HALF_CHARACTER = (
    "half-character",
    "half a surrogate pair, which is not a character",
    "Correct the escapes (\\ud800 to \\udfff).",
)
"""The kind of such a row, what it has, and the remedy."""


class RowError(DataError):
    """A row that can't be read: what is wrong with it where, and what to do about rows of this kind."""

    def __init__(self, fault: str, remedy: str, *, kind: str = "row") -> None:
        super().__init__(f"{fault}. {remedy}")
        self.fault, self.remedy, self.kind = fault, remedy, kind


@dataclass
class RawDocuments:
    """Documents as read, row by row; `places[i]` says where row i is."""

    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    """The groups of the rows if a column has them, otherwise empty."""
    places: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """Files of a folder per class that were not read as documents."""
    blank: int = 0
    """Rows whose fields are all empty, as Excel writes below a table."""
    faults: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """Rows that can't be read, by their kind and what to do about them."""
    problems: list[Finding] = field(default_factory=list)
    """What is wrong with the source as a whole, such as a missing column."""
    suggestion: str = ""
    """Options that name other columns, where others look like texts and labels; for errors."""

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, text: str, label: str, place: str, *, group: str | None = None) -> None:
        """Append one row; either every row has a group or none."""
        self.texts.append(text)
        self.labels.append(label)
        self.places.append(place)
        if group is not None:
            self.groups.append(group)

    def refuse(self, error: RowError) -> None:
        """Note that a row can't be read, and continue: all that is wrong with a file is reported at once."""
        self.faults.setdefault((error.kind, error.remedy), []).append(error.fault)

    def without(self, rows: Sequence[int]) -> RawDocuments:
        """The documents without these rows."""
        excluded = set(rows)
        kept = [row for row in range(len(self)) if row not in excluded]
        columns = (self.texts, self.labels, self.groups, self.places)
        texts, labels, groups, places = ([column[row] for row in kept] if column else [] for column in columns)
        return RawDocuments(
            texts, labels, groups, places, self.unread, self.blank, self.faults, self.problems, self.suggestion
        )


_SHOWN = 5


def listed(items: Sequence[str]) -> str:
    """The first five of `items`, and how many more there are."""
    rest = len(items) - _SHOWN
    return "; ".join(items[:_SHOWN]) + (f"; and {rest:,} more" if rest > 0 else "")


def reading_problems(documents: RawDocuments) -> list[Finding]:
    """What is wrong with the source as a whole, and the rows that can't be read: one finding per kind and remedy."""
    return documents.problems + [
        Finding(kind, f"{listed(faults)}. {remedy}") for (kind, remedy), faults in documents.faults.items()
    ]
