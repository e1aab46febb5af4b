"""Bundles over one tiny encoder, and a server that has them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tanzaku.serving.service import Service
from tanzaku.serving.tasks import Tasks
from tests.bundles import make_bundle
from tests.serving.running import Running, running
from tests.tiny import make_encoder

BUNDLES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "mean": ("lora", {"rank": 2}, {"pooling": "mean"}),
    "cls": ("lora", {"rank": 4, "pooler": True}, {}),
    "windows": ("lora", {"rank": 3}, {"pooling": "mean+max", "long_text": "windows", "max_tokens": 8}),
    "terms": ("lora+tfidf", {"rank": 2, "max_terms": 40}, {"pooling": "mean"}),
    "nested": ("lora-nested", {"ranks": [1, 2]}, {}),
    "head": ("head", {}, {}),
    "dora": ("lora", {"rank": 2, "dora": True}, {"pooling": "mean"}),
    "bitfit": ("bitfit", {}, {}),
    "svm": ("tfidf-svm", {}, {}),
}
MIXED = ("mean", "cls", "windows", "terms", "nested", "head")


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("served")
    encoder = make_encoder(folder / "encoder")
    return {
        name: make_bundle(folder / "bundles" / name, encoder, method, options, **reading)
        for name, (method, options, reading) in BUNDLES.items()
    }


@pytest.fixture(scope="session")
def tasks(bundles: dict[str, Path]) -> Tasks:
    tasks = Tasks(precision="float32", device="cpu")
    for name, folder in bundles.items():
        tasks.load(name, folder)
    return tasks


@pytest.fixture(scope="module")
def server(tasks: Tasks) -> Iterator[Running]:
    with running(Service(tasks)) as server:
        yield server
