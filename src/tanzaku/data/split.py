"""The seeded split, class by class; with the thesis's ratios and seed it equals the thesis's script A.1 row for row."""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.findings import Finding, raise_errors
from tanzaku.data.grouping import assign_groups, linked_groups, together
from tanzaku.data.labels import few_groups, small_classes
from tanzaku.errors import DataError

THESIS_SEED = 42
_SMALLEST_SHARE = 0.001


@dataclass(frozen=True)
class Ratios:
    """The shares of train and val in a class's rows, between 0 and 1; test gets the rest.

    Raises:
        DataError: One of the three shares is below 0.001.
    """

    train: float
    val: float

    def __post_init__(self) -> None:
        for name, share in (("train", self.train), ("val", self.val)):
            if not 0 < share < 1:
                percent = f"; for {share:g} % give {share / 100:g}" if 1 < share < 100 else ""
                raise DataError(f"{name} size {share:g} is not a share between 0 and 1{percent}.")
        # Written so that NaN, for which every comparison is false, is refused too.
        if not min(self.train, self.val, self.test) >= _SMALLEST_SHARE or math.isnan(self.test):
            raise DataError(
                f"train size {self.train:g} and val size {self.val:g} leave {self.test:g} for test: each of the three "
                f"shares must be {_SMALLEST_SHARE} at least."
            )

    @property
    def test(self) -> float:
        """What train and val leave, rounded so that 1 - 0.7 - 0.1 is 0.2."""
        return round(1 - self.train - self.val, 12)

    def counts(self, rows: int) -> tuple[int, int, int]:
        """How many of a class's rows go to train, val and test, as scikit-learn's `train_test_split` rounds."""
        train = math.floor(self.train * rows)
        test = math.ceil(self.test_of_rest * (rows - train))
        return train, rows - train - test, test

    @property
    def test_of_rest(self) -> float:
        """Test's share in what train leaves: 0.5 / 0.6 in the thesis."""
        return self.test / (self.test + self.val)

    @property
    def smallest_class(self) -> int:
        """The smallest number of rows that gives each of the three splits one."""
        return next(rows for rows in range(3, 10_000) if min(self.counts(rows)) > 0)


THESIS_RATIOS = Ratios(train=0.4, val=0.1)


@dataclass(frozen=True)
class Split:
    """Row numbers of the three splits: together every row, each once."""

    train: list[int]
    val: list[int]
    test: list[int]


def split_rows(
    labels: Sequence[str], *, ratios: Ratios, seed: int = THESIS_SEED, groups: Sequence[Hashable] | None = None
) -> Split:
    """Split rows class by class, the classes in alphabetical order, each shuffled with the same seed.

    Args:
        labels: Row i's class.
        ratios: The splits' shares in each class.
        seed: The seed of `train_test_split`; the same rows, ratios and seed give the same split.
        groups: Row i's group; rows of one group land in one split. The first row of each group is split, in the
            class of that row, and the others follow it, so a group of many rows counts as one.

    Raises:
        DataError: A class has too few rows, or groups, to give each split one.
    """
    cut = partial(_cut_in_three, ratios=ratios, seed=seed)
    train, val, test = _cut_classes(labels, groups, cut=cut, parts=3, needed=ratios.smallest_class)
    return Split(train, val, test)


def hold_out(
    labels: Sequence[str], *, share: float, seed: int = THESIS_SEED, groups: Sequence[Hashable] | None = None
) -> tuple[list[int], list[int]]:
    """Take `share` of each class's rows away, for a validation set where there is none.

    Args:
        labels: Row i's class.
        share: Between 0.001 and 0.999.
        seed: The seed of `train_test_split`.
        groups: As for `split_rows`.

    Returns:
        The rows that stay and those that are taken, both in row order.

    Raises:
        DataError: The share is out of range, or a class has fewer than two rows, or groups.
    """
    needed = _needed_to_hold_out(share)
    cut = partial(_cut_in_two, share=share, seed=seed)
    kept, taken = _cut_classes(labels, groups, cut=cut, parts=2, needed=needed)
    return sorted(kept), sorted(taken)


def _needed_to_hold_out(share: float) -> int:
    """The smallest number of rows of a class of which both sides get one.

    Raises:
        DataError: The share is out of range.
    """
    if not _SMALLEST_SHARE <= share <= 1 - _SMALLEST_SHARE:
        raise DataError(f"val size {share:g} is not between {_SMALLEST_SHARE} and {1 - _SMALLEST_SHARE}.")
    return next(rows for rows in range(2, 10_000) if math.ceil(share * rows) < rows)


def _cut_classes(
    labels: Sequence[str],
    groups: Sequence[Hashable] | None,
    *,
    cut: Callable[[list[int]], tuple[list[int], ...]],
    parts: int,
    needed: int,
) -> tuple[list[int], ...]:
    followers = _followers(labels, groups)
    classes = _classes(labels, followers)
    raise_errors(_too_small(classes, groups, needed=needed, rows=Counter(labels)))
    sides: tuple[list[int], ...] = tuple([] for _ in range(parts))
    for rows in classes.values():
        for side, chosen in zip(sides, cut(rows), strict=True):
            side.extend(member for row in chosen for member in followers[row])
    return sides


def _followers(labels: Sequence[str], groups: Sequence[Hashable] | None) -> dict[int, list[int]]:
    """Each group's rows under its first row, in row order; without groups every row stands alone."""
    if groups is None:
        return {row: [row] for row in range(len(labels))}
    first: dict[Hashable, int] = {}
    followers: dict[int, list[int]] = {}
    for row, group in enumerate(groups):
        followers.setdefault(first.setdefault(group, row), []).append(row)
    return followers


def _classes(labels: Sequence[str], followers: dict[int, list[int]]) -> dict[str, list[int]]:
    """The first rows of the groups, by their classes in alphabetical order."""
    classes: dict[str, list[int]] = {label: [] for label in sorted(set(labels))}
    for row in followers:
        classes[labels[row]].append(row)
    return classes


def _too_small(
    classes: dict[str, list[int]], groups: Sequence[Hashable] | None, *, needed: int, rows: Mapping[str, int]
) -> list[Finding]:
    what = "rows" if groups is None else "different texts (identical ones count once)"
    sizes = {label: len(found) for label, found in classes.items()}
    return small_classes(sizes, needed=needed, what=what, rows=rows)


def _groups_of_classes(labels: Sequence[str], groups: Sequence[int]) -> Counter[str]:
    """Of how many groups the rows of each class are."""
    return Counter(label for label, _ in set(zip(labels, groups, strict=True)))


def _cut_in_three(rows: list[int], *, ratios: Ratios, seed: int) -> tuple[list[int], ...]:
    from sklearn.model_selection import train_test_split

    train, rest = train_test_split(rows, train_size=ratios.train, random_state=seed)
    val, test = train_test_split(rest, test_size=ratios.test_of_rest, random_state=seed)
    return train, val, test


def _cut_in_two(rows: list[int], *, share: float, seed: int) -> tuple[list[int], ...]:
    from sklearn.model_selection import train_test_split

    kept, taken = train_test_split(rows, test_size=share, random_state=seed)
    return kept, taken


def split_documents(
    documents: Documents,
    *,
    name: str,
    ratios: Ratios,
    seed: int = THESIS_SEED,
    groups: Sequence[Hashable] | None = None,
) -> Dataset:
    """Split labelled documents into a `Dataset`; see `split_rows`."""
    return _dataset(documents, split_rows(documents.labels, ratios=ratios, seed=seed, groups=groups), name=name)


def _dataset(documents: Documents, split: Split, *, name: str) -> Dataset:
    return Dataset(
        name=name,
        train=pick(documents, split.train),
        val=pick(documents, split.val),
        test=pick(documents, split.test),
        label_names=tuple(sorted(set(documents.labels))),
    )


def pick(documents: Documents, rows: Sequence[int]) -> Documents:
    """The documents of these rows, in this order."""
    weights, groups = documents.weights, documents.groups
    return Documents(
        tuple(documents.texts[row] for row in rows),
        tuple(documents.labels[row] for row in rows),
        None if weights is None else tuple(weights[row] for row in rows),
        None if groups is None else tuple(groups[row] for row in rows),
    )


@dataclass(frozen=True)
class Splitter:
    """Splits documents by class, and keeps rows together that must not be separated.

    Attributes:
        labels: Row i's class.
        together: Row i's number; rows with the same number are in the same split. None if all can be separated.
        groups: Row i's group, None if it has none; rows of a group have the same number. Groups, which can be of any
            size and of several classes, are distributed so that each split has its share of each class. Empty if no
            column has groups: then the numbers are those of duplicates, of which the first counts.
        seed: The seed of the split.
    """

    labels: Sequence[str]
    together: Sequence[int] | None
    groups: Sequence[str | None]
    seed: int

    @staticmethod
    def needed(share: float) -> int:
        """The smallest number of rows of a class of which `two` gives both sides one."""
        return _needed_to_hold_out(share)

    def problems(self, *, needed: int) -> list[Finding]:
        """Classes that have too few rows, different texts or groups.

        Args:
            needed: The number of rows, or of different texts. Of groups, as many as there are splits are needed.
        """
        rows = Counter(self.labels)
        if not self.groups or self.together is None:
            classes = _classes(self.labels, _followers(self.labels, self.together))
            return _too_small(classes, self.together, needed=needed, rows=rows)
        return few_groups(
            _groups_of_classes(self.labels, self.together),
            needed=min(needed, 3),
            linked=linked_groups(self.groups, self.together),
            apart=_groups_of_classes(self.labels, together(self.groups)),
            rows=rows,
        )

    def three(self, documents: Documents, *, name: str, ratios: Ratios) -> Dataset:
        """Split documents into training, validation and test documents."""
        if not self.groups or self.together is None:
            return split_documents(documents, name=name, ratios=ratios, seed=self.seed, groups=self.together)
        shares = (ratios.train, ratios.val, ratios.test)
        train, val, test = assign_groups(self.labels, self.together, shares=shares, seed=self.seed)
        return _dataset(documents, Split(train, val, test), name=name)

    def two(self, *, share: float) -> tuple[list[int], list[int]]:
        """The rows that stay, and those of a validation set with a share of each class."""
        if not self.groups or self.together is None:
            return hold_out(self.labels, share=share, seed=self.seed, groups=self.together)
        kept, taken = assign_groups(self.labels, self.together, shares=(1 - share, share), seed=self.seed)
        return kept, taken
