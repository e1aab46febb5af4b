"""From the rows of a table, whatever it came from, to documents."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from tanzaku.data.columns import SAMPLED_ROWS, find_columns
from tanzaku.data.findings import Finding
from tanzaku.data.options import ReadOptions
from tanzaku.data.raw import RawDocuments, RowError
from tanzaku.data.rows import label_of, text_of
from tanzaku.data.separated import check_fields

ABSENT = object()
"""The value of a key that an object of JSON Lines does not have."""


@dataclass
class Table:
    """A table as a reader gives it.

    Attributes:
        rows: Each row with its place, or the error that it can't be read.
        names: Of the columns; None if the first row has them.
        problems: What is wrong with the source.
        noun: What a column is called.
        label_names: The names of the classes if labels are their numbers.
    """

    rows: Iterator[tuple[str, Sequence[Any]] | RowError] | Iterator[tuple[str, Sequence[Any]]]
    names: list[str] | None = None
    problems: list[Finding] = field(default_factory=list)
    noun: str = "column"
    label_names: Sequence[str] | None = None


def documents_of(table: Table, options: ReadOptions, *, blank: Callable[[], int] = lambda: 0) -> RawDocuments:
    """The documents of a table.

    Args:
        table: The rows.
        options: The wanted columns.
        blank: The number of empty rows, asked when all rows were taken.
    """
    documents = RawDocuments(problems=table.problems)
    names = table.names
    if names is None:
        first = next(table.rows, None)
        if first is None or isinstance(first, RowError):
            documents.refuse(first or RowError("the table is empty", "It needs a row with the names of the columns."))
            return documents
        names = [name.strip() if isinstance(name, str) else str(name) for name in first[1]]
    sample = list(islice(table.rows, SAMPLED_ROWS))
    readable = [row[1] for row in sample if not isinstance(row, RowError)]
    found = find_columns(names, readable, options, noun=table.noun, first_row=table.names is None)
    documents.problems += found.problems
    documents.suggestion = found.suggestion
    if found.places is None:
        return documents
    skipped = 0
    for row in chain(sample, table.rows):
        if isinstance(row, RowError):
            documents.refuse(row)
        elif skipped < found.skip:
            skipped += 1
        else:
            _add(row, documents, found.names, found.places, options, table)
    documents.blank = blank()
    return documents


def _add(
    row: tuple[str, Sequence[Any]],
    documents: RawDocuments,
    names: list[str],
    places: list[int],
    options: ReadOptions,
    table: Table,
) -> None:
    place, values = row
    count = len(options.text_columns)
    try:
        check_fields(values, names, place)
        for column in places[: count + 1]:
            if values[column] is ABSENT:
                raise _absent(place, names, values, names[column])
        texts = [text_of(values[column], place) for column in places[:count]]
        label = label_of(values[places[count]], place, names=table.label_names)
        group = None
        if options.group_column is not None:
            value = values[places[-1]]
            group = label_of(None if value is ABSENT else value, place, what="group")
        documents.add(options.join(texts), label, place, group=group)
    except RowError as error:
        documents.refuse(error)


def _absent(place: str, names: list[str], values: Sequence[Any], name: str) -> RowError:
    there = [repr(one) for one, value in zip(names, values, strict=True) if value is not ABSENT]
    return RowError(
        f"{place}: there is no key {name!r}, the keys are: {', '.join(there)}",
        "Give every object the keys of text and label.",
        kind="missing-key",
    )
