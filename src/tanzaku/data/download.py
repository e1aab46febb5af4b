"""Downloads a file once: resumes where a broken connection stopped, and keeps only what has the right checksum."""

import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tanzaku.errors import DataError
from tanzaku.files import sha256_of_file, sync_directory, sync_file

Progress = Callable[[int, int | None], None]
"""Told the bytes that are there, and the bytes in all where the server says."""

_READ_BYTES = 1 << 16
_OK, _PARTIAL, _RANGE_NOT_SATISFIABLE = 200, 206, 416


def cache_folder() -> Path:
    """Where downloads are kept: `TANZAKU_CACHE`, else `tanzaku` in `XDG_CACHE_HOME`, else `~/.cache/tanzaku`."""
    if chosen := os.environ.get("TANZAKU_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tanzaku"


def download(
    url: str,
    *,
    to: Path,
    sha256: str,
    on_progress: Progress | None = None,
    attempts: int = 5,
    wait_seconds: float = 1.0,
    timeout_seconds: float = 30.0,
    max_bytes: int = 64 << 20,
) -> Path:
    """Bring `url` to the file `to`, unless it is there already; a part from an earlier download is continued.

    Args:
        url: An http or https address.
        to: The file; the part that is not complete yet is next to it as `<name>.part`.
        sha256: The checksum of the whole, in hexadecimal.
        on_progress: Told how far it is.
        attempts: How often in a row a try may bring nothing before it is given up.
        wait_seconds: The pause after a try that brought nothing, longer each time.
        timeout_seconds: How long the server may be silent.
        max_bytes: The size at which the download is given up.

    Returns:
        `to`.

    Raises:
        DataError: The server refuses, can't be reached, or sends something with another checksum.
    """
    from filelock import FileLock

    if _is_whole(to, sha256):  # perhaps in a folder that can only be read
        return to
    to.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{to}.lock"):
        if _is_whole(to, sha256):  # by now
            return to
        part = to.with_name(f"{to.name}.part")
        _fetch_whole(
            url,
            part,
            on_progress=on_progress or _ignore,
            attempts=attempts,
            wait_seconds=wait_seconds,
            timeout_seconds=timeout_seconds,
            max_bytes=max_bytes,
        )
        _take_over(part, to, url=url, sha256=sha256)
    return to


def _is_whole(path: Path, sha256: str) -> bool:
    return path.exists() and sha256_of_file(path) == sha256


def _take_over(part: Path, to: Path, *, url: str, sha256: str) -> None:
    """Put what came into its place, if it is what was wanted."""
    received = sha256_of_file(part)
    if received != sha256:
        part.unlink()
        raise DataError(
            f"{url}: the file that came has the SHA-256 {received}, not {sha256}, and was removed. Try again; if it "
            "stays so, the published file has changed: get it from a source that you trust and pass --archive."
        )
    sync_file(part)
    part.replace(to)
    sync_directory(to.parent)


def _fetch_whole(
    url: str,
    part: Path,
    *,
    on_progress: Progress,
    attempts: int,
    wait_seconds: float,
    timeout_seconds: float,
    max_bytes: int,
) -> None:
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _fetch_rest(url, part, on_progress=on_progress, timeout_seconds=timeout_seconds, max_bytes=max_bytes):
                return
            problem = "the connection was cut"
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500:
                raise DataError(f"{url}: the server answers {error.code} {error.reason}. {_BY_HAND}") from error
            problem = f"the server answers {error.code} {error.reason}"
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            problem = str(getattr(error, "reason", error))
        # A try that brought something counts as progress, however often the connection is cut.
        failures = 0 if part.exists() and part.stat().st_size > before else failures + 1
        if failures >= attempts:
            raise DataError(f"{url}: can't be downloaded: {problem}. What came so far is kept. {_BY_HAND}")
        time.sleep(wait_seconds * failures)


def _fetch_rest(url: str, part: Path, *, on_progress: Progress, timeout_seconds: float, max_bytes: int) -> bool:
    """Append what is missing; True when the part is as long as the server says the whole is."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout_seconds)
    except urllib.error.HTTPError as error:
        if error.code != _RANGE_NOT_SATISFIABLE:
            raise
        # Nothing is left to send: either the part is whole, or it is not of this file and starts again.
        error.close()
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return True
        part.unlink()
        return False
    with response:
        if response.status == _PARTIAL and _range_start(response) != have:
            raise http.client.HTTPException("the server sends another range than was asked for")
        start = have if response.status == _PARTIAL else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        with part.open("ab" if start else "wb") as handle:
            done = _copy(
                response, handle, done=start, total=total, on_progress=on_progress, max_bytes=max_bytes, url=url
            )
    return total is None or done >= total


def _copy(
    response: Any,
    handle: Any,
    *,
    done: int,
    total: int | None,
    on_progress: Progress,
    max_bytes: int,
    url: str,
) -> int:
    while True:
        on_progress(done, total)
        # read1 hands over what has come; read would lose the piece in which the connection is cut.
        piece = response.read1(_READ_BYTES)
        if not piece:
            return done
        done += len(piece)
        if done > max_bytes:
            raise DataError(f"{url}: sends more than {max_bytes:,} bytes, so the download was given up. {_BY_HAND}")
        handle.write(piece)


def _range_start(response: Any) -> int | None:
    unit, _, rest = (response.headers.get("Content-Range") or "").partition(" ")
    start = rest.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdigit() else None


def _ignore(_done: int, _total: int | None) -> None:
    return


_BY_HAND = "Try again later, or download the file by hand and pass it with --archive."
