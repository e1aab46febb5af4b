"""From bytes to text, with an error that says where the bytes stop making sense and which encoding would fit."""

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


def decode(data: bytes, *, name: str, encoding: str = DEFAULT_ENCODING) -> str:
    """Decode `data`, which came from the file `name`; see `decode_file`."""
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except LookupError as error:
        raise DataError(
            f"{name}: there is no text encoding {encoding!r}. "
            f"Use a name that Python knows, such as {', '.join(_LIKELY_ENCODINGS)}."
        ) from error
    except UnicodeDecodeError as error:
        line = data[: error.start].decode(encoding, errors="replace").count("\n") + 1
        raise DataError(
            f"{name}, line {line}: the byte 0x{data[error.start]:02x} at offset {error.start} is not valid {encoding}. "
            f"{_remedy(data, encoding)}"
        ) from error
    except UnicodeError as error:
        raise DataError(f"{name}: can't be read as {encoding}: {error}. {_remedy(data, encoding)}") from error


def _remedy(data: bytes, tried: str) -> str:
    fitting = [_BYTE_ORDER_MARKS[data[:2]]] if data[:2] in _BYTE_ORDER_MARKS else list(_LIKELY_ENCODINGS)
    for encoding in fitting:
        if encoding != tried and _decodes(data, encoding):
            return f"The file reads as {encoding}: pass --encoding {encoding}."
    return "Name the file's encoding with --encoding, or save the file as UTF-8."


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeError:
        return False
    return True
