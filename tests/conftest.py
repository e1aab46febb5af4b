"""Fixtures that several rooms' tests share."""

from pathlib import Path

import pytest

from tests.tiny import make_encoder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT whose checkpoint has a pooler: only the classifier is made anew."""
    return make_encoder(tmp_path_factory.mktemp("tiny-encoder"))


@pytest.fixture(scope="session")
def tiny_masked_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with dropout, from masked-language-model pretraining: pooler and classifier are made anew."""
    return make_encoder(tmp_path_factory.mktemp("tiny-masked-encoder"), dropout=0.1, pooler=False)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the user's cache."""
    import os

    os.environ["TANZAKU_CACHE"] = str(tmp_path_factory.mktemp("cache"))
