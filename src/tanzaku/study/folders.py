"""Where the runs of a study are: the folder of each, and the folders below another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tanzaku.study.record import CHECKPOINT_FOLDER, LOG_FILE, MODEL_FOLDER, RECORD_FILE
from tanzaku.study.spec import IDENTITY_DIGITS, RunSpec


class RunFolders:
    """The runs' folders in a folder, as they are when this is made.

    Args:
        parent: The folder of a study or of a search's trials, which need not exist.
    """

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        names = sorted(path.name for path in parent.iterdir()) if parent.is_dir() else []
        self._by_identity = {name.rpartition("-")[2]: name for name in reversed(names)}  # the first of several

    def of(self, run: RunSpec, *, name: str, identity: str) -> Path:
        """The folder of a run: the one that has its identity, whatever it is called, or else a new one.

        Args:
            run: Of which the seed is in a new one's name, unless its method is deterministic.
            name: As `Namer.folder` gives it.
            identity: The run's.
        """
        seed = "" if run.method.deterministic else f"-s{run.seed}"
        return self.existing(identity) or self._parent / f"{name}{seed}-{identity[:IDENTITY_DIGITS]}"

    def existing(self, identity: str) -> Path | None:
        """The folder that has this identity, whatever it is called; None where there is none."""
        name = self._by_identity.get(identity[:IDENTITY_DIGITS])
        return None if name is None else self._parent / name


def folders_below(top: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder from `top` down, with the names of its files.

    Checkpoints, models and hidden folders of runs are left out, and so is what vanishes meanwhile: runs may be written
    at the same time. A link to a folder counts as a folder, but folders below it are not looked for.
    """
    for path, folders, files in os.walk(top):
        folder = Path(path)
        if RECORD_FILE in files or LOG_FILE in files:
            folders[:] = [name for name in folders if name not in (CHECKPOINT_FOLDER, MODEL_FOLDER) and name[0] != "."]
        yield folder, files
        for name in folders:
            if (folder / name).is_symlink():
                with suppress(OSError):
                    yield folder / name, [path.name for path in (folder / name).iterdir()]
