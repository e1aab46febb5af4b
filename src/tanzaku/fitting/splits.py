"""The documents of a fit: some are set aside for the test, the others are cross-validated.

In each fold, the documents that are classified choose nothing: the epoch is chosen on documents that are taken from the
others. So all methods are measured alike, those that choose an epoch and those that don't.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tanzaku.analysis.run_scores import FEWEST_GROUPS
from tanzaku.analysis.selection import Selectable, select
from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.findings import Finding, raise_errors
from tanzaku.data.grouping import assign_groups
from tanzaku.data.labels import remedies, short
from tanzaku.data.raw import listed
from tanzaku.data.split import pick
from tanzaku.display import counted
from tanzaku.fitting.race import classes_of, groups_of
from tanzaku.measure.metrics import DEFAULT_CHOOSE_BY, ChooseBy

TEST_SHARE = 0.2
VALIDATION_SHARE = 0.1
FOLDS = 5
ENOUGH = 1000
"""With so many documents a single fold decides: its 95 % interval is about ±2 points at 90 %."""
_FEWEST_GROUPS = 4
"""Of a class: one to test on in the end, one to test a fold on, one to choose the epoch on, and one to train on."""
_FEWEST_ROWS = 5  # so many of each class are tested in the end and in the folds
_SHARE_OF_GROUP = 0.1  # of the documents of a fold that decides without the others, at most
_MANY_GROUPS = 30  # with so many, it is not their number that leaves something undecided
_MORE_GROUPS = (
    "Add documents of other groups, name a column with smaller groups with --group-column, or leave it out if they "
    "have nothing in common."
)
_FEW, _TOLERANCE = 2, 0.05  # documents, and as a share: so much more or less is not worth a warning
_SMALL = ""  # no class has this name


@dataclass(frozen=True)
class Splits:
    """`whole` has the test documents, and trains on all others; each of `folds` tests on some of those others."""

    whole: Dataset
    folds: tuple[Dataset, ...]
    large_groups: tuple[int, ...] = ()
    """How many documents each group has that is larger than a fold, and therefore trained on in every fold."""
    only_trained: int = 0
    """How many documents are trained on in every fold: those of large groups, and some of classes with few documents,
    since each class must be trained on."""

    @property
    def documents(self) -> int:
        """How many documents the folds classify together."""
        return sum(len(fold.test) for fold in self.folds)

    @property
    def groups(self) -> int | None:
        """Of how many groups the documents are that the folds classify; None where no column has groups."""
        found = groups_of([fold.test for fold in self.folds])
        return None if found is None else len(np.unique(found))

    @property
    def without_test(self) -> tuple[str, ...]:
        """The classes that the test set has no documents of."""
        return tuple(sorted(set(self.whole.label_names) - set(self.whole.test.labels)))


def split_for_fit(
    documents: Documents, groups: Sequence[int], *, name: str, seed: int, folds: int = FOLDS, by_column: bool = False
) -> Splits:
    """Set test documents aside, and make the folds of the others: class by class, groups whole.

    A group that is larger than a fold is trained on in every fold: as one of them, it would make folds that can't be
    compared.

    Args:
        documents: All of them.
        groups: Row i's group, such as that of rows with the same text.
        name: Of the data sets.
        seed: Of the order in which groups are dealt out.
        folds: How many; fewer where there is nothing to test some of them on, and a single one where one that has many
            groups has `ENOUGH` documents.
        by_column: The groups are those of a column, and not only of documents with the same text.

    Raises:
        DataError: There are too few documents, or groups, to test and to train on, or to compare candidates.
    """
    every = list(range(len(documents)))
    others, test = _apart(every, documents, groups, share=TEST_SHARE, seed=seed)
    large = _large(others, groups, folds=folds)
    dealt = [row for row in others if groups[row] not in large]
    parts = _parts(dealt, documents, groups, shares=[1 / folds] * folds, seed=seed)
    parts = next(([part] for part in parts if _is_enough(part, groups)), parts)
    made: list[Dataset] = []
    for part in parts:
        there = set(part)
        held = _held(part, [row for row in others if row not in there], documents, groups)
        fold = _dataset(others, held, documents, groups, name=f"{name}-fold-{len(made) + 1}", seed=seed)
        if len(fold.test) and len(fold.val):
            made.append(fold)
    whole = _dataset(every, test, documents, groups, name=name, seed=seed)
    if not made or not len(whole.test) or not len(whole.val):
        raise_errors([_too_few(documents, groups, by_column=by_column)])
    only_trained = len(others) - len(dealt) + sum(map(len, parts)) - sum(len(fold.test) for fold in made)
    splits = Splits(whole, tuple(made), tuple(sorted(large.values(), reverse=True)), only_trained)
    raise_errors(_undecided(splits.groups))
    return splits


def warnings_of(splits: Splits, *, choose_by: ChooseBy = DEFAULT_CHOOSE_BY) -> list[Finding]:
    """What about the split documents should be looked at.

    Args:
        splits: From `split_for_fit`.
        choose_by: What of the folds' documents candidates will be compared by.
    """
    return [
        *_large_groups(splits.large_groups),
        *_unusual_sizes(splits.whole),
        *_few_groups(splits, choose_by=choose_by),
    ]


def _undecided(groups: int | None) -> list[Finding]:
    """The problem that candidates can't be compared at all."""
    if groups is None or groups >= FEWEST_GROUPS:
        return []
    message = (
        f"the documents that the folds would classify are of {counted(groups, 'group', 'groups')}: with fewer than "
        f"{FEWEST_GROUPS}, no candidate can be distinguished from always answering the most frequent class. "
        f"{_MORE_GROUPS}"
    )
    return [Finding("too-few-groups", message)]


def _few_groups(splits: Splits, *, choose_by: ChooseBy) -> list[Finding]:
    """A warning where even a classifier with a tenth of the mistakes that always answering the most frequent class
    makes would count as being at chance level, and hence not be recommended."""
    groups, found = groups_of([fold.test for fold in splits.folds]), splits.groups
    if groups is None or found is None or found >= _MANY_GROUPS:
        return []
    classes = np.concatenate([classes_of(fold) for fold in splits.folds])
    frequent, labels = np.bincount(classes).argmax(), len(splits.whole.label_names)
    predicted = classes.copy()
    predicted[np.flatnonzero(classes != frequent)[9::10]] = frequent
    good = [Selectable(predicted, 0)]
    if select(good, classes, labels=labels, margin=0.0, choose_by=choose_by, groups=groups).recommended is not None:
        return []
    message = (
        f"the documents that the folds classify are of {counted(found, 'group', 'groups')}, and those of a group do "
        "not count as independent: even a classifier with a tenth of the mistakes could not be distinguished from "
        f"always answering the most frequent class, so that probably none is going to be recommended. {_MORE_GROUPS}"
    )
    return [Finding("few-groups", message, "warning")]


def _large_groups(large: Sequence[int]) -> list[Finding]:
    if not large:
        return []
    sizes = ", ".join(f"{size:,}" for size in large)
    message = (
        f"{counted(len(large), 'group is', 'groups are')} larger than a fold, with {sizes} documents: trained on in "
        "every fold, and never classified there. What is measured concerns the other groups only."
    )
    return [Finding("large-groups", message, "warning")]


def _unusual_sizes(whole: Dataset) -> list[Finding]:
    """A warning where the test or the validation set has not about its share of the documents."""
    train, val, test = len(whole.train), len(whole.val), len(whole.test)
    total = train + val + test
    off = max(abs(test - TEST_SHARE * total), abs(val - VALIDATION_SHARE * (train + val)))
    if off <= max(_FEW, _TOLERANCE * total):
        return []
    usual = ((1 - VALIDATION_SHARE) * (1 - TEST_SHARE), VALIDATION_SHARE * (1 - TEST_SHARE), TEST_SHARE)
    shares = "{:.0%}, {:.0%} and {:.0%}".format(*usual)
    message = (
        f"of {total:,} documents, {train:,} are trained on in the end, {val:,} choose the epoch and {test:,} are the "
        f"test set. It would be {shares} if each class did not have to be trained on and no group had to be kept whole."
    )
    return [Finding("unusual-sizes", message, "warning")]


def _large(rows: Sequence[int], groups: Sequence[int], *, folds: int) -> dict[int, int]:
    """The groups with more rows than a fold, and how many: where each fold is a group, more than half of all rows."""
    sizes = Counter(groups[row] for row in rows)
    most = len(rows) / (folds if len(sizes) > folds else 2)
    return {group: size for group, size in sizes.items() if size > most}


def _is_enough(part: Sequence[int], groups: Sequence[int]) -> bool:
    """Whether a fold can decide without the others: no group decides for it."""
    if len(part) < ENOUGH:
        return False
    return max(Counter(groups[row] for row in part).values()) <= _SHARE_OF_GROUP * len(part)


def _too_few(documents: Documents, groups: Sequence[int], *, by_column: bool) -> Finding:
    """The problem that nothing is left to test on, to choose the epoch on, or to train on."""
    found = Counter(label for label, _ in set(zip(documents.labels, groups, strict=True)))
    small = [f"{short(label)} has {size}" for label, size in sorted(found.items()) if size < _FEWEST_GROUPS]
    rows = Counter(documents.labels)
    why = "some documents are tested on, others choose the epoch, and each class must be trained on"
    if not by_column:
        message = (
            f"there are too few documents: {why}. A class needs {_FEWEST_GROUPS} different texts at least (those that "
            f"read alike count once): {listed(small)}. {remedies('Add documents', rows, fewest=_FEWEST_ROWS)}"
        )
        return Finding("too-few", message)
    largest = Counter(groups).most_common(1)[0][1]
    sizes = listed(small) if small else f"the largest group has {largest:,} of the {len(groups):,} documents"
    message = (
        f"the groups are too few or too large to be kept whole: {why}. A class needs documents of {_FEWEST_GROUPS} "
        f"groups at least (documents with the same text are one): {sizes}. {_MORE_GROUPS}"
    )
    if options := remedies("", rows, fewest=_FEWEST_ROWS):
        message += f" Or {options}"
    return Finding("too-few-groups", message)


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
    if whole:
        taken = sorted({*taken, *_lacking(taken, kept, documents)})
    else:
        taken = _held(taken, kept, documents, groups) or _spare(rows, documents, groups)
    held = set(taken)
    return [row for row in rows if row not in held], taken


def _parts(
    rows: Sequence[int], documents: Documents, groups: Sequence[int], *, shares: Sequence[float], seed: int
) -> list[list[int]]:
    labels, of_rows = [documents.labels[row] for row in rows], [groups[row] for row in rows]
    strata = _strata(labels, of_rows, share=min(shares, default=1.0))
    return [[rows[place] for place in part] for part in assign_groups(strata, of_rows, shares=shares, seed=seed)]


def _strata(labels: Sequence[str], groups: Sequence[int], *, share: float) -> list[str]:
    """The labels, but one for all classes that have too few groups for a part with this share to get one of each: if it
    did all the same, of many such classes it would get far more than its share."""
    found = Counter(label for label, _ in set(zip(labels, groups, strict=True)))
    return [_SMALL if found[label] * share < 1 - 1e-9 else label for label in labels]


def _held(taken: Sequence[int], kept: Sequence[int], documents: Documents, groups: Sequence[int]) -> list[int]:
    """`taken` without a group of each class that the kept rows lack: what is not trained on can't be tested."""
    there = {documents.labels[row] for row in kept}
    back: set[int] = set()
    for rows in _smallest_first(taken, groups):
        if not (labels := {documents.labels[row] for row in rows}) <= there:
            back.update(rows)
            there |= labels
    return sorted(set(taken) - back)


def _spare(rows: Sequence[int], documents: Documents, groups: Sequence[int]) -> list[int]:
    """The smallest group of rows whose classes the other rows have too; empty if there is none."""
    found = Counter(label for label, _ in {(documents.labels[row], groups[row]) for row in rows})
    every = _smallest_first(rows, groups)
    return next((one for one in every if all(found[documents.labels[row]] > 1 for row in one)), [])


def _smallest_first(rows: Sequence[int], groups: Sequence[int]) -> list[list[int]]:
    """The rows of each group."""
    rows_of: defaultdict[int, list[int]] = defaultdict(list)
    for row in rows:
        rows_of[groups[row]].append(row)
    return sorted(rows_of.values(), key=len)


def _lacking(taken: Sequence[int], kept: Sequence[int], documents: Documents) -> list[int]:
    """A kept row of each class that `taken` lacks."""
    first: dict[str, int] = {}
    for row in kept:
        first.setdefault(documents.labels[row], row)
    there = {documents.labels[row] for row in taken}
    return [row for label, row in first.items() if label not in there]
