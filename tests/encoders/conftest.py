from collections.abc import Callable
from pathlib import Path

import pytest

from tests.checkpoints import KINDS


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a checkpoint of a kind in `KINDS`, made once; not to be written to."""
    root = tmp_path_factory.mktemp("checkpoints")

    def make(kind: str) -> Path:
        folder = root / kind
        return folder if folder.exists() else KINDS[kind][0](folder)

    return make
