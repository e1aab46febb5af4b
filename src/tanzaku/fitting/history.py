"""What earlier calls of a fit came to, in the study's folder: the same call shows its result again, and one with more
time continues without giving up what is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tanzaku.errors import DataError
from tanzaku.files import sha256_of_file, write_json_atomically
from tanzaku.fitting.race import Behind, Entry
from tanzaku.fitting.rounds import Raced
from tanzaku.ship.building import check_out
from tanzaku.ship.manifest import MANIFEST_FILE

HISTORY_FILE = "fit.json"


@dataclass
class Outcome:
    """How a call ended."""

    minutes: float
    """Its time budget."""
    rounds: int
    """Whole rounds that decided."""
    dropped: Sequence[Mapping[str, Any] | None]
    """For each entry of the race, why and how it dropped out."""
    time_over: bool = False
    """Whether there would have been more rounds with more time."""
    epochs: int | None = None
    """Of the candidates that train the encoder; None where that was not decided."""
    bundle: Mapping[str, Any] | None = None
    """The run and the form of the bundle, its language, and the hash of its manifest."""

    @classmethod
    def of(cls, entries: Sequence[Entry], raced: Raced, *, minutes: float, epochs: int | None) -> Outcome:
        """Take down how entries came out of the race."""
        dropped = [None if entry.live else _facts(entry) for entry in entries]
        return cls(minutes, raced.rounds, dropped, raced.time_over, epochs)

    @property
    def failures(self) -> int:
        """How many entries dropped out because something failed."""
        return sum(dropped is not None and dropped["reason"] == "failed" for dropped in self.dropped)

    def restore(self, entries: Sequence[Entry]) -> None:
        """Let the entries drop out that did."""
        for entry, dropped in zip(entries, self.dropped, strict=True):
            if dropped is not None:
                entry.drop(dropped["reason"], dropped["detail"])
                entry.needed_seconds = dropped.get("needed_seconds")
                entry.behind = Behind(**dropped["behind"]) if dropped["behind"] else None


@dataclass
class Past:
    """A call, and others that asked the same with more or less time."""

    asked: Mapping[str, Any]
    """Everything that the result depends on but the time and the documents."""
    epochs: int | None = None
    """Of the candidates that train the encoder, the most of any call; None where that was not decided."""
    rounds: int = 0
    """Whole rounds that were made."""
    seconds: float = 0.0
    """Of the time budget that were used."""
    outcome: Outcome | None = None
    """Of the one with the most time that was finished."""
    bundles: list[str] = field(default_factory=list)
    """The hashes of the manifests of all bundles that they wrote."""


class History:
    """The file with the calls of a study's folder.

    Args:
        folder: The study's.

    Raises:
        DataError: The file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / HISTORY_FILE
        self._calls: list[Past] = []
        if not self._path.is_file():
            return
        try:
            for one in json.loads(self._path.read_text(encoding="utf-8"))["calls"]:
                outcome = one["outcome"] and Outcome(**one["outcome"])
                self._calls.append(Past(**{**one, "outcome": outcome}))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self._path} is damaged ({error}); remove it and give --force, which uses the finished runs again"
            ) from error

    def call(self, asked: Mapping[str, Any]) -> Past:
        """The calls that asked the same, or a new one."""
        asked = json.loads(json.dumps(asked))
        for one in self._calls:
            if one.asked == asked:
                return one
        self._calls.append(Past(asked))
        return self._calls[-1]

    @property
    def rounds(self) -> int:
        """The most whole rounds of any call."""
        return max((one.rounds for one in self._calls), default=0)

    def note_bundle(self, past: Past, bundle: Path) -> None:
        """Note a bundle before it is put into its folder, so that a call which is interrupted then may replace it."""
        manifest = sha256_of_file(bundle / MANIFEST_FILE)
        if manifest not in past.bundles:
            past.bundles.append(manifest)
        self.write()

    def write(self) -> None:
        """Write the file."""
        write_json_atomically(self._path, {"calls": [asdict(one) for one in self._calls]})


def check_bundle_folder(out: Path, past: Past, *, force: bool) -> None:
    """Make sure, before anything long, that the bundle can be written: the folder is empty, or has a bundle of a call
    that asked the same. That of a call which asked something else is only replaced with `force`.

    Raises:
        BundleError: Something else lies there.
    """
    manifest = out / MANIFEST_FILE
    own = bool(past.bundles) and manifest.is_file() and sha256_of_file(manifest) in past.bundles
    check_out(out, force=force or own)


def bundle_facts(out: Path, *, run: str, language: str) -> Mapping[str, Any] | None:
    """What an `Outcome` notes of a bundle; None where there is none."""
    manifest = out / MANIFEST_FILE
    return {"run": run, "language": language, "manifest": sha256_of_file(manifest)} if manifest.is_file() else None


def _facts(entry: Entry) -> dict[str, Any]:
    return {
        "reason": entry.reason,
        "detail": entry.detail,
        "needed_seconds": entry.needed_seconds,
        "behind": entry.behind and asdict(entry.behind),
    }
