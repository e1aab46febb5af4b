"""Results of the parts of a long benchmark, kept as soon as each is there, so that the same command resumes it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.record import origin
from tanzaku.files import write_json_atomically
from tanzaku.machine import describe_machine
from tanzaku.provenance import GIT_STATE, now

BUILD = Path(__file__).parents[1] / "build" / "benchmarks"


class Parts:
    """The parts by their names.

    Args:
        file: Where they are kept until the record is written.
        key: What must be the same for them to belong together; others in the file are forgotten.
    """

    def __init__(self, file: Path, *, key: dict[str, Any]) -> None:
        self._file = file
        self._key = json.loads(json.dumps({**key, "machine": asdict(describe_machine())}))
        content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        same = content.get("key") == self._key
        self.started: str = content["started"] if same else now()
        self.found: dict[str, Any] = content["parts"] if same else {}
        self._starts: dict[str, int] = content["starts"] if same else {}

    @property
    def fresh(self) -> bool:
        """Whether no part was begun: what lies in the folder of the work is of another time."""
        return not self._starts

    def begin(self, name: str) -> None:
        """Count that a part was begun: more than once where it was interrupted."""
        self._starts[name] = self._starts.get(name, 0) + 1
        self._keep()

    def add(self, name: str, part: dict[str, Any]) -> None:
        """Keep a part, with the code that measured it and how often it was begun."""
        commit, dirty = GIT_STATE
        made = {"commit": commit, "dirty": dirty, "ended": now(), "starts": self._starts.get(name, 1)}
        self.found[name] = {**part, "made": made}
        self._keep()

    def write(self, record: Path, *, command: str) -> None:
        """Write the record of all parts, after which the next call begins from nothing."""
        content = {**self._key, **origin(command, started=self.started), "parts": self.found}
        write_json_atomically(record, content)
        self._file.unlink(missing_ok=True)

    def _keep(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        kept = {"key": self._key, "started": self.started, "starts": self._starts, "parts": self.found}
        write_json_atomically(self._file, kept)
