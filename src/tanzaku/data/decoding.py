"""From bytes to text, with an error that says where the bytes stop making sense and which encoding would fit."""

import codecs
import os
from pathlib import Path

from tanzaku.errors import DataError

DEFAULT_ENCODING = "utf-8"
# Tried in this order when a file does not decode: the encodings that Japanese text files are found in.
_LIKELY_ENCODINGS = ("utf-8", "cp932", "euc-jp", "iso-2022-jp")
_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_NOT_OF_FILES = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"}
_ESCAPES = (b"\x1b$B", b"\x1b$@")  # of ISO-2022-JP, whose bytes are valid UTF-8
_ALIKE = ("cp932", "euc-jp")  # in which the same bytes can be valid
_SAMPLED_BYTES = 65_536
_CHECKED_BYTES = 4_000_000
_CONTROLS = "".join(chr(number) for number in (*range(9), *range(14, 32), *range(127, 160)))


class EncodingError(DataError):
    """Bytes that are not valid in the encoding; `fitting` is one that they are valid in, if there is a likely one."""

    def __init__(self, fault: str, remedy: str, *, fitting: str | None) -> None:
        super().__init__(f"{fault} {remedy}")
        self.fault, self.remedy, self.fitting = fault, remedy, fitting


def read_bytes(path: Path, *, most: int = -1) -> bytes:
    """Read a file, whole or only its first bytes.

    Raises:
        DataError: It can't be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}. Check the path and its permissions.") from error


def check_encoding(path: Path, *, encoding: str) -> None:
    """Make sure that a text file is valid in an encoding, with only a part of it in memory at a time.

    Raises:
        DataError: The file can't be read, or there is no such encoding.
        EncodingError: A byte is not valid in it.
    """
    start = read_bytes(path, most=_CHECKED_BYTES)
    encoding = marked_encoding(start[:2], encoding)
    try:
        _check_known(encoding)
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError as error:
        raise _unknown(encoding, str(path)) from error
    line, before = 1, 0  # the first of what is decoded next, and the bytes before it
    with path.open("rb") as file:
        while True:
            some = file.read(_CHECKED_BYTES)
            try:
                text = decoder.decode(some, final=not some)
            except UnicodeDecodeError as error:
                before -= len(error.object) - len(some)  # a character that was cut is decoded again
                line += error.object[: error.start].decode(error.encoding, errors="replace").count("\n")
                fault = _invalid_byte(f"{path}, line {line}", error, encoding, offset=before + error.start)
                # Other encodings are tried on what the file begins with, and on what is wrong.
                tried = start if before + error.start < len(start) else start + error.object
                raise _encoding_error(fault, tried, encoding, can_choose=True) from error
            except UnicodeError as error:  # such as utf-16 without a mark, which is guessed of a whole file
                raise DataError(f"{path}: {error}. Name its encoding with --encoding, such as utf-16-le.") from error
            if is_utf8(encoding) and any(mark in some for mark in _ESCAPES):
                fault = f"{path}: has the escape sequences of ISO-2022-JP, which is not {encoding}."
                raise _encoding_error(fault, some, encoding, can_choose=True)
            if not some:
                return
            line, before = line + text.count("\n"), before + len(some)


def decode(data: bytes, *, name: str, encoding: str = DEFAULT_ENCODING, can_choose: bool = True) -> str:
    """Decode `data`, which came from the file `name`; a byte order mark at its start is not part of the text.

    Args:
        data: The file's bytes.
        name: Names the file in errors; empty for errors without it.
        encoding: By Python's name for it.
        can_choose: Whether the user can name another encoding with `--encoding`; else the file is to be UTF-8.

    Raises:
        DataError: There is no such encoding.
        EncodingError: A byte is not valid in it.
    """
    start = f"{name}: " if name else ""
    try:
        _check_known(encoding)
        encoding = marked_encoding(data[:2], encoding)
        text = data.decode(encoding).removeprefix("\ufeff")
    except LookupError as error:
        raise _unknown(encoding, name) from error
    except UnicodeDecodeError as error:
        line = data[: error.start].decode(encoding, errors="replace").count("\n") + 1
        where = f"{name}, line {line}" if name else f"line {line}"
        fault = _invalid_byte(where, error, encoding, offset=error.start)
        raise _encoding_error(fault, data, encoding, can_choose) from error
    except UnicodeError as error:
        raise _encoding_error(f"{start}can't be read as {encoding}: {error}.", data, encoding, can_choose) from error
    if encoding == "utf-8" and any(mark in data for mark in _ESCAPES):
        fault = f"{start}has the escape sequences of ISO-2022-JP, which is not {encoding}."
        raise _encoding_error(fault, data, encoding, can_choose)
    return text


def detect_encoding(data: bytes, *, name: str) -> str:
    """The encoding of a whole file from somebody who does not say which: UTF-8 if it is valid, else the likeliest one.

    Args:
        data: The file's bytes.
        name: Names the file in errors.

    Raises:
        EncodingError: The bytes are valid in no likely encoding, or make as much sense in two of them.
    """
    try:
        decode(data, name=name, can_choose=False)
    except EncodingError as error:
        if error.fitting is None:
            raise
        decode(data, name=name, encoding=error.fitting, can_choose=False)  # the end too
        if error.fitting not in _ALIKE or not all(_decodes(data, encoding) for encoding in _ALIKE):
            return error.fitting
        half_width = [_is_half_width(one) for one in data.decode("cp932", errors="ignore") if not one.isascii()]
        if all(half_width):  # rare in one encoding, and short in the other: either may be meant
            fault = f"{name}: can be {' and '.join(_ALIKE)} alike, with different texts."
            raise EncodingError(fault, "Save it as UTF-8.", fitting=None) from error
        return "euc-jp" if any(half_width) else error.fitting
    return marked_encoding(data[:2], DEFAULT_ENCODING)


def _is_half_width(character: str) -> bool:
    return "\uff61" <= character <= "\uff9f"


def marked_encoding(start: bytes, encoding: str) -> str:
    """The encoding that a byte order mark shows where UTF-8 is expected; otherwise the expected one."""
    return _BYTE_ORDER_MARKS.get(start[:2], "utf-8") if _is_utf8(encoding) else encoding


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-") in {"utf-8", "utf8"}


def _check_known(encoding: str) -> None:
    """Raises a LookupError for codecs that are not of texts, such as base64, and for those of names and literals."""
    if codecs.lookup(encoding).name in _NOT_OF_FILES:
        raise LookupError(encoding)
    "".encode(encoding)


def _unknown(encoding: str, name: str) -> DataError:
    return DataError(
        f"{f'{name}: ' if name else ''}{encoding!r} is not a known text encoding. "
        f"Use a name that Python knows, such as {', '.join(_LIKELY_ENCODINGS)}."
    )


def _invalid_byte(where: str, error: UnicodeDecodeError, encoding: str, *, offset: int) -> str:
    return f"{where}: the byte 0x{error.object[error.start]:02x} at offset {offset} is not valid {encoding}."


def _encoding_error(fault: str, data: bytes, tried: str, can_choose: bool) -> EncodingError:
    fitting = fitting_encoding(data, tried)
    return EncodingError(fault, remedy(data, tried, can_choose=can_choose), fitting=fitting)


def has_escapes(line: str, encoding: str) -> bool:
    """Whether a line that was read as UTF-8 is one of ISO-2022-JP, whose bytes are valid UTF-8."""
    return "\x1b" in line and is_utf8(encoding) and any(mark.decode() in line for mark in _ESCAPES)


def is_utf8(encoding: str) -> bool:
    """Whether a name is one of UTF-8's."""
    return encoding.lower().replace("_", "-") in {"utf-8", "utf8", "utf-8-sig"}


def remedy(data: bytes, tried: str, *, can_choose: bool = True) -> str:
    """What to do about bytes, or the first of them, that are not valid in the encoding that was tried."""
    if encoding := fitting_encoding(data, tried):
        what = f"pass --encoding {encoding}" if can_choose else "save it as UTF-8"
        return f"The text reads as {encoding}: {what}."
    return f"{'Name its encoding with --encoding, or s' if can_choose else 'S'}ave it as UTF-8."


def fitting_encoding(data: bytes, tried: str) -> str | None:
    """The likeliest encoding of some bytes, or of the first of them, other than the one that was tried.

    EUC-JP is often valid cp932 too, but reads as half-width katakana then, which are rare.
    """
    if data[:2] in _BYTE_ORDER_MARKS:
        likely: tuple[str, ...] = (_BYTE_ORDER_MARKS[data[:2]],)
    elif 100 * data[:_SAMPLED_BYTES].count(0) > len(data[:_SAMPLED_BYTES]):  # the high bytes of letters and digits
        likely = ("utf-16-le",) if data[1::2].count(0) > data[::2].count(0) else ("utf-16-be",)
    elif any(mark in data for mark in _ESCAPES):
        likely = ("iso-2022-jp",)
    else:
        likely = _LIKELY_ENCODINGS
    fitting = [encoding for encoding in likely if encoding != tried and _decodes(data, encoding)]
    return min(fitting, key=lambda encoding: _strangeness(data, encoding), default=None)


def _strangeness(data: bytes, encoding: str) -> float:
    """The share of characters that Japanese texts hardly have: half-width katakana, private use, controls."""
    text = codecs.getincrementaldecoder(encoding)().decode(data[:_SAMPLED_BYTES])
    strange = sum(_is_half_width(one) or "\ue000" <= one <= "\uf8ff" or one in _CONTROLS for one in text)
    return round(strange / max(1, len(text)), 2)


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
