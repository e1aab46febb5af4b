"""What must hold before a study starts on some documents; each error names the rows and the remedy."""

import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from tanzaku.data.characters import is_empty, show_invisible, without_invisible
from tanzaku.data.dataset import Dataset
from tanzaku.data.decoding import is_text
from tanzaku.data.raw import RawDocuments, fault_messages, listed
from tanzaku.display import counted
from tanzaku.errors import DataError, TanzakuWarning

_LABEL_WIDTH = 30  # of a label in a message


def check_rows(documents: RawDocuments) -> None:
    """Every row could be read, and has a text, a label, and only characters that UTF-8 can hold.

    Raises:
        DataError: Some rows don't; all kinds of faults are named, each with its first five rows.
    """
    broken = [row for row in range(len(documents)) if not is_text(documents.texts[row] + documents.labels[row])]
    faults = (
        (empty_rows(documents), "an empty text", "Fill them, or pass --drop-empty to leave them out."),
        (unlabelled_rows(documents), "no label", "Fill them, or pass --drop-unlabelled to leave them out."),
        (broken, "half a surrogate pair, which is not a character", "Correct the escapes (\\ud800 to \\udfff)."),
    )
    messages = fault_messages(documents) + [
        f"{len(rows):,} of {counted(len(documents), 'row')} {'has' if len(rows) == 1 else 'have'} {what}: "
        f"{listed([documents.places[row] for row in rows])}. {remedy}"
        for rows, what, remedy in faults
        if rows
    ]
    if messages:
        raise DataError("\n".join(messages))


def empty_rows(documents: RawDocuments) -> list[int]:
    """The rows whose text holds nothing but white space, control and invisible characters."""
    return [row for row, text in enumerate(documents.texts) if is_empty(text)]


def unlabelled_rows(documents: RawDocuments) -> list[int]:
    """The rows whose label holds nothing but white space, control and invisible characters."""
    return [row for row, label in enumerate(documents.labels) if is_empty(label)]


def check_classes(labels: Sequence[str], *, texts: Sequence[str]) -> None:
    """There are two classes at least, and the labels are not the texts.

    Raises:
        DataError: There are fewer, or the columns seem to be swapped.
    """
    names = sorted(set(labels))
    if len(names) > len(set(texts)) and sum(map(len, labels)) > sum(map(len, texts)):
        raise DataError(
            f"there are {len(names):,} different labels and only {counted(len(set(texts)), 'different text')}: "
            f"{listed([_short(name) for name in names])}. The columns seem to be swapped: name them with --text-column "
            "and --label-column."
        )
    if len(names) < 2:
        raise DataError(
            f"all documents have the label {_short(names[0])}: a classifier needs two classes at least. "
            "Check that --label-column names the right column."
        )


def warn_of_similar_labels(labels: Iterable[str]) -> None:
    """Warn of labels that differ only in case, width, surrounding white space or invisible characters: they are most
    likely one class."""
    counts = Counter(labels)
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for label in sorted(counts):
        alike[unicodedata.normalize("NFKC", without_invisible(label)).casefold().strip()].append(label)
    groups = [
        " and ".join(f"{show_invisible(label)} ({counted(counts[label], 'row')})" for label in group)
        for group in alike.values()
        if len(group) > 1
    ]
    if groups:
        warnings.warn(
            "labels that differ only in case, width, white space or invisible characters are taken as different "
            f"classes: {listed(groups)}. "
            "Spell them alike if they mean one class.",
            TanzakuWarning,
            stacklevel=2,
        )


def check_class_sizes(sizes: dict[str, int], *, needed: int, what: str = "rows") -> None:
    """Every class has rows enough that each split gets one.

    Args:
        sizes: The number of rows, or groups of rows that stay together, of each class.
        needed: The smallest number that gives every split one.
        what: What is counted, in words.

    Raises:
        DataError: A class has fewer than `needed`.
    """
    small = [f"{_short(label)} has {size}" for label, size in sorted(sizes.items()) if size < needed]
    if small:
        raise DataError(
            f"a class needs {needed} {what} at least to be split in these ratios: {listed(small)}. "
            "Add documents, merge the class with another, or change --train-size and --val-size."
        )


def check_splits(dataset: Dataset) -> None:
    """No split is empty, and every class in val or test is in train too; a class that only train has is warned of.

    Raises:
        DataError: A class can't be learned because train has none of its rows, or a split is empty.
    """
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    for split, documents in splits.items():
        if not len(documents):
            raise DataError(f"{split}: holds no documents. Give it some, or let Tanzaku split the data.")
    known = set(dataset.train.labels)
    for split in ("val", "test"):
        unknown = Counter(label for label in splits[split].labels if label not in known)
        if unknown:
            named = [f"{_short(label)} ({counted(count, 'row')})" for label, count in sorted(unknown.items())]
            raise DataError(
                f"{split}: has classes that train does not have: {listed(named)}. Add documents of them to train, "
                "remove them, or check the labels' spelling; train's classes are: "
                + listed(sorted(map(_short, known)))
                + "."
            )
        missing = sorted(known - set(splits[split].labels))
        if missing:
            warnings.warn(
                f"{split}: has no documents of {listed([*map(_short, missing)])}, so it says nothing about them.",
                TanzakuWarning,
                stacklevel=2,
            )


def warn_of_shared_texts(dataset: Dataset) -> None:
    """Warn of texts that stand in train and in another split: they make the result look better than it is."""
    train = set(dataset.train.texts)
    for split, documents in (("val", dataset.val), ("test", dataset.test)):
        shared = sum(text in train for text in documents.texts)
        if shared:
            warnings.warn(
                f"{split}: {shared:,} of {counted(len(documents), 'text')} {'is' if shared == 1 else 'are'} in train "
                f"too, word for word, which makes the figures on {split} look better than they are.",
                TanzakuWarning,
                stacklevel=2,
            )


def _short(label: str) -> str:
    return repr(label if len(label) <= _LABEL_WIDTH else f"{label[:_LABEL_WIDTH]}…")
