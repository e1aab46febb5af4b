"""The record of one benchmark: the rows, and on what they were measured."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.progress import Progress
from benchmarks.rows import Row
from benchmarks.scale import Scale
from tanzaku.machine import describe_machine
from tanzaku.provenance import GIT_STATE, now, versions

RECORDS = Path(__file__).parents[1] / "records" / "benchmarks"
NESTED = RECORDS / "nested.json"
SAME_IDS = RECORDS / "same_ids.json"
MACHINE = RECORDS / "machine.json"
VECTORS = RECORDS / "vectors.json"
ENGINES = RECORDS / "engines.json"
INT8 = RECORDS / "int8.json"
RUNTIME = RECORDS / "runtime.json"
CERTIFICATES = RECORDS / "certificates.json"
SERVING = RECORDS / "serving.json"
COSTS = RECORDS / "costs.json"
_PROGRESS = Path(__file__).parents[1] / "build" / "benchmarks"
PACKAGES = (
    "tanzaku",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "tokenizers",
    "fugashi",
    "ipadic",
    "numpy",
)


def begin_progress(*, scale: Scale, texts: str, groups: Sequence[str], resume: bool) -> Progress:
    """Nothing yet, or what an interrupted benchmark of this kind on this machine has measured."""
    key = {"machine": asdict(describe_machine()), "scale": scale.model_dump(mode="json"), "texts": texts}
    key |= {"versions": versions(PACKAGES)}
    part = {"commit": GIT_STATE[0], "dirty": GIT_STATE[1], "started": now()}
    return Progress.begin(
        _PROGRESS / f"{scale.name}.json", key={**key, "groups": list(groups)}, part=part, resume=resume
    )


def make_record(
    rows: Sequence[Row],
    *,
    profiles: Sequence[dict[str, Any]],
    skipped: Sequence[dict[str, str]],
    scale: Scale,
    rounds: int,
    texts: str,
    command: str,
    parts: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """The record's content, JSON-able; `parts` are those of `Progress`."""
    return {
        "machine": asdict(describe_machine()),
        **origin(command, started=parts[0]["started"]),
        "scale": scale.model_dump(mode="json"),
        "parts": list(parts),
        "rounds": rounds,
        "tokenized_texts": texts,
        "rows": [row.to_json() for row in rows],
        "profiles": list(profiles),
        "skipped": list(skipped),
    }


def origin(command: str, *, started: str) -> dict[str, Any]:
    """By what code and command a record is made that ends now."""
    commit, dirty = GIT_STATE
    return {
        "git": {"commit": commit, "dirty": dirty},
        "versions": versions(PACKAGES),
        "command": command,
        "started": started,
        "ended": now(),
    }


def read_records(folder: Path = RECORDS) -> list[dict[str, Any]]:
    """The committed records of whole benchmarks, those that there are: cpu, then gpu."""
    return [_read(path) for name in ("cpu", "gpu") if (path := folder / f"{name}.json").is_file()]


def read_alone(path: Path) -> dict[str, Any] | None:
    """The committed record of another comparison: `NESTED`, `SAME_IDS` or `MACHINE`, if there is one."""
    return _read(path) if path.is_file() else None


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))
