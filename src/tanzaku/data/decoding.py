"""From bytes to text, with an error that says where the bytes stop making sense and which encoding would fit."""

import codecs
import os
from pathlib import Path

from tanzaku.errors import DataError

DEFAULT_ENCODING = "utf-8"
# Tried in this order when a file does not decode: the encodings that Japanese text files are found in.
_LIKELY_ENCODINGS = ("utf-8", "cp932", "euc-jp", "iso-2022-jp")
_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def decode_file(path: Path, *, encoding: str = DEFAULT_ENCODING) -> str:
    """Read a text file whole; a byte order mark at its start is not part of the text.

    Raises:
        DataError: The file can't be read, the encoding is unknown, or a byte is not valid in it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}. Check the path and its permissions.") from error
    return decode(data, name=str(path), encoding=encoding)


def decode(data: bytes, *, name: str, encoding: str = DEFAULT_ENCODING, can_choose: bool = True) -> str:
    """Decode `data`, which came from the file `name`; see `decode_file`.

    Args:
        data: The file's bytes.
        name: Names the file in errors.
        encoding: By Python's name for it.
        can_choose: Whether the user can name another encoding with `--encoding`; else the file is to be UTF-8.
    """
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except LookupError as error:
        raise DataError(
            f"{name}: {encoding!r} is not a known text encoding. "
            f"Use a name that Python knows, such as {', '.join(_LIKELY_ENCODINGS)}."
        ) from error
    except UnicodeDecodeError as error:
        line = data[: error.start].decode(encoding, errors="replace").count("\n") + 1
        raise DataError(
            f"{name}, line {line}: the byte 0x{data[error.start]:02x} at offset {error.start} is not valid {encoding}. "
            f"{remedy(data, encoding, can_choose=can_choose)}"
        ) from error
    except UnicodeError as error:
        raise DataError(f"{name}: can't be read as {encoding}: {error}. {remedy(data, encoding)}") from error


def remedy(data: bytes, tried: str, *, can_choose: bool = True) -> str:
    """What to do about bytes, or the first of them, that are not valid in the encoding that was tried."""
    fitting = [_BYTE_ORDER_MARKS[data[:2]]] if data[:2] in _BYTE_ORDER_MARKS else list(_LIKELY_ENCODINGS)
    for encoding in fitting:
        if encoding != tried and _decodes(data, encoding):
            what = f"pass --encoding {encoding}" if can_choose else "save it as UTF-8"
            return f"The text reads as {encoding}: {what}."
    return f"{'Name its encoding with --encoding, or s' if can_choose else 'S'}ave it as UTF-8."


def readable_name(name: str) -> str:
    """A file's name as text: one that is not UTF-8 on disk, as of an old archive, in the encoding that fits it."""
    if is_text(name):
        return name
    encoding = encoding_of_name(name)
    return os.fsencode(name).decode(encoding) if encoding else name.encode("utf-8", "backslashreplace").decode("utf-8")


def encoding_of_name(name: str) -> str | None:
    """The first likely encoding that a file's name on disk is valid in."""
    return next((encoding for encoding in _LIKELY_ENCODINGS if _decodes(os.fsencode(name), encoding)), None)


def is_text(text: str) -> bool:
    """Whether UTF-8 can hold a text; half a surrogate pair stands for a byte of a name that is not UTF-8 on disk."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _decodes(data: bytes, encoding: str) -> bool:
    """Whether the bytes are valid, the last character aside, which may be cut off."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeError:
        return False
    return True
