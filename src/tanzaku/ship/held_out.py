"""What a bundle keeps of the validation documents: how probable its label of each was, and whether it was right.

From this, a threshold on the probability is chosen at classification time. The documents themselves, and which of them
was which, are not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tanzaku.errors import BundleError

HELD_OUT_FILE = "held-out.safetensors"
_STEPS = 10_000  # the probabilities have four decimals


@dataclass(frozen=True)
class HeldOut:
    """Validation documents, ordered by whether they were classified correctly and then by probability."""

    probabilities: np.ndarray
    """Of the predicted labels, rounded down to four decimals, (documents,) float64."""
    correct: np.ndarray
    """(documents,) bool."""


def write_held_out(folder: Path, *, probabilities: Sequence[float] | np.ndarray, correct: np.ndarray) -> None:
    """Write the file into a bundle's folder: two bytes a document."""
    from safetensors.numpy import save_file

    steps = np.rint(np.asarray(probabilities) * _STEPS).astype(np.uint16)
    save_file({"right": np.sort(steps[correct]), "wrong": np.sort(steps[~correct])}, folder / HELD_OUT_FILE)


def read_held_out(folder: Path) -> HeldOut | None:
    """Read the file of a bundle's folder; None where the bundle has none.

    Raises:
        BundleError: The file does not hold what `write_held_out` writes.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / HELD_OUT_FILE
    if not path.is_file():
        return None
    try:
        content = load_file(path)
        right, wrong = content["right"], content["wrong"]
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise BundleError(f"{path} can't be read ({error}); pack the bundle again") from error
    steps = np.concatenate([right.ravel(), wrong.ravel()])
    if any(one.dtype != np.uint16 or one.ndim != 1 for one in (right, wrong)) or (steps > _STEPS).any():
        raise BundleError(f"{path} does not hold probabilities of validation documents; pack the bundle again")
    return HeldOut(steps / _STEPS, np.arange(len(steps)) < len(right))
