"""A tiny teacher of four layers, and text in its vocabulary."""

from pathlib import Path

import pytest

from tests.tiny import VOCABULARY, make_encoder


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("teacher"), layers=4, pooler=False)


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = VOCABULARY[5:]
    lines = [
        "".join(words[(place * step + step // 7) % len(words)] for place in range(1, 25)) for step in range(1, 300)
    ]
    path = tmp_path_factory.mktemp("text") / "tiny.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
