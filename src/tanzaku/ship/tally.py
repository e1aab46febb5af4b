"""What is counted while texts are classified, for the messages at the end."""

import warnings
from dataclasses import asdict, dataclass, field
from typing import Any

from tanzaku.errors import TanzakuWarning

_FIRST = 5


@dataclass
class Numbers:
    """The numbers of some texts: how many, and the first five."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.first)) + (", …" if self.count > len(self.first) else "")
        return f"(number {shown})"

    def __bool__(self) -> bool:
        return self.count > 0

    def add(self, number: int) -> None:
        """Count one."""
        self.count += 1
        if len(self.first) < _FIRST:
            self.first.append(number)

    def include(self, other: "Numbers") -> None:
        """Count those of another one, too."""
        self.count += other.count
        self.first = sorted([*self.first, *other.first])[:_FIRST]


@dataclass
class Tally:
    """Of the texts that were classified: how many there are, which are empty, and whose characters were changed."""

    texts: int = 0
    answered: int = 0
    empty: Numbers = field(default_factory=Numbers)
    changed: Numbers = field(default_factory=Numbers)

    def add(self, number: int, text: str, *, answered: bool) -> None:
        """Count one text."""
        from tanzaku.data.characters import clean_text

        self.texts += 1
        self.answered += answered
        readable = clean_text(text)
        if not readable.strip():
            self.empty.add(number)
        elif readable != text:
            self.changed.add(number)

    def include(self, other: "Tally") -> None:
        """Count the texts of another one, too."""
        self.texts += other.texts
        self.answered += other.answered
        self.empty.include(other.empty)
        self.changed.include(other.changed)

    def warn(self) -> None:
        """Warn of texts whose labels mean little, and of those that were not read as they are written."""
        if self.empty:
            texts_are = "1 text is empty" if self.empty.count == 1 else f"{self.empty.count:,} texts are empty"
            _warn(f"{texts_are} {self.empty}: the label of an empty text is meaningless")
        if self.changed:
            count = self.changed.count
            texts_contain = "1 text contains" if count == 1 else f"{count:,} texts contain"
            _warn(f"{texts_contain} control or invisible characters {self.changed}: they are read as spaces or ignored")

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Tally":
        """As it was stored."""
        parts = {name: Numbers(**content[name]) for name in ("empty", "changed")}
        return cls(texts=content["texts"], answered=content["answered"], **parts)


def _warn(message: str) -> None:
    warnings.warn(message, TanzakuWarning, stacklevel=3)
