"""The rows that `--on-error skip` leaves out."""

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tanzaku.errors import TanzakuWarning

if TYPE_CHECKING:
    from tanzaku.data.raw import RowError


@dataclass
class Skipped:
    """The rows that can't be read, each reported when its turn comes."""

    count: int = 0
    remedies: list[str] = field(default_factory=list)

    def add(self, error: "RowError") -> None:
        """Report and count one row."""
        self.count += 1
        _warn(f"skipped: {error.fault}")
        if error.remedy not in self.remedies:
            self.remedies.append(error.remedy)

    def warn(self) -> None:
        """Say how many there were, and what to do about them."""
        rows = "1 row was skipped, because it" if self.count == 1 else f"{self.count:,} rows were skipped, because they"
        _warn(f"{rows} can't be read. {' '.join(self.remedies)}")


def _warn(message: str) -> None:
    warnings.warn(message, TanzakuWarning, stacklevel=3)
