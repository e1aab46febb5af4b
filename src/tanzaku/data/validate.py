"""What must hold before a study starts on some documents; each problem names the rows and the remedy."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from tanzaku.data.characters import is_empty
from tanzaku.data.dataset import Documents
from tanzaku.data.decoding import is_text
from tanzaku.data.findings import Finding
from tanzaku.data.grouping import same_text
from tanzaku.data.labels import short
from tanzaku.data.raw import HALF_CHARACTER, RawDocuments, listed
from tanzaku.data.spreadsheet import ERROR_VALUES
from tanzaku.display import counted

_TOLERANCE = 0.05  # as a share of all documents: a split that is so much larger or smaller is not worth a warning


def empty_rows(documents: RawDocuments) -> list[int]:
    """The rows whose text holds nothing but white space, control and invisible characters."""
    return [row for row, text in enumerate(documents.texts) if is_empty(text)]


def unlabelled_rows(documents: RawDocuments) -> list[int]:
    """The rows whose label holds nothing but white space, control and invisible characters."""
    return [row for row, label in enumerate(documents.labels) if is_empty(label)]


def _rows(documents: RawDocuments) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The number of each row, and its text, its label and, if there are groups, its group."""
    columns = [documents.texts, documents.labels, *([documents.groups] if documents.groups else [])]
    return enumerate(zip(*columns, strict=True))


def _broken_rows(documents: RawDocuments) -> list[int]:
    return [row for row, values in _rows(documents) if not is_text("".join(values))]


def _rows_with_error_values(documents: RawDocuments) -> list[int]:
    return [row for row, values in _rows(documents) if not ERROR_VALUES.isdisjoint(value.strip() for value in values)]


# Rows that can't be used: their kind, which they are, what they have, and the remedy.
_FAULTS: tuple[tuple[str, Callable[[RawDocuments], list[int]], str, str], ...] = (
    ("empty-text", empty_rows, "an empty text", "Fill them, or pass --drop-empty to leave them out."),
    ("no-label", unlabelled_rows, "no label", "Fill them, or pass --drop-unlabelled to leave them out."),
    (HALF_CHARACTER[0], _broken_rows, *HALF_CHARACTER[1:]),
    (
        "error-value",
        _rows_with_error_values,
        "an error value of a spreadsheet, such as #N/A or #REF!",
        "Correct the formula, or delete the value.",
    ),
)


def row_problems(documents: RawDocuments) -> list[Finding]:
    """Rows without a text or a label, with half characters or error values: one problem per kind; and a warning of
    characters that were lost before."""
    found = []
    for kind, rows_of, what, remedy in _FAULTS:
        if rows := rows_of(documents):
            if kind == "no-label" and _follow_labelled(rows):
                remedy += " In a spreadsheet, merged cells have a value in their first row only: undo them."
            found.append(Finding(kind, f"{_how_many(rows, documents)} {what}: {_places(rows, documents)}. {remedy}"))
    lost = [row for row, text in enumerate(documents.texts) if "\ufffd" in text]
    if lost:
        message = (
            f"{_how_many(lost, documents)} the replacement character U+FFFD: {_places(lost, documents)}. Characters "
            "were lost when the texts were converted before; convert them again from the original."
        )
        found.append(Finding("lost-characters", message, "warning"))
    return found


def unusable_rows(documents: RawDocuments) -> list[int]:
    """All rows that `row_problems` has an error for."""
    return sorted({row for _, rows_of, _, _ in _FAULTS for row in rows_of(documents)})


def _follow_labelled(rows: list[int]) -> bool:
    """Whether several rows without a label follow each other, below one that has one."""
    return rows[0] > 0 and any(other == row + 1 for row, other in itertools.pairwise(rows))


def _how_many(rows: list[int], documents: RawDocuments) -> str:
    return f"{len(rows):,} of {counted(len(documents), 'row')} {'has' if len(rows) == 1 else 'have'}"


def _places(rows: list[int], documents: RawDocuments) -> str:
    return listed([documents.places[row] for row in rows])


def empty_splits(splits: Mapping[str, Documents]) -> list[Finding]:
    """The problem that splits are empty."""
    return [
        Finding("empty-split", "holds no documents. Give it some, or let Tanzaku split the data.", source=split)
        for split, documents in splits.items()
        if not len(documents)
    ]


def unusual_sizes(splits: Mapping[str, Documents], shares: Mapping[str, float]) -> list[Finding]:
    """A warning of splits that have not about their shares of the documents, as where a large group stays whole.

    Args:
        splits: The documents of each.
        shares: The share that each was to have, of each class.
    """
    total = sum(map(len, splits.values()))
    rounding = 2 * len({label for documents in splits.values() for label in documents.labels})  # two rows of a class
    usual = {split: shares[split] * total for split in splits}
    if all(
        abs(len(documents) - usual[split]) <= max(rounding, _TOLERANCE * total) for split, documents in splits.items()
    ):
        return []
    sizes = ", ".join(f"{split} {len(documents):,} (about {usual[split]:,.0f})" for split, documents in splits.items())
    message = (
        f"the splits do not have the sizes that were asked for (in brackets): {sizes}. Documents of a group stay in "
        "one split, and so do equal texts unless --split-duplicates is given."
    )
    return [Finding("unusual-sizes", message, "warning")]


def split_problems(splits: Mapping[str, Documents]) -> list[Finding]:
    """Splits that are empty, classes in val or test that train does not have; and warnings of classes that only train
    has, and of texts that are in train and in another split, which make the result look better than it is.

    Args:
        splits: The documents of train, and of val and test if there are any yet.
    """
    found = empty_splits(splits)
    known, texts = set(splits["train"].labels), set(map(same_text, splits["train"].texts))
    for split in splits:
        if split == "train" or not len(splits[split]):
            continue
        if unknown := Counter(label for label in splits[split].labels if label not in known):
            named = [f"{short(label)} ({counted(count, 'row')})" for label, count in sorted(unknown.items())]
            message = (
                f"has classes that train does not have: {listed(named)}. Add documents of them to train, remove them, "
                f"or check the labels' spelling; train's classes are: {listed(sorted(map(short, known)))}."
            )
            found.append(Finding("unknown-class", message, source=split))
        if missing := sorted(known - set(splits[split].labels)):
            message = f"has no documents of {listed([*map(short, missing)])}, so it says nothing about them."
            found.append(Finding("missing-class", message, "warning", split))
        if shared := sum(same_text(text) in texts for text in splits[split].texts):
            message = (
                f"{shared:,} of {counted(len(splits[split]), 'text')} {'is' if shared == 1 else 'are'} in train too, "
                f"which makes the figures on {split} look better than they are."
            )
            found.append(Finding("shared-texts", message, "warning", split))
    return found
