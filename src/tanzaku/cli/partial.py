"""The output file of `tanzaku classify --out`, and what is left of it after an interruption.

Lines are written to FILE.partial. After some of the classifier's chunks, FILE.partial.json notes how many bytes and
texts are whole by then. `--resume` cuts the file there, reads the same rows again, makes sure that they are the same,
and classifies the others in the same batches, so that the result is the same to the bit. At the end, the file is
renamed. FILE.partial.lock keeps other processes from writing the same file meanwhile.
"""

import hashlib
import io
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

from filelock import FileLock, Timeout
from pydantic import Field, ValidationError

from tanzaku.cli.classifying import Output
from tanzaku.cli.predictions import Format
from tanzaku.errors import DataError, ProcessError, TanzakuWarning, describe_validation_error
from tanzaku.facts import Facts
from tanzaku.files import check_writable, sync_directory, write_atomically
from tanzaku.ship.tally import Tally

if TYPE_CHECKING:
    from tanzaku.data.streaming import Row

_SECONDS = 2.0  # between two notes, each of which waits for the disk

Rows = Iterator[tuple[int, "Row"]]


class _Note(Facts):
    """How far an interrupted output has got."""

    version: Literal[1] = 1
    settings: Annotated[dict[str, Any], Field(description="What the lines depend on, apart from the texts.")]
    size_bytes: Annotated[int, Field(ge=0, description="Of the lines that are whole.")]
    texts_sha256: Annotated[str, Field(description="Of the rows that these lines are about.")]
    columns: tuple[str, ...]
    tally: dict[str, Any]


@dataclass
class Journal:
    """An output that is being written: the rows that are left, and what became of those before."""

    stream: TextIO
    rows: Rows
    tally: Tally
    columns: tuple[str, ...]
    """Those that are kept, as far as they are known."""
    begun: bool
    _settings: dict[str, Any]
    _path: Path
    _digest: Any
    _ends: Iterator[int]
    """How many texts there are after each chunk."""
    _end: int = 0
    _noted: float = field(default=-_SECONDS)

    def note(self, number: int, row: "Row") -> None:
        """Take note of a line that was written."""
        if not self.columns:
            self.columns = tuple(row.columns)
        _update(self._digest, number, row)
        while self._end < self.tally.texts:
            self._end = next(self._ends)
        if self._end > self.tally.texts or time.monotonic() - self._noted < _SECONDS:
            return
        self.stream.flush()
        os.fsync(self.stream.fileno())
        note = _Note(
            settings=self._settings,
            size_bytes=os.fstat(self.stream.fileno()).st_size,
            texts_sha256=self._digest.hexdigest(),
            columns=self.columns,
            tally=self.tally.to_json(),
        )
        write_atomically(self._path, note.model_dump_json() + "\n")
        self._noted = time.monotonic()


@dataclass(frozen=True)
class Partial:
    """The file to be written, and the two that stand for it until it is whole."""

    out: Path
    kind: Format
    encoding: str
    resumes: bool

    @classmethod
    @contextmanager
    def begin(cls, output: Output) -> "Iterator[Partial]":
        """Make sure that the file can be written, before a model is loaded, and that nobody else writes it meanwhile.

        Raises:
            DataError: It is there already, or an interrupted one is, and no option says what is to become of it.
            OSError: Its folder can't be written.
            ProcessError: Another process is writing it.
        """
        out = output.out
        assert out is not None
        encoding = "utf-8" if output.kind is Format.XLSX else output.output_encoding or "utf-8"
        partial = cls(out, output.kind, encoding, output.resume)
        check_writable(out.parent)
        out.parent.mkdir(parents=True, exist_ok=True)
        with partial._locked():
            if out.is_dir() or (out.exists() and not output.force):
                what = "is a folder" if out.is_dir() else "is there already"
                raise DataError(
                    f"--out {out} {what}; name another file{'' if out.is_dir() else ', or replace it (--force)'}"
                )
            if output.force:
                partial._remove()
            elif partial._notes.exists() and partial._lines.exists() and not output.resume:
                raise DataError(
                    f"{partial._lines} is what an interrupted classification left; continue it with --resume, or start "
                    "again with --force"
                )
            yield partial

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = self.out.with_name(f"{self.out.name}.partial.lock")
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ProcessError(
                f"another process is classifying into {self.out}; wait for it, or choose another file"
            ) from None
        try:
            yield
        finally:
            with suppress(OSError):  # Windows keeps a file that is open
                path.unlink()
            lock.release()

    @property
    def _lines(self) -> Path:
        return self.out.with_name(f"{self.out.name}.partial")

    @property
    def _notes(self) -> Path:
        return self.out.with_name(f"{self.out.name}.partial.json")

    @contextmanager
    def open(
        self, rows: Rows, settings: dict[str, Any], *, columns: Callable[[], tuple[str, ...]], chunk: int
    ) -> Iterator[Journal]:
        """The output with what is left to be done: all, or the rest.

        Args:
            rows: All rows with their numbers.
            settings: What the lines depend on, apart from the texts.
            columns: Gives those that are kept, as far as they are known before the first row.
            chunk: The classifier's largest.

        Raises:
            DataError: An interrupted output is of other settings or texts.
        """
        from tanzaku.ship.classifier import chunk_sizes

        note = self._read(settings)
        digest, size, tally = hashlib.sha256(), 0, Tally()
        if note is not None:
            size, tally = note.size_bytes, Tally.from_json(note.tally)
            self._take(rows, digest, note, tally.texts)
        with self._lines.open("r+b" if size else "wb") as binary:
            binary.truncate(size)
            binary.seek(size)
            stream = io.TextIOWrapper(binary, encoding=self.encoding, newline="\n", errors="strict")
            yield Journal(
                stream=stream,
                rows=rows,
                tally=tally,
                columns=note.columns if note else columns(),
                begun=note is not None,
                _settings=settings,
                _path=self._notes,
                _digest=digest,
                _ends=itertools.accumulate(chunk_sizes(chunk)),
            )
            stream.flush()
            os.fsync(stream.fileno())
            stream.detach()

    def _read(self, settings: dict[str, Any]) -> _Note | None:
        if not (self.resumes and self._notes.exists() and self._lines.exists()):
            return None
        remedy = "start again with --force"
        try:
            note = _Note.model_validate_json(self._notes.read_bytes())
        except ValidationError as error:
            raise DataError(f"{self._notes} can't be read: {describe_validation_error(error)}; {remedy}") from error
        changed = [name for name in settings if note.settings.get(name) != settings[name]]
        if changed:
            raise DataError(
                f"{self._lines} was begun with another setting of {changed[0].replace('_', '-')}; use the same bundle "
                f"and options, or {remedy}"
            )
        if self._lines.stat().st_size < note.size_bytes:
            raise DataError(f"{self._lines} is shorter than it was; {remedy}")
        return note

    def _take(self, rows: Rows, digest: Any, note: _Note, texts: int) -> None:
        """Read the rows that were classified before."""
        for number, row in itertools.islice(rows, texts):
            _update(digest, number, row)
        if digest.hexdigest() != note.texts_sha256:
            raise DataError(
                f"the first {texts:,} texts are not those of {self._lines} any more; give the same file, or start "
                "again with --force"
            )

    def finish(self) -> None:
        """Give the whole output its name."""
        whole = self._lines
        if self.kind is Format.XLSX:
            whole = self.out.with_name(f".{self.out.name}.{os.getpid()}.tmp")
            self._write_workbook(whole)
        whole.replace(self.out)
        sync_directory(self.out.parent)
        self._remove()

    def _write_workbook(self, path: Path) -> None:
        import warnings

        from tanzaku.data.workbook import write_workbook

        try:
            with self._lines.open(encoding="utf-8", newline="\n") as lines:
                cut = write_workbook(path, map(json.loads, lines))
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        if cut:
            texts = "1 text was cut" if cut == 1 else f"{cut:,} texts were cut"
            warnings.warn(f"{texts} to the 32,767 characters that a cell holds", TanzakuWarning, stacklevel=2)

    def _remove(self) -> None:
        for path in (self._notes, self._lines):
            path.unlink(missing_ok=True)


def _update(digest: Any, number: int, row: "Row") -> None:
    content = json.dumps([number, row.text, row.columns], ensure_ascii=False, default=str)
    digest.update(content.encode("utf-8", errors="surrogatepass") + b"\n")
