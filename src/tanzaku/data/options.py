"""How somebody's documents are read, and what is done about rows and labels: one object for all sources."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tanzaku.data.decoding import DEFAULT_ENCODING
from tanzaku.errors import DataError

_TEXT, _LABEL, _SEPARATOR = "text", "label", "\n"
_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "\\t": "\t"}


@dataclass(frozen=True)
class ReadOptions:
    """How to read a source; the defaults suit a UTF-8 file with the columns `text` and `label`.

    Raises:
        DataError: An option has no valid value.
    """

    format: str | None = None
    """One of `tanzaku.data.readers.FORMATS`; None: by the file's ending."""
    text_column: str | Sequence[str] = _TEXT
    """The column, or JSON key, that has the text of a document; of several, the texts are joined in this order."""
    label_column: str = _LABEL
    """The column, or JSON key, that has its class."""
    group_column: str | None = None
    """The column, or JSON key, that has its group: all documents of a group are in the same split."""
    text_separator: str = _SEPARATOR
    """What separates the texts of several columns; empty ones are left out."""
    encoding: str = DEFAULT_ENCODING
    """The text files' encoding, by Python's name for it; a byte order mark is allowed."""
    delimiter: str | None = None
    """What separates the columns of a CSV file: a character, or a name such as `"tab"`; None: as its content shows."""
    quotes: bool = True
    """Whether double quotes enclose fields in CSV and TSV; False takes every quote as text."""
    sheet: str | None = None
    """The sheet of a spreadsheet; None: the first."""
    skip: tuple[str, ...] = ()
    """In a folder per class: patterns (`LICENSE*`) of file names that are not documents."""
    drop_empty: bool = False
    """Leave out rows with an empty text; otherwise they are an error."""
    drop_unlabelled: bool = False
    """Leave out rows without a label; otherwise they are an error."""
    normalize_labels: bool = False
    """Merge labels that differ only in width (NFKC), case, white space or invisible characters."""
    merge_small: tuple[int, str] | None = None
    """(N, name): classes of fewer than N rows become one class of this name."""
    drop_small: int | None = None
    """N: leave out the rows of classes of fewer than N rows."""
    conflicts: Literal["keep", "drop"] = "keep"
    """Whether the rows of a text that has several labels are kept, in one split, or left out."""

    def __post_init__(self) -> None:
        if not self.text_columns:
            raise DataError("at least one text column is needed; name it with --text-column")
        if self.merge_small and self.drop_small is not None:
            raise DataError("--merge-small and --drop-small were both given; give one of them")
        smallest = self.merge_small[0] if self.merge_small else self.drop_small
        if smallest is not None and smallest < 2:
            raise DataError(f"small classes are those of fewer than N rows, and N is {smallest}; give 2 or more")
        if self.conflicts not in ("keep", "drop"):
            raise DataError(f"there is no policy {self.conflicts!r} for conflicting labels; give keep or drop")
        delimiter_named(self.delimiter)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns of the text, in the order in which they are joined."""
        return (self.text_column,) if isinstance(self.text_column, str) else tuple(self.text_column)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read: those of the text, the label's, and the group's if there is one."""
        group = () if self.group_column is None else (self.group_column,)
        return (*self.text_columns, self.label_column, *group)

    def without_effect(
        self, *, columns: bool, encoded: bool, separators: bool = False, sheets: bool = False, files: bool = False
    ) -> list[str]:
        """The options that were given and can't have an effect, by their names on the command line of `data import`.

        Args:
            columns: Whether the source has columns with names.
            encoded: Whether it is text, in some encoding.
            separators: Whether it is a CSV or TSV file.
            sheets: Whether it is a spreadsheet.
            files: Whether it is a folder per class.
        """
        given = {
            "--text-column": self.text_columns != (_TEXT,) and not columns,
            "--label-column": self.label_column != _LABEL and not columns,
            "--group-column": self.group_column is not None and not columns,
            "--text-separator": self.text_separator != _SEPARATOR and not (columns and len(self.text_columns) > 1),
            "--encoding": self.encoding != DEFAULT_ENCODING and not encoded,
            "--delimiter": self.delimiter is not None and not separators,
            "--no-quotes": not self.quotes and not separators,
            "--sheet": self.sheet is not None and not sheets,
            "--skip": bool(self.skip) and not files,
        }
        return [name for name, useless in given.items() if useless]

    def join(self, texts: Sequence[str]) -> str:
        """The text of a document, made of those of its text columns."""
        return texts[0] if len(texts) == 1 else self.text_separator.join(text for text in texts if text.strip())

    def as_json(self) -> dict[str, Any]:
        """All options, for a manifest."""
        return asdict(self) | {
            "text_column": self.text_columns[0] if len(self.text_columns) == 1 else list(self.text_columns),
            "skip": list(self.skip),
            "merge_small": list(self.merge_small) if self.merge_small else None,
        }


def delimiter_named(delimiter: str | None) -> str | None:
    """The character that an option for the delimiter means.

    Raises:
        DataError: It is not one character, nor one of the names.
    """
    if delimiter is None:
        return None
    character = _DELIMITERS.get(delimiter.lower(), delimiter)
    if len(character) != 1 or character in '"\r\n':
        raise DataError(
            f"the delimiter {delimiter!r} is not valid; give one character such as ';', or one of "
            f"{', '.join(list(_DELIMITERS)[:4])}"
        )
    return character


def size_and_name(text: str) -> tuple[int, str]:
    """What `--merge-small` means, such as `"5:その他"`.

    Raises:
        DataError: It is not a number and a name.
    """
    number, colon, name = text.partition(":")
    if not (colon and number.strip().isdecimal() and name.strip()):
        raise DataError(f"--merge-small {text!r} is not N:NAME; give a number of rows and a name, such as 5:その他")
    return int(number), name.strip()
