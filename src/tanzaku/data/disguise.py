"""Files that are not what their endings say, such as spreadsheets, archives and web pages that were renamed."""

from __future__ import annotations

from pathlib import Path

from tanzaku.data.decoding import read_bytes

START = 512
"""So many bytes of a file tell what it is."""
_UNPACK = "Unpack it, and give the file in it"
_SAVE = "Open it in a spreadsheet program, save it as .xlsx without a password or as CSV UTF-8, and give that file"
# The first bytes, what the file is, and what to do about it.
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a spreadsheet (.xlsx) or an archive (.zip)", "Give it the ending .xlsx, or unpack it"),
    (b"PAR1", "a Parquet file", "Give it the ending .parquet"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet (.xls) or one with a password", _SAVE),
    (b"\x1f\x8b", "compressed (gzip)", _UNPACK),
    (b"BZh", "compressed (bzip2)", _UNPACK),
    (b"\xfd7zXZ\x00", "compressed (xz)", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "an archive (.7z)", _UNPACK),
    (b"%PDF-", "a PDF document", "Save its table as CSV UTF-8"),
    (b"version https://git-lfs", "a pointer of Git LFS to the file", "Fetch the file itself with `git lfs pull`"),
    (b"<!doctype html", "a web page (HTML)", _SAVE),
    (b"<html", "a web page (HTML)", _SAVE),
    (b"<table", "a web page (HTML)", _SAVE),
    (b"<?xml", "an XML file", _SAVE),
)
_OF_FORMATS = {"xlsx": b"PK\x03\x04", "parquet": b"PAR1"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def start_of(path: Path) -> bytes:
    """The first bytes of a file.

    Raises:
        DataError: It can't be read.
    """
    return read_bytes(path, most=START)


def disguised(start: bytes, *, read_as: str) -> str | None:
    """What a file is instead of the format that it is read as, with the remedy; None where it may well be that.

    Args:
        start: Its first `START` bytes.
        read_as: The format.
    """
    head = start.removeprefix(_BYTE_ORDER_MARK).lstrip()
    own = _OF_FORMATS.get(read_as)
    if own is not None and start.startswith(own):
        return None
    for magic, what, remedy in _MAGIC:
        if start.startswith(magic) or (magic.startswith(b"<") and head[: len(magic)].lower() == magic):
            return f"is {what} and not {read_as}. {remedy}."
    return None
