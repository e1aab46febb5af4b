"""The runs below a folder, with their records and predictions, whether each has a folder or an archive holds them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from tanzaku.display import counted
from tanzaku.errors import RecordError
from tanzaku.study.archive import (
    ARCHIVED_RUNS_FILE,
    Archive,
    Split,
    read_archive,
)
from tanzaku.study.folders import folders_below
from tanzaku.study.listing import read_list
from tanzaku.study.predictions import PREDICTIONS_FILE, VALIDATION_PREDICTIONS_FILE, StoredPredictions, read_predictions
from tanzaku.study.record import RANKS_FOLDER, RECORD_FILE, RunRecord, read_record


@dataclass(frozen=True)
class StoredRun:
    """A run that has ended: its record, and its predictions when they are asked for."""

    record: RunRecord
    folder: Path
    """The run's own. An archived run has none: then it is the archive's folder with the run's name."""
    archive: Archive | None = field(default=None, repr=False, compare=False)

    def predictions(self, split: Split = "test", *, rank: int | None = None) -> StoredPredictions | None:
        """The predictions of a split's documents; None where there are none.

        Args:
            split: Of the data.
            rank: To which the trained adapter was cut; None as it was trained.

        Raises:
            RecordError: They are damaged, or a class is none of the record's labels.
        """
        path, labels = self.predictions_path(split, rank=rank), len(self.record.data.label_names)
        if self.archive is None:
            return read_predictions(path.parent, labels=labels, name=path.name) if path.is_file() else None
        found = self.archive.predictions((self.record.run_id, split, rank))
        if found and not all(0 <= index < labels for index in [*found.classes, *found.predicted]):
            raise RecordError(f"{path}: a class of {self.record.run_id} is none of its {labels} labels")
        return found

    def predictions_path(self, split: Split = "test", *, rank: int | None = None) -> Path:
        """The file that has these predictions, if there are any."""
        if self.archive is not None:
            return self.archive.predictions_path
        folder = self.folder if rank is None else self.folder / RANKS_FOLDER / f"r{rank}"
        return folder / (PREDICTIONS_FILE if split == "test" else VALIDATION_PREDICTIONS_FILE)


def read_records(runs: Path) -> list[RunRecord]:
    """All records below `runs`, in the order of their folders' names.

    Raises:
        RecordError: There is none, or one is damaged.
    """
    return [run.record for run in stored_runs(runs)]


def stored_runs(runs: Path, *, every: bool = False) -> list[StoredRun]:
    """The runs below `runs` that have ended, in the order of their folders' names.

    Args:
        runs: A study's folder, an archive, or a folder above several.
        every: Also runs that are none of their study's as it is specified, made with `--set` in its folder.

    Raises:
        RecordError: There is none, or one is damaged.
    """
    stored = runs_below(runs, every=every)
    if stored:
        return stored
    if not runs.is_dir():
        raise RecordError(f"{runs}: there is no such folder; give the one that `tanzaku study run` wrote")
    if not every and (others := len(runs_below(runs, every=True))):
        raise RecordError(
            f"{runs} has {counted(others, 'run')} that ended, but none of the study as its file is now; --all includes "
            "what others there are"
        )
    begun = ", or wait until one of its runs has ended" if any(runs.glob("*/log.jsonl")) else ""
    raise RecordError(f"there is no {RECORD_FILE} below {runs}; give the folder that `tanzaku study run` wrote{begun}")


def runs_below(runs: Path, *, every: bool = False) -> list[StoredRun]:
    """As `stored_runs`, but none where there is none."""
    archives = {folder for folder, files in folders_below(runs) if ARCHIVED_RUNS_FILE in files}
    stored: list[StoredRun] = []
    for folder in sorted([*archives, *record_folders(runs, every=every)]):
        if folder in archives:
            archive = read_archive(folder)
            stored += [StoredRun(record, folder / record.run_id, archive) for record in archive.records]
        else:
            stored.append(StoredRun(read_record(folder), folder))
    return stored


def record_folders(runs: Path, *, every: bool = False) -> list[Path]:
    """The folders below `runs` that hold a run's record, in the order of their names.

    Args:
        runs: A study's folder, or one above several.
        every: As of `stored_runs`.
    """
    # Encoders that a study pretrained are next to its runs, with records of their own kind.
    with_record = [folder for folder, files in folders_below(runs) if RECORD_FILE in files]
    folders = sorted(folder for folder in with_record if not _is_of_an_encoder(folder / RECORD_FILE))
    if every:
        return folders
    lists = {parent: read_list(parent) for parent in {folder.parent for folder in folders}}
    names = {parent: {run.name for run in listed.runs} for parent, listed in lists.items() if listed}
    return [folder for folder in folders if folder.name in names.get(folder.parent, {folder.name})]


def _is_of_an_encoder(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("kind") in ("pretraining", "distillation")
