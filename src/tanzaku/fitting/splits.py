"""The documents of a fit: some are set aside for the test, the others are cross-validated.

In each fold, the documents that are classified choose nothing: the epoch is chosen on documents that are taken from the
others. So all methods are measured alike, those that choose an epoch and those that don't.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.grouping import assign_groups
from tanzaku.data.split import pick

TEST_SHARE = 0.2
VALIDATION_SHARE = 0.1
FOLDS = 5
ENOUGH = 1000
"""With so many documents a single fold decides: its 95 % interval is about ±2 points at 90 %."""


@dataclass(frozen=True)
class Splits:
    """`whole` has the test documents, and trains on all others; each of `folds` tests on some of those others."""

    whole: Dataset
    folds: tuple[Dataset, ...]

    @property
    def documents(self) -> int:
        """How many documents the folds classify together."""
        return sum(len(fold.test) for fold in self.folds)


def split_for_fit(documents: Documents, groups: Sequence[int], *, name: str, seed: int, folds: int = FOLDS) -> Splits:
    """Set test documents aside, and make the folds of the others: class by class, groups whole.

    Args:
        documents: All of them.
        groups: Row i's group, such as that of rows with the same text.
        name: Of the data sets.
        seed: Of the order in which groups are dealt out.
        folds: How many; where there are so many documents that the first one has `ENOUGH`, only that is made.
    """
    every = list(range(len(documents)))
    others, test = _apart(every, documents, groups, share=TEST_SHARE, seed=seed)
    parts = _parts(others, documents, groups, shares=[1 / folds] * folds, seed=seed)
    if len(parts[0]) >= ENOUGH:
        parts = parts[:1]
    made = []
    for number, part in enumerate(parts, start=1):
        there = set(part)
        held = _held(part, [row for row in others if row not in there], documents, groups)
        made.append(_dataset(others, held, documents, groups, name=f"{name}-fold-{number}", seed=seed))
    return Splits(_dataset([*others, *test], test, documents, groups, name=name, seed=seed), tuple(made))


def fewer(fold: Dataset, *, share: float, seed: int) -> Dataset:
    """The fold with only a share of its training documents, of each class one at least, for a learning curve."""
    rows = list(range(len(fold.train)))
    _, taken = _apart(rows, fold.train, rows, share=share, seed=seed, whole=True)
    return Dataset(
        name=f"{fold.name}-{share:g}",
        train=pick(fold.train, taken),
        val=fold.val,
        test=fold.test,
        label_names=fold.label_names,
    )


def _dataset(
    rows: Sequence[int], test: Sequence[int], documents: Documents, groups: Sequence[int], *, name: str, seed: int
) -> Dataset:
    """Of `rows`, those of `test` are tested, and the others are split into train and val."""
    held = set(test)
    train, val = _apart([row for row in rows if row not in held], documents, groups, share=VALIDATION_SHARE, seed=seed)
    return Dataset(
        name=name,
        train=pick(documents, train),
        val=pick(documents, val),
        test=pick(documents, sorted(test)),
        label_names=tuple(sorted(set(documents.labels))),
    )


def _apart(
    rows: Sequence[int],
    documents: Documents,
    groups: Sequence[int],
    *,
    share: float,
    seed: int,
    whole: bool = False,
) -> tuple[list[int], list[int]]:
    """The rows that stay and those that are taken, in row order. The one side has every class, `whole` the other."""
    kept, taken = _parts(rows, documents, groups, shares=[1 - share, share], seed=seed)
    taken = sorted({*taken, *_lacking(taken, kept, documents)}) if whole else _held(taken, kept, documents, groups)
    held = set(taken)
    return [row for row in rows if row not in held], taken


def _parts(
    rows: Sequence[int], documents: Documents, groups: Sequence[int], *, shares: Sequence[float], seed: int
) -> list[list[int]]:
    labels = [documents.labels[row] for row in rows]
    parts = assign_groups(labels, [groups[row] for row in rows], shares=shares, seed=seed)
    return [[rows[place] for place in part] for part in parts]


def _held(taken: Sequence[int], kept: Sequence[int], documents: Documents, groups: Sequence[int]) -> list[int]:
    """`taken` without the groups of classes that the kept rows would lack: what is not trained on can't be tested."""
    lacking = {documents.labels[row] for row in taken} - {documents.labels[row] for row in kept}
    back = {groups[row] for row in taken if documents.labels[row] in lacking}
    return sorted(row for row in taken if groups[row] not in back)


def _lacking(taken: Sequence[int], kept: Sequence[int], documents: Documents) -> list[int]:
    """A kept row of each class that `taken` lacks."""
    first: dict[str, int] = {}
    for row in kept:
        first.setdefault(documents.labels[row], row)
    there = {documents.labels[row] for row in taken}
    return [row for label, row in first.items() if label not in there]
