"""The numbers of a benchmark that is not done yet, so that one that was interrupted goes on."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tanzaku.files import write_json_atomically


@dataclass
class Progress:
    """What was measured so far, and in which parts.

    Args:
        file: Where it is kept.
        key: What must be the same for numbers to belong together: the machine, the scale, the texts, the groups.
        parts: Of each process that measured: commit and start.
    """

    file: Path
    key: dict[str, Any]
    numbers: dict[str, list[float]] = field(default_factory=dict)
    parts: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def begin(cls, file: Path, *, key: dict[str, Any], part: dict[str, Any], resume: bool) -> "Progress":
        """From nothing, or, to `resume`, from what the file holds, if that is of the same key."""
        progress = cls(file, key)
        if resume and file.is_file():
            found = json.loads(file.read_text(encoding="utf-8"))
            if found["key"] == json.loads(json.dumps(key)):
                progress.numbers, progress.parts = found["numbers"], found["parts"]
        progress.parts.append(part)
        return progress

    def add(self, name: str, value: float) -> None:
        """One more number of a measurement, kept at once."""
        self.numbers.setdefault(name, []).append(value)
        content = {"key": self.key, "parts": self.parts, "numbers": self.numbers}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomically(self.file, content)

    def done(self) -> None:
        """The record is written: nothing is left to go on with."""
        self.file.unlink(missing_ok=True)
