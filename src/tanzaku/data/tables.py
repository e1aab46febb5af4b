"""From the rows of a table, whatever it came from, to documents."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from tanzaku.data.columns import SAMPLED_ROWS, find_columns
from tanzaku.data.findings import Finding
from tanzaku.data.options import ReadOptions
from tanzaku.data.raw import RawDocuments, RowError
from tanzaku.data.rows import label_of, text_of
from tanzaku.data.separated import check_fields

Values = Sequence[Any] | Mapping[str, Any]
"""Those of a row: one for each column; or an object of JSON Lines, which need not have every key."""
_ABSENT = object()
"""The value of a key that an object does not have."""


@dataclass
class Table:
    """A table as a reader gives it.

    Attributes:
        rows: Each row with its place, or the error that it can't be read.
        names: Of the columns, those of objects in the order in which they appear; None if the first row has them.
        problems: What is wrong with the source.
        noun: What a column is called.
        label_names: The names of the classes if labels are their numbers.
    """

    rows: Iterator[tuple[str, Values] | RowError] | Iterator[tuple[str, Sequence[Any]]]
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
    found = find_columns(names, _in_columns(readable), options, noun=table.noun, first_row=table.names is None)
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


def _in_columns(rows: Sequence[Values]) -> list[Sequence[Any]]:
    """The values of the first rows column by column. Keys that only later objects have come last and are left out:
    there can be as many as rows."""
    keys = dict.fromkeys(key for row in rows if isinstance(row, Mapping) for key in row)
    return [[row.get(key, _ABSENT) for key in keys] if isinstance(row, Mapping) else row for row in rows]


def _add(
    row: tuple[str, Values],
    documents: RawDocuments,
    names: list[str],
    places: list[int],
    options: ReadOptions,
    table: Table,
) -> None:
    place, values = row
    count = len(options.text_columns)
    try:
        if isinstance(values, Mapping):
            wanted = _values_of(values, [names[column] for column in places], options, place)
        else:
            check_fields(values, names, place)
            wanted = [values[column] for column in places]
        texts = [text_of(value, place) for value in wanted[:count]]
        label = label_of(wanted[count], place, names=table.label_names)
        group = None if options.group_column is None else label_of(wanted[-1], place, what="group")
        documents.add(options.join(texts), label, place, group=group)
    except RowError as error:
        documents.refuse(error)


def _values_of(values: Mapping[str, Any], keys: Sequence[str], options: ReadOptions, place: str) -> list[Any]:
    """The values of an object: of its texts, its label and its group. One that it lacks is empty if rows without it are
    left out; an object need not have a group.

    Raises:
        RowError: There is no text or no label.
    """
    texts = len(options.text_columns)
    for key, option, dropped in (
        *((key, "--drop-empty", options.drop_empty) for key in keys[:texts]),
        (keys[texts], "--drop-unlabelled", options.drop_unlabelled),
    ):
        if key not in values and not dropped:
            raise RowError(
                f"{place}: there is no key {key!r}, the keys are: {', '.join(map(repr, values))}",
                f"Give every object the keys of text and label, or pass {option} to leave out those without.",
                kind="missing-key",
            )
    return [values.get(key) for key in keys]
