"""The texts, labels and weights that `TextClassifier` is given, and which of them it holds out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from tanzaku.data.dataset import Documents
from tanzaku.data.decoding import is_text
from tanzaku.data.grouping import same_text, together
from tanzaku.data.split import Splitter, hold_out
from tanzaku.errors import DataError, SpecError


class InvalidInputError(DataError, ValueError):
    """Texts, labels or weights that can't be used; scikit-learn's tools expect a `ValueError`."""


class InvalidOptionError(SpecError, ValueError):
    """A method or an option that there is not, or a value that it can't have."""


@contextmanager
def value_errors() -> Iterator[None]:
    """Raise what is wrong with documents and options as `ValueError`s, too."""
    try:
        yield
    except (InvalidInputError, InvalidOptionError):
        raise
    except SpecError as error:
        raise InvalidOptionError(str(error)) from error
    except DataError as error:
        raise InvalidInputError(str(error)) from error


def texts_of(texts: Any) -> tuple[str, ...]:
    """A column of texts as a tuple: of a list, an array, or a column of a table."""
    if isinstance(texts, str | bytes):
        raise InvalidInputError("a list of texts is wanted, not one text; write [text]")
    if len(getattr(texts, "shape", (0,))) != 1:
        raise InvalidInputError(
            f"the texts have the shape {texts.shape}; give one column, such as table['text']. Reshape your data"
        )
    column = tuple(texts)
    if not column:
        raise InvalidInputError("there are 0 sample(s), while a minimum of 1 is required; give some texts")
    for number, text in enumerate(column, start=1):
        if not isinstance(text, str):
            raise InvalidInputError(f"text {number} is of the type {type(text).__name__}; texts are strings")
    return tuple(map(str, column))


def labels_of(labels: Any) -> np.ndarray:
    """The labels, (documents,), of any type that can be sorted."""
    if labels is None:
        raise InvalidInputError("this estimator requires y to be passed, but the target y is None; give the labels")
    try:
        column: np.ndarray = column_or_1d(labels, warn=True)
        given = labels if isinstance(labels, list | tuple) else column.tolist()  # an array has "nan" of a list's NaN
        if missing := next((row for row, label in enumerate(given, start=1) if _is_missing(label)), None):
            raise InvalidInputError(
                f"some labels are missing (None or NaN) or infinite, such as label {missing}; give each text a label"
            )
        check_classification_targets(column)
    except ValueError as error:
        raise InvalidInputError(str(error)) from error
    return column


def _is_missing(label: Any) -> bool:
    """Whether it is None, infinite, or, as NaN and the missing value of pandas are, not equal to itself."""
    if label is None or (isinstance(label, float) and math.isinf(label)):
        return True
    equal = label == label
    return not (isinstance(equal, bool | np.bool_) and equal)


def weights_of(weights: Any, *, documents: int) -> tuple[float, ...] | None:
    """How much each document counts."""
    if weights is None:
        return None
    column = np.asarray(weights, dtype=np.float64)
    if column.shape != (documents,):
        raise InvalidInputError(f"sample_weight has the shape {column.shape} for {documents} texts; give each its own")
    if not (np.isfinite(column).all() and (column >= 0).all()):
        raise InvalidInputError("sample_weight has values that are negative, infinite or missing; give 0 or more")
    if not column.any():
        raise InvalidInputError("every weight in sample_weight is zero; give a text one above 0 at least")
    return tuple(column.tolist())


def names_of(classes: np.ndarray) -> tuple[str, ...]:
    """The names in the bundle of sorted labels (labels,): the labels themselves, where they are different strings."""
    names = tuple(str(one) for one in classes)
    if len(set(names)) < len(names):
        raise InvalidInputError(f"labels that are written alike can't be told apart: {list(names)}")
    if half := next((name for name in names if not is_text(name)), None):
        raise InvalidInputError(f"the label {half!a} has half of a surrogate pair, which is no character; correct it")
    return names


def held_out(documents: Documents, *, share: float, seed: int) -> tuple[list[int], list[int]]:
    """The rows that are trained on, and those that are not, of classes with two different texts at least.

    Rows with the same text stay together: a text that is trained on too would make probabilities look too good. Bagging
    repeats texts, and so do many files.
    """
    needed = _needed(share)
    texts, labels = documents.texts, documents.labels
    groups = together([same_text(text) for text in texts])  # the number of the first row of a text
    sizes = Counter(labels[first] for first in set(groups))
    for label, size in sorted(sizes.items()):
        if 1 < size < needed:
            raise InvalidInputError(
                f"validation_fraction = {share:g} leaves nothing to train on of the class {label!r}, which has {size} "
                f"different texts; give {math.floor(1000 * (size - 1) / size) / 1000:g} or less, or more texts"
            )
    rows = [row for row, first in enumerate(groups) if sizes[labels[first]] > 1] if share else []
    if not rows:
        return list(range(len(labels))), []
    firsts = [groups[row] for row in rows]
    _, taken = hold_out([labels[first] for first in firsts], share=share, seed=seed, groups=firsts)
    held = {rows[place] for place in taken}
    # A class may have only texts that another class has too. It is trained on in any case.
    lacking = set(labels) - {label for row, label in enumerate(labels) if row not in held}
    back = {groups[row] for row in held if labels[row] in lacking}
    held -= {row for row in held if groups[row] in back}
    return [row for row in range(len(labels)) if row not in held], sorted(held)


def _needed(share: float) -> int:
    """So many different texts a class needs so that some are trained on, unless it has one only."""
    if share == 0:
        return 0
    try:
        return Splitter.needed(share)
    except (DataError, TypeError) as error:
        raise InvalidInputError(
            f"validation_fraction = {share!r}; give a share from 0.001 to 0.999, or 0 to train on all documents"
        ) from error
