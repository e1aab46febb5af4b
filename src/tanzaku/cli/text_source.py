"""Where `tanzaku classify` takes its texts from: arguments, a file, or standard input."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tanzaku.cli.classifying import Reading
from tanzaku.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Generator

    from tanzaku.data.options import ReadOptions
    from tanzaku.data.streaming import Refuse, Row

_STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Source:
    """Where the texts come from: as arguments, or from a file (`-` is standard input)."""

    texts: tuple[str, ...]
    file: Path | None
    options: "ReadOptions"
    keep_columns: bool

    def open(self, refuse: "Refuse | None" = None) -> "Iterator[Row]":
        """The texts with their rows, read as they are taken.

        Args:
            refuse: Gets the rows of a file that can't be read; None raises the error of the first one.
        """
        from tanzaku.data.streaming import Row, raise_fault, stream_lines, stream_rows

        if self.texts:
            return map(Row, self.texts)
        if self.file is None:
            return map(Row, stream_lines(sys.stdin.buffer, name="standard input", encoding=self.options.encoding))
        return stream_rows(self.file, self.options, keep_columns=self.keep_columns, refuse=refuse or raise_fault)

    def columns(self) -> tuple[str, ...]:
        """The columns to be kept, as far as they are known before the first row."""
        from tanzaku.data.streaming import column_names

        if not self.keep_columns or self.file is None:
            return ()
        return column_names(self.file, self.options)

    def check(self, refuse: "Refuse | None" = None) -> None:
        """Read the first text of a file, so that a missing column is reported before a model is loaded.

        Warns of what of the file is not read at all.
        """
        from tanzaku.data.streaming import warn_of_other_sheets

        if self.file is not None:
            with closing(cast("Generator[Row]", self.open(refuse))) as rows:
                next(rows, None)
            warn_of_other_sheets(self.file, self.options)


def source_of(texts: list[str], file: Path | None, given: Reading, *, keep_columns: bool) -> Source:
    """The source that the arguments and options name.

    Raises:
        DataError: They contradict each other, or the file is missing.
    """
    if file is None:
        file = _file_among(texts)
        texts = [] if file else texts
    piped = texts == [_STANDARD_INPUT] or (not texts and file is None) or file == Path(_STANDARD_INPUT)
    if texts and file is not None:
        raise DataError("texts and --file were both given; give one of them")
    if keep_columns and (piped or texts):
        raise DataError("--keep-columns needs a file with columns; texts and standard input have no columns")
    if piped and (sys.stdin is None or (not texts and file is None and sys.stdin.isatty())):
        raise DataError("no texts: give them as arguments, with --file, or pipe them in, one per line")
    file, options = None if piped else file, given.options()
    refuse_without_effect(file, options)
    return Source(texts=() if piped else tuple(texts), file=file, options=options, keep_columns=keep_columns)


def refuse_without_effect(file: Path | None, options: "ReadOptions") -> None:
    """Refuse options that can't have an effect on a file, or on texts from elsewhere (None)."""
    from tanzaku.data.streaming import options_without_effect

    if useless := options_without_effect(file, options):
        what = "texts and standard input, which have no columns" if file is None else str(file)
        raise DataError(
            f"{', '.join(useless)} can't have an effect on {what}; leave {'it' if len(useless) == 1 else 'them'} out"
        )


def _file_among(texts: list[str]) -> Path | None:
    """The file among the arguments, if any: a file name is hardly a text to classify."""
    from tanzaku.data.streaming import is_file_name

    for text in texts:
        if os.path.isdir(text):  # noqa: PTH112 - as below
            raise DataError(
                f"{text} is a folder. Name a file of texts in it (.txt, .csv, .tsv, .xlsx, .jsonl or .parquet); to "
                "classify the name itself, pipe it in."
            )
        is_file = os.path.isfile(text)  # noqa: PTH113 - unlike Path's, it takes a text of any length
        if not is_file and not is_file_name(text):
            continue
        if not is_file:
            raise DataError(f"{text}: there is no such file. Check the path; to classify the name itself, pipe it in.")
        if len(texts) > 1:
            raise DataError(f"{text} is a file, and other texts were given too. Give one file, or only texts.")
        return Path(text)
    return None
