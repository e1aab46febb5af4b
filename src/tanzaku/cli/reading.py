"""The options by which `tanzaku data import` and `tanzaku classify` read files."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from tanzaku.data.options import ReadOptions

TextSeparator = Annotated[
    str, typer.Option(help=r"What separates the texts of several columns; \n is a line break, \t a tab.")
]
Encoding = Annotated[
    str, typer.Option(help="Encoding of text files, such as cp932 or euc-jp. UTF-16 is recognised by its mark.")
]
Delimiter = Annotated[
    str | None,
    typer.Option(
        help="What separates the columns of a CSV file: comma, tab, semicolon, pipe or another character. "
        "Default: recognised from its content."
    ),
]
Sheet = Annotated[str | None, typer.Option(help="Sheet of a spreadsheet. Default: the first that has cells.")]
NoQuotes = Annotated[
    bool,
    typer.Option("--no-quotes", help="Read double quotes in CSV and TSV as text instead of as quotes around fields."),
]
LINE_BREAK = r"\n"


def unescaped(separator: str) -> str:
    """A separator as it is meant: a line break and a tab are hard to type in a shell."""
    return separator.replace(r"\n", "\n").replace(r"\t", "\t")


@dataclass(frozen=True)
class Reading:
    """Options for reading documents with labels, and for what becomes of rows and labels."""

    format: Annotated[
        str | None, typer.Option(help="csv, tsv, xlsx, jsonl, parquet or folder. Default: by the file extension.")
    ] = None
    text_column: Annotated[
        list[str] | None,
        typer.Option(help="Column or JSON key of the text; several are joined in this order.", show_default="text"),
    ] = None
    text_separator: TextSeparator = LINE_BREAK
    label_column: Annotated[str, typer.Option(help="Column or JSON key of the class.")] = "label"
    group_column: Annotated[
        str | None,
        typer.Option(help="Column or JSON key of a group, such as a customer; documents of a group stay in one split."),
    ] = None
    encoding: Encoding = "utf-8"
    delimiter: Delimiter = None
    no_quotes: NoQuotes = False
    sheet: Sheet = None
    skip: Annotated[
        list[str] | None,
        typer.Option(help="With a folder per class: names of files that are not documents, such as 'LICENSE*'."),
    ] = None
    drop_empty: Annotated[bool, typer.Option("--drop-empty", help="Leave out rows with an empty text.")] = False
    drop_unlabelled: Annotated[bool, typer.Option("--drop-unlabelled", help="Leave out rows without a label.")] = False
    normalize_labels: Annotated[
        bool,
        typer.Option(
            "--normalize-labels",
            help="Merge labels that differ only in width (NFKC), case, white space or invisible characters.",
        ),
    ] = False
    merge_small: Annotated[
        str | None,
        typer.Option(
            metavar="N:NAME", help="Merge classes of fewer than N rows into the class NAME, such as 5:その他."
        ),
    ] = None
    drop_small: Annotated[
        int | None, typer.Option(metavar="N", help="Leave out the rows of classes of fewer than N rows.")
    ] = None
    conflicts: Annotated[
        Literal["keep", "drop"],
        typer.Option(help="What becomes of a text that has several labels: all its rows are kept, or left out."),
    ] = "keep"

    def options(self) -> "ReadOptions":
        """As the readers take them."""
        from tanzaku.data.options import ReadOptions, size_and_name

        return ReadOptions(
            format=self.format,
            text_column=self.text_column or "text",
            text_separator=unescaped(self.text_separator),
            label_column=self.label_column,
            group_column=self.group_column,
            encoding=self.encoding,
            delimiter=self.delimiter,
            quotes=not self.no_quotes,
            sheet=self.sheet,
            skip=tuple(self.skip or ()),
            drop_empty=self.drop_empty,
            drop_unlabelled=self.drop_unlabelled,
            normalize_labels=self.normalize_labels,
            merge_small=size_and_name(self.merge_small) if self.merge_small else None,
            drop_small=self.drop_small,
            conflicts=self.conflicts,
        )
