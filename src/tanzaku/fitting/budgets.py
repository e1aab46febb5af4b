"""What a classifier may cost where it is used, and what bundles do cost: weighed and timed once, and remembered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from tanzaku.errors import SpecError
from tanzaku.files import write_json_atomically
from tanzaku.fitting.measuring import Measured, measure_bundle, measure_encoder
from tanzaku.study.encoder_spec import ENCODER_NAMES, EncoderSpec


@dataclass(frozen=True)
class Costs(Measured):
    """What a bundle costs where it is used."""

    total_bytes: int
    """All files that the classifier needs, with the dictionary; what is there anyway is not among them."""
    dictionary_bytes: int = 0
    """Of these, those of the package with MeCab's dictionary."""


@dataclass(frozen=True)
class Budgets:
    """Upper limits; None for no limit.

    Raises:
        SpecError: A limit is not above 0.
    """

    megabytes: float | None = None
    """Millions of bytes of all files that the classifier needs, and of MeCab's dictionary."""
    milliseconds: float | None = None
    """The median of one document at a time, on this machine with one thread."""
    memory_megabytes: float | None = None
    """Millions of bytes of resident memory of a process that classifies."""

    def __post_init__(self) -> None:
        for option, limit in (
            ("max_mb", self.megabytes),
            ("max_ms", self.milliseconds),
            ("max_memory_mb", self.memory_megabytes),
        ):
            if limit is not None and not limit > 0:
                raise SpecError(f"{option} = {limit:g}; give a number above 0, or leave it out for no limit")

    def exceeded(self, costs: Costs) -> Literal["megabytes", "milliseconds", "memory"] | None:
        """The first limit that a bundle does not meet."""
        if self.too_large(costs.total_bytes):
            return "megabytes"
        if self.milliseconds is not None and costs.milliseconds > self.milliseconds:
            return "milliseconds"
        if self.memory_megabytes is not None and costs.memory_bytes > 1e6 * self.memory_megabytes:
            return "memory"
        return None

    def too_large(self, size: int) -> bool:
        """Whether so many bytes are too many."""
        return self.megabytes is not None and size > 1e6 * self.megabytes


class CostsFile:
    """What was measured, by name, in a file: a fit that resumes measures nothing twice.

    Args:
        path: The file.
        shared_dictionary: Leave dictionaries out of what is given, since they are there anyway; the file has them.
    """

    def __init__(self, path: Path, *, shared_dictionary: bool = False) -> None:
        self._path = path
        self._shared_dictionary = shared_dictionary
        try:
            self._known: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not there, or cut off: it is measured again
            self._known = {}

    def get(self, key: str) -> Costs | None:
        """What was measured under a name before."""
        found = self._known.get(key)
        if found is None:
            return None
        costs = Costs(**found)  # type: ignore[arg-type]
        if not self._shared_dictionary:
            return costs
        return replace(costs, total_bytes=costs.total_bytes - costs.dictionary_bytes, dictionary_bytes=0)

    def measure(
        self, key: str, bundle: Path, texts: Sequence[str], *, own_bytes: int, dictionary_bytes: int = 0
    ) -> Costs:
        """Note what a bundle weighs, and time it unless that was done before under this name.

        Args:
            key: The name.
            bundle: Its folder.
            texts: Documents.
            own_bytes: What it weighs, without what is there anyway.
            dictionary_bytes: What it needs in addition.
        """
        known = self._known.get(key)
        measured = asdict(measure_bundle(bundle, texts)) if known is None else known
        weighs = {"total_bytes": own_bytes + dictionary_bytes, "dictionary_bytes": dictionary_bytes}
        return self._keep(key, Costs(**{**measured, **weighs}))

    def encoder(self, encoder: EncoderSpec, texts: Sequence[str], *, labels: int, fingerprint: str) -> Costs:
        """Time an encoder that is not trained yet, with a head for so many labels, unless that was done before."""
        key = f"encoder {fingerprint} {encoder.model_dump_json(exclude=set(ENCODER_NAMES))}"
        if (known := self.get(key)) is not None:
            return known
        measured = measure_encoder(encoder.model_dump(mode="json"), texts, labels=labels)
        return self._keep(key, Costs(**asdict(measured), total_bytes=0))

    def _keep(self, key: str, costs: Costs) -> Costs:
        self._known[key] = asdict(costs)
        write_json_atomically(self._path, self._known)
        known = self.get(key)
        assert known is not None
        return known
