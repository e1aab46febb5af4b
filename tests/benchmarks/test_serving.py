"""The load that the server's benchmark makes, on a server with a small bundle."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.serving import Load, Phase
from tanzaku.serving.service import Service
from tanzaku.serving.tasks import Tasks
from tests.bundles import make_bundle
from tests.serving.running import running


def test_every_request_is_counted(tmp_path: Path) -> None:
    tasks = Tasks()
    for name in ("t0", "t1"):
        tasks.load(name, make_bundle(tmp_path / name, tmp_path, "tfidf-svm", {}))
    with running(Service(tasks)) as server:
        load = Load(server.url, tasks=2, texts=["海が見える。"])
        assert asyncio.run(load.capacity(0.3, workers=2)) > 0
        phase = asyncio.run(load.at_rate(40, 0.5))
        missing = asyncio.run(Load(server.url, tasks=9, texts=["海"]).at_rate(40, 0.5))
    assert phase.statuses["200"] == len(phase.seconds) == sum(phase.statuses.values()) > 5
    assert missing.statuses["404"] > 0


def test_failures_are_what_is_neither_answered_nor_refused() -> None:
    phase = Phase(10.0, Counter({"200": 3, "429": 2, "ReadTimeout": 1}), [0.1, 0.2, 0.3])
    facts = phase.facts()
    assert (facts["requests"], facts["failed"], facts["p50_ms"]) == (6, 1, pytest.approx(200))
