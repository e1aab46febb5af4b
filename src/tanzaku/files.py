"""Files that are either whole or absent: atomic writes, checksums, sizes."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tanzaku.errors import TanzakuError

_READ_BYTES = 1 << 20
_READABLE = 0o644


def sync_directory(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it survives a power cut. A no-op where the OS has none."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Flush one file's content to disk."""
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` (text as UTF-8) so that `path` holds the old content or the new one, whatever dies when."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


@contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """A new folder next to `out` to write files into; it becomes `out` where all went well, and is removed otherwise.

    Raises:
        TanzakuError: Something lies in `out`.
    """
    out = out.absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TanzakuError(f"{out} already exists and is not empty; choose another folder, or remove it")
    beside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        for path in (*beside.rglob("*"), beside):
            if path.is_file():
                path.chmod(_READABLE)  # safetensors makes files that only their owner can read
                sync_file(path)
            else:
                sync_directory(path)
        if out.is_dir():
            out.rmdir()
        beside.rename(out)
        sync_directory(out.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_json_atomically(path: Path, content: Any) -> None:
    """Write `content` as indented UTF-8 JSON (no NaN, no infinity), atomically."""
    write_atomically(path, json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while piece := handle.read(_READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def folder_bytes(folder: Path) -> int:
    """The sum of the sizes of all files below `folder`, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
