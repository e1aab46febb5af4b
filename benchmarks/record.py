"""The record of one benchmark: the rows, and on what they were measured."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.rows import Row
from benchmarks.scale import Scale
from tanzaku.machine import describe_machine
from tanzaku.provenance import GIT_STATE, now, versions

RECORDS = Path(__file__).parents[1] / "records" / "benchmarks"
_PACKAGES = (
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


def make_record(
    rows: Sequence[Row],
    *,
    profiles: Sequence[dict[str, Any]],
    skipped: Sequence[dict[str, str]],
    scale: Scale,
    rounds: int,
    texts: str,
    command: str,
    started: str,
) -> dict[str, Any]:
    """The record's content, JSON-able."""
    commit, dirty = GIT_STATE
    return {
        "machine": asdict(describe_machine()),
        "git": {"commit": commit, "dirty": dirty},
        "versions": versions(_PACKAGES),
        "command": command,
        "started": started,
        "ended": now(),
        "scale": scale.model_dump(mode="json"),
        "rounds": rounds,
        "tokenized_texts": texts,
        "rows": [row.to_json() for row in rows],
        "profiles": list(profiles),
        "skipped": list(skipped),
    }


def read_records(folder: Path = RECORDS) -> list[dict[str, Any]]:
    """The committed records, in name order: cpu, then gpu."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
