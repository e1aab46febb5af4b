"""What a bundle keeps of held-out documents: how probable its label of each was, and whether it was right.

They are the validation documents of its run, or of the data with which its weights were changed. A bundle of
`tanzaku fit` has all documents of its cross-validation, of which there are more; each was classified by a model of the
same kind that was not trained on it. From this, a threshold on the probability is chosen at classification time. The
documents themselves, and which of them was which, are not kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tanzaku.analysis.abstention import (
    HIGHEST_ROUND_RATE,
    Threshold,
    choose_threshold,
    fewest_documents,
    lowest_promise,
    one_of_each,
)
from tanzaku.errors import BundleError
from tanzaku.ship.manifest import write_manifest

HELD_OUT_FILE = "held-out.safetensors"
_LEAST = 1e-6  # nothing is promised for millions of documents
_STEPS = 10_000  # the probabilities have four decimals
_GIVE_A_PROBABILITY = "give a probability (--min-probability)"
_DOCUMENTS, _FOLDS = "documents", "cross-validation"  # of the file's metadata
_GROUPED, _ONE_OF_EACH = "groups", "one of each"


@dataclass(frozen=True)
class HeldOut:
    """Held-out documents. Read from a bundle, they are ordered by whether they were classified correctly and then by
    probability."""

    probabilities: np.ndarray
    """Of the predicted labels, rounded down to four decimals, (documents,) float64."""
    correct: np.ndarray
    """(documents,) bool."""
    cross_validated: bool = False
    """Whether they are the documents of a cross-validation."""
    grouped: bool = False
    """Whether each is the only one that was taken of a group."""

    @classmethod
    def of(
        cls,
        probabilities: np.ndarray,
        correct: np.ndarray,
        groups: Sequence[int] | np.ndarray | None,
        *,
        cross_validated: bool = False,
    ) -> HeldOut:
        """All documents, or, where they are in `groups` (documents,), one of each: a promise needs independent ones."""
        if groups is None:
            return cls(probabilities, correct, cross_validated)
        rows = one_of_each(np.asarray(groups))
        return cls(probabilities[rows], correct[rows], cross_validated, grouped=True)

    @property
    def documents(self) -> str:
        """What was counted, in words."""
        documents = "documents of its cross-validation" if self.cross_validated else "validation documents"
        return f"groups of {documents}" if self.grouped else documents


def threshold_of(
    held_out: HeldOut | None,
    *,
    error_rate: float,
    confidence: float,
    remedy: str | None = None,
) -> Threshold:
    """The lowest threshold with which a bundle keeps an error rate.

    Args:
        held_out: By what it is promised.
        error_rate: The share of wrong ones among the answers.
        confidence: With which this is promised.
        remedy: What the caller can do if it can't be, for errors; None: what a user of the bundle can do.

    Raises:
        BundleError: A share is out of range, or the promise can't be made; the message says what can be.
    """
    for name, value in (("error_rate", error_rate), ("confidence", confidence)):
        if not _LEAST <= value <= 1 - _LEAST:
            raise BundleError(f"{name} = {value}; give a share from {_LEAST:.6f} to {1 - _LEAST}, such as 0.02 or 0.95")
    if held_out is None:
        raise BundleError(
            "an error rate can't be promised, because the bundle keeps nothing of held-out documents: its weights were "
            "changed after the run, or all documents were trained on; "
            + (remedy or f"pack or compress it with --data, export it in float32, or {_GIVE_A_PROBABILITY}")
        )
    found = choose_threshold(held_out.probabilities, held_out.correct, error_rate=error_rate, confidence=confidence)
    if found is not None:
        return replace(found, cross_validated=held_out.cross_validated, grouped=held_out.grouped)
    documents, fewest = len(held_out.correct), fewest_documents(error_rate=error_rate, confidence=confidence)
    reason = (
        f"with {documents:,} {held_out.documents}; even without a mistake, {fewest:,} would be needed"
        if documents < fewest
        else f"from the {documents:,} {held_out.documents}: the most probable ones contain too many mistakes"
    )
    lowest = lowest_promise(held_out.probabilities, held_out.correct, confidence=confidence)
    none = f"No rate up to {100 * HIGHEST_ROUND_RATE:g} % can be"
    possible = f"The lowest that can be is about {100 * lowest.error_rate:g} %" if lowest else none
    more = (
        "give fit more documents, or more minutes if it had no time for all folds"
        if held_out.cross_validated
        else "train with more validation documents"
    )
    raise BundleError(
        f"an error rate of {100 * error_rate:g} % can't be promised with {100 * confidence:g} % confidence "
        f"{reason}. {possible}; {remedy or f'{more}, or {_GIVE_A_PROBABILITY}'}"
    )


def write_held_out(folder: Path, held_out: HeldOut) -> None:
    """Write the file into a bundle's folder: two bytes a document."""
    from safetensors.numpy import save_file

    steps, correct = np.rint(held_out.probabilities * _STEPS).astype(np.uint16), held_out.correct
    content = {"right": np.sort(steps[correct]), "wrong": np.sort(steps[~correct])}
    facts = ((held_out.cross_validated, _DOCUMENTS, _FOLDS), (held_out.grouped, _GROUPED, _ONE_OF_EACH))
    save_file(content, folder / HELD_OUT_FILE, metadata={name: value for holds, name, value in facts if holds} or None)


def copy_held_out(bundle: Path, to: Path) -> None:
    """Copy what a bundle keeps of held-out documents, if it does, to another one of the same weights."""
    if (kept := bundle / HELD_OUT_FILE).is_file():
        shutil.copyfile(kept, to / HELD_OUT_FILE)


def replace_held_out(bundle: Path, held_out: HeldOut) -> None:
    """Have a bundle promise error rates by other documents than the validation documents of its run."""
    write_held_out(bundle, held_out)
    write_manifest(bundle)


def read_held_out(folder: Path) -> HeldOut | None:
    """Read the file of a bundle's folder; None where the bundle has none.

    Raises:
        BundleError: The file does not hold what `write_held_out` writes.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / HELD_OUT_FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as content:
            right, wrong = content.get_tensor("right"), content.get_tensor("wrong")
            metadata = content.metadata() or {}
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise BundleError(f"{path} can't be read ({error}); pack the bundle again") from error
    steps = np.concatenate([right.ravel(), wrong.ravel()])
    if any(one.dtype != np.uint16 or one.ndim != 1 for one in (right, wrong)) or (steps > _STEPS).any():
        raise BundleError(f"{path} does not hold probabilities of held-out documents; pack the bundle again")
    return HeldOut(
        steps / _STEPS,
        np.arange(len(steps)) < len(right),
        cross_validated=metadata.get(_DOCUMENTS) == _FOLDS,
        grouped=metadata.get(_GROUPED) == _ONE_OF_EACH,
    )
