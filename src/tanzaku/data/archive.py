"""Unpacks a tar archive that nobody vouches for: no path leaves the folder, no link is made, no size is unbounded."""

import gzip
import io
import tarfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, cast

from tanzaku.errors import DataError

# The Livedoor corpus has some 7,400 members, the largest under 33 KB, 26 MB in all.
MAX_MEMBERS = 50_000
MAX_FILE_BYTES = 8 << 20
MAX_TOTAL_BYTES = 256 << 20
_GZIP_MAGIC = b"\x1f\x8b"


class _BoundedReader(io.RawIOBase):
    """Counts what comes out of the decompressor, headers and padding included, and stops at the limit."""

    def __init__(self, stream: IO[bytes], *, name: str, limit_bytes: int) -> None:
        self._stream = stream
        self._name = name
        self._limit_bytes = limit_bytes
        self._left_bytes = limit_bytes

    def read(self, size: int = -1) -> bytes:
        wanted = self._left_bytes + 1 if size < 0 else min(size, self._left_bytes + 1)
        data = self._stream.read(wanted)
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            raise DataError(
                f"{self._name}: unpacks to more than {self._limit_bytes:,} bytes, so it is not unpacked. "
                "Check that it is the right archive; one that you trust can be unpacked by hand and given as a folder."
            )
        return data


def extract_archive(
    archive: Path,
    folder: Path,
    *,
    max_members: int = MAX_MEMBERS,
    max_file_bytes: int = MAX_FILE_BYTES,
    max_total_bytes: int = MAX_TOTAL_BYTES,
) -> None:
    """Unpack the files and folders of a `.tar`, `.tar.gz` or `.tgz` into `folder`.

    Only the members' names and contents are taken over: no owner, no mode, no date.

    Args:
        archive: The archive; whether it is compressed is told from its first bytes.
        folder: An existing folder, best a fresh one: what is there is never overwritten.
        max_members: The number of members it may have.
        max_file_bytes: The size, unpacked, that one file may have.
        max_total_bytes: The size of the unpacked stream, the archive's own headers included.

    Raises:
        DataError: The archive can't be read, a member would leave `folder`, is neither file nor folder or comes twice,
            or a limit is passed. `folder` may then hold a part of the members.
    """
    try:
        with archive.open("rb") as raw:
            compressed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw) if compressed else raw)
            bounded = _BoundedReader(stream, name=str(archive), limit_bytes=max_total_bytes)
            # "r|": read front to back without seeking, so that every byte passes the bound.
            with tarfile.open(fileobj=bounded, mode="r|") as members:
                for number, member in enumerate(members, start=1):
                    if number > max_members:
                        raise DataError(f"{archive}: has more than {max_members:,} members, so it is not unpacked.")
                    _extract_member(members, member, folder, archive=archive, max_file_bytes=max_file_bytes)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{archive}: is damaged or no tar archive: {error}. Download it again; a folder that is unpacked already "
            "can be given as well."
        ) from error
    except OSError as error:
        raise DataError(f"{archive}: can't be unpacked into {folder}: {error}.") from error


def _extract_member(
    members: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, *, archive: Path, max_file_bytes: int
) -> None:
    place = f"{archive}, member {member.name!r}"
    target = folder.joinpath(*_safe_parts(member.name, place))
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    if not member.isreg() or member.issparse():
        raise DataError(f"{place}: is neither a plain file nor a folder, so the archive is not unpacked.")
    if member.size > max_file_bytes:
        raise DataError(f"{place}: has {member.size:,} bytes, more than the {max_file_bytes:,} that a file may have.")
    # Python's own filter as a second opinion, where this Python has it (3.11.4 on).
    if hasattr(tarfile, "data_filter"):
        tarfile.data_filter(member, str(folder))
    content = members.extractfile(member)
    assert content is not None, "a plain file has content"
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("xb") as handle:
            handle.write(content.read())
    except FileExistsError as error:
        raise DataError(f"{place}: comes twice, so the archive is not unpacked.") from error


def _safe_parts(name: str, place: str) -> tuple[str, ...]:
    """The parts of a relative path that stays below the folder, on POSIX and on Windows."""
    path = PurePosixPath(name)
    windows = PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or "\\" in name or "\0" in name or ".." in path.parts:
        raise DataError(f"{place}: would leave the folder it is unpacked into, so the archive is not unpacked.")
    return path.parts
