"""Files that are either whole or absent: atomic writes, checksums, sizes."""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


def _staging_of(path: Path) -> Path:
    """A new name next to `path`. Processes of two containers may have the same number, so that is not enough."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def remove_unfinished(folder: Path) -> None:
    """Remove what a process left in a folder that was killed while it wrote; no other may be writing into it."""
    for path in folder.glob(".*.tmp"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` (text as UTF-8) so that `path` holds the old content or the new one, whatever dies when.

    Raises:
        OSError: It can't be written; the error names `path`.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with errors_naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = _staging_of(path)
        try:
            with staging.open("wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            staging.replace(path)
        except BaseException:
            with suppress(OSError):
                staging.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


@contextmanager
def errors_naming(path: Path) -> Iterator[None]:
    """Let the system's errors name `path`, which a person knows, and not a temporary file next to it, or no file.

    An error of safetensors that hides one of the system's becomes that one.
    """
    try:
        yield
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else _hidden_number(error)
        named = getattr(error, "filename", None)
        full = number in (errno.ENOSPC, errno.EDQUOT)  # of a copy, the error names what was to be copied
        places = [path.absolute(), path.resolve()]  # a link and its target are both this path
        starts = tuple(start for one in places for start in (f"{one.parent / ('.' + one.name)}.", str(one)))
        ours = full or named is None or str(Path(os.fsdecode(named)).absolute()).startswith(starts)
        if number is None or not ours:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _hidden_number(error: Exception) -> int | None:
    hidden = re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(hidden[1]) if hidden else None


def check_writable(folder: Path, *, replaced: bool = False) -> None:
    """Make sure, before long work, that `folder` can be written or made; nothing is left behind.

    Args:
        folder: The folder.
        replaced: Another folder is going to take its place (see `atomic_folder`), so the one above it must be writable.

    Raises:
        OSError: It can't; the error names `folder`.
    """
    there = folder.absolute()
    if replaced and there.exists():
        _check_no_mount(folder)
        there = there.resolve().parent
    while not os.path.lexists(there):
        there = there.parent
    try:
        with tempfile.TemporaryDirectory(prefix=".tanzaku-", dir=there) as staging:
            # Names that are too long show only when the folder is made.
            names = folder.absolute().parts[len(there.parts) :]
            Path(staging, *names).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"this folder can't be written ({error.strerror})", str(folder)) from error


def _check_no_mount(folder: Path) -> None:
    if folder.resolve().is_mount():
        raise OSError(errno.EBUSY, "this is a mount point, which can't be replaced; name a folder in it", str(folder))


def check_new(folder: Path) -> None:
    """Make sure that a folder is new or empty, and not the current one, which can't be replaced while it is in use.

    Raises:
        TanzakuError: It is not.
    """
    if folder.exists() and folder.samefile(Path.cwd()):
        raise TanzakuError(f"{folder} is the current folder; name a new folder")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TanzakuError(f"{folder.absolute()} already exists and is not empty; choose another folder, or remove it")


@contextmanager
def atomic_folder(out: Path, *, replace: bool = False) -> Iterator[Path]:
    """A new folder next to `out` to write files into; it becomes `out` where all went well, and is removed otherwise.

    Args:
        out: The folder; missing folders above it are made.
        replace: Whether it may take the place of a folder that is not empty.

    Raises:
        TanzakuError: Something lies in `out`, and `replace` is not set.
        OSError: `out` can't be written; the error names it.
    """
    given, out = out, out.absolute()
    if not replace:
        check_new(out)
    _check_no_mount(given)
    if out.is_symlink():
        out = out.resolve()  # the folder is replaced, and not the link to it
    staging = _staging_of(out)
    try:
        with errors_naming(given):
            staging.mkdir(parents=True)
            yield staging
            for path in (*staging.rglob("*"), staging):
                if path.is_file():
                    path.chmod(_READABLE)  # safetensors makes files that only their owner can read
                    sync_file(path)
                else:
                    sync_directory(path)
            _put(staging, out)
            sync_directory(out.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _put(staging: Path, out: Path) -> None:
    if not out.exists():
        staging.rename(out)
        return
    old = _staging_of(out)
    out.rename(old)
    try:
        staging.rename(out)
    except BaseException:  # Ctrl-C too
        if not out.exists():
            old.rename(out)
        raise
    shutil.rmtree(old)


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
