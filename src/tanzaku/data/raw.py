"""Documents as they stand in a source, before anything is checked, and the rows of it that can't be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tanzaku.errors import DataError


class RowError(DataError):
    """A row that can't be read: what is wrong with it where, and what to do about rows of this kind."""

    def __init__(self, fault: str, remedy: str) -> None:
        super().__init__(f"{fault}. {remedy}")
        self.fault, self.remedy = fault, remedy


@dataclass(frozen=True)
class RawDocuments:
    """Documents as read, row by row; `places[i]` says where row i stands."""

    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """Files of a folder per class that were not read as documents."""
    faults: dict[str, list[str]] = field(default_factory=dict)
    """Rows that can't be read, by what to do about them."""

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, text: str, label: str, place: str) -> None:
        """Append one row."""
        self.texts.append(text)
        self.labels.append(label)
        self.places.append(place)

    def refuse(self, error: RowError) -> None:
        """Note that a row can't be read, and go on: all that is wrong with a file is said at once."""
        self.faults.setdefault(error.remedy, []).append(error.fault)


_SHOWN = 5


def listed(items: Sequence[str]) -> str:
    """The first five of `items`, and how many more there are."""
    rest = len(items) - _SHOWN
    return "; ".join(items[:_SHOWN]) + (f"; and {rest:,} more" if rest > 0 else "")


def fault_messages(documents: RawDocuments) -> list[str]:
    """What can't be read, a line a kind, with the remedy."""
    return [f"{listed(faults)}. {remedy}" for remedy, faults in documents.faults.items()]
