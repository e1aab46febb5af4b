"""What a worker elsewhere made of a run, in the run's folder of the study; whoever calls this holds the run's lock."""

import io
import os
import shutil
import tarfile
from pathlib import Path

from tanzaku.files import errors_naming, sync_directory, sync_file
from tanzaku.study.record import LOG_FILE, RECORD_FILE


def bring(archive: bytes, folder: Path) -> None:
    """Unpack a run's files. The record comes last, so that a run that has one is whole, whatever dies when.

    Raises:
        OSError: The folder can't be written; the error names it, and the run has no record.
    """
    staging = folder / f".brought.{os.getpid()}.tmp"
    for unfinished in folder.glob(".brought.*.tmp"):
        shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with errors_naming(folder):
            staging.mkdir(parents=True)
            with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
                packed.extractall(staging, filter="data")
            for path in staging.rglob("*"):
                if path.is_file():
                    sync_file(path)
            for path in sorted(staging.iterdir(), key=lambda path: path.name == RECORD_FILE):
                there = folder / path.name
                if there.is_dir():
                    shutil.rmtree(there)
                path.replace(there)
            sync_directory(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def append_log(folder: Path, lines: bytes) -> None:
    """Write down lines that a worker sent of a run's log."""
    folder.mkdir(parents=True, exist_ok=True)
    with errors_naming(folder / LOG_FILE), (folder / LOG_FILE).open("ab") as log:
        log.write(lines)
