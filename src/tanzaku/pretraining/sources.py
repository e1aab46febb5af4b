"""The user's own unlabelled text: found, checked, and read line by line, however large it is."""

import gzip
import json
import lzma
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from tanzaku.data.characters import clean_text
from tanzaku.data.decoding import fitting_encoding, has_escapes
from tanzaku.encoders.files import CONFIG_FILE
from tanzaku.errors import DataError
from tanzaku.files import sha256_of_file

_SUFFIXES, _COMPRESSED = (".txt", ".txt.xz", ".txt.gz"), (".xz", ".gz")
# So many characters go to a worker at once: long enough to be worth the sending, short enough for a smooth bar.
_CHUNK_CHARACTERS = 200_000
_WORD_LIST = "vocab.txt"  # of an encoder with WordPiece


@dataclass(frozen=True)
class TextSource:
    """One text file: `size` in bytes as it lies on disk, `sha256` of these bytes in hexadecimal."""

    path: Path
    size: int
    sha256: str


def find_sources(texts: Sequence[Path], *, besides: Sequence[Path] = ()) -> list[TextSource]:
    """The text files that are meant by `texts`: files as they are, folders as the .txt, .txt.xz and .txt.gz below them.

    A file that is named twice counts once. Below a folder, vocab.txt is left out, the word list of an encoder, and so
    are the folders of encoders. The order is that of `texts`, and of the names below a folder.

    Args:
        texts: Files and folders; links are followed.
        besides: Folders that are left out, such as the result's.

    Raises:
        DataError: A path does not exist or can't be read, a folder has no such file, or nothing is given.
    """
    paths: dict[Path, Path] = {}
    ours = [path.resolve() for path in besides]
    for text in texts:
        if text.is_dir():
            found = sorted(_files_below(text, besides=ours))
            if not found:
                raise DataError(
                    f"{text}: no {', '.join(_SUFFIXES)} file lies in or below this folder, encoders left out"
                )
        elif text.is_file():
            found = [text]
        else:
            raise DataError(f"{text}: there is no such file or folder; give text files (also .xz, .gz) or folders")
        for path in found:
            # Of a link and its target, the name of one may say that the file is compressed.
            real = path.resolve()
            says = _compression(path) in _COMPRESSED or _compression(real) not in _COMPRESSED
            paths.setdefault(real, path if says else real)
    if not paths:
        raise DataError("no text to pretrain on; give text files (also .xz, .gz) or folders of them")
    try:
        return [TextSource(path=path, size=path.stat().st_size, sha256=sha256_of_file(path)) for path in paths.values()]
    except OSError as error:
        raise DataError(f"{error.filename}: can't be read: {error.strerror}") from error


def _files_below(folder: Path, *, besides: Sequence[Path]) -> Iterator[Path]:
    """The text files in a folder and those below it, but for what lies in the resolved folders `besides`."""

    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename}: can't be read: {error.strerror}") from error

    seen: set[Path] = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=fail):
        real = Path(place).resolve()
        if real in seen or any(real.is_relative_to(one) for one in besides) or _is_encoder(real):
            folders.clear()  # a link that leads back, our own, or licences and lists of pieces
            continue
        seen.add(real)
        # In one order everywhere; of a folder and the links to it, the folder first.
        folders[:] = [name for name in folders if not name.startswith(".")]  # copies that editors and macOS keep
        folders.sort(key=lambda name: ((Path(place) / name).is_symlink(), name))
        shown = (name for name in names if not name.startswith("."))
        wanted = (name for name in shown if name.lower().endswith(_SUFFIXES) and name != _WORD_LIST)
        yield from (path for name in wanted if (path := Path(place) / name).is_file())


def _is_encoder(folder: Path) -> bool:
    """Whether it has the configuration of an encoder in the format of transformers."""
    try:
        content = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "model_type" in content


def read_lines(source: TextSource, *, progress: Callable[[int], None] | None = None) -> Iterator[str]:
    """The lines of a file as UTF-8, with their ends and the characters that `tanzaku.data.characters` leaves.

    Args:
        source: The file; its name says whether it is compressed.
        progress: Called now and then with the number of bytes read from disk since the last call.

    Raises:
        DataError: It can't be read, is damaged, or is not UTF-8; the message says which byte.
    """
    offset = reported = 0
    try:
        with source.path.open("rb") as raw:
            for number, line in enumerate(_decompressed(source.path, raw), start=1):
                yield _decode(line, source=source, number=number, offset=offset)
                offset += len(line)
                if progress is not None and raw.tell() != reported:
                    progress(raw.tell() - reported)
                    reported = raw.tell()
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{source.path}: can't be read: {error}; is it damaged or cut off?") from error


def read_chunks(
    source: TextSource, *, every_line: bool, progress: Callable[[int], None] | None = None
) -> Iterator[list[str]]:
    """A file's lines in chunks of some 200,000 characters, "" between documents and as the file's last line.

    Args:
        source: The file.
        every_line: Whether each line is a document; otherwise blank lines stand between documents.
        progress: As in `read_lines`.
    """
    chunk: list[str] = []
    characters = 0
    in_document = False
    for line in read_lines(source, progress=progress):
        text = line.strip()
        if text:
            chunk.append(text)
            characters += len(text)
        if (in_document and not text) or (text and every_line):
            chunk.append("")
        in_document = bool(text) and not every_line
        if characters >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if in_document:
        chunk.append("")
    if chunk:
        yield chunk


def _decompressed(path: Path, raw: BinaryIO) -> Iterator[bytes]:
    if _compression(path) == ".xz":
        return iter(lzma.open(raw, "rb"))
    if _compression(path) == ".gz":
        return iter(cast(BinaryIO, gzip.open(raw, "rb")))
    return iter(raw)


def _compression(path: Path) -> str:
    """The ending of its name, which one of `_COMPRESSED` is if it is compressed."""
    return path.suffix.lower()


def _decode(line: bytes, *, source: TextSource, number: int, offset: int) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        where = "of the decompressed text" if _compression(source.path) in _COMPRESSED else "of the file"
        raise DataError(
            f"{source.path}, line {number}: byte {offset + error.start} {where}, 0x{line[error.start]:02x}, is not "
            f"valid UTF-8. {_convert(line)}"
        ) from error
    if has_escapes(text, "utf-8"):
        fault = "has the escape sequences of ISO-2022-JP, which is not UTF-8"
        raise DataError(f"{source.path}, line {number}: {fault}. {_convert(line)}")
    return clean_text(text)


def _convert(line: bytes) -> str:
    return f"Save the text as UTF-8, for instance with: iconv -f {fitting_encoding(line, 'utf-8') or 'cp932'} -t utf-8"
