"""The test documents that the best models get wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.predictions import Predictions, RunPredictions, run_key
from tanzaku.data.dataset import Dataset

MOST_SHOWN = 25
_EXCERPT_CHARACTERS = 120


@dataclass(frozen=True)
class Mistake:
    """A document that every run of the arms looked at gets wrong."""

    row: int
    """In the test split, from 1: the row of `test.csv`."""
    true_class: str
    taken_for: tuple[str, ...]
    """What each of the arms looked at says, most of its runs counting."""
    wrong: int
    """How many of the section's runs are wrong."""
    excerpt: str | None
    """The beginning of the text, where the data is at hand."""


@dataclass(frozen=True)
class Mistakes:
    """What the page lists, and of how many."""

    arms: tuple[Arm, ...]
    total: int
    runs: int
    """Of the section, with predictions."""
    shown: tuple[Mistake, ...]


def mistakes_of(
    section: Section, arms: Sequence[Arm], predictions: Predictions, *, dataset: Dataset | None
) -> Mistakes | None:
    """The documents that all runs of some arms get wrong, those first that most runs of the section get wrong.

    Args:
        section: The arms' section.
        arms: Whose mistakes are looked for, such as the best and the recommended one.
        predictions: Those of `evidence.predictions_of`.
        dataset: The section's data, for excerpts of the texts; records hold none.

    Returns:
        None where an arm lacks predictions.
    """
    looked_at = [[predictions.get(run_key(record)) for record in arm.finished] for arm in arms]
    if not arms or any(run is None for runs in looked_at for run in runs) or not all(looked_at):
        return None
    known = [[run for run in runs if run is not None] for runs in looked_at]
    everyone = [
        predictions[run_key(record)]
        for arm in section.arms
        for record in arm.finished
        if run_key(record) in predictions
    ]
    wrong_by_all = np.logical_and.reduce([run.predicted != run.classes for runs in known for run in runs])
    times_wrong = np.sum([run.predicted != run.classes for run in everyone], axis=0)
    rows = sorted(np.flatnonzero(wrong_by_all).tolist(), key=lambda row: (-times_wrong[row], row))
    names = section.data.label_names
    shown = tuple(
        Mistake(
            row=row + 1,
            true_class=names[known[0][0].classes[row]],
            taken_for=tuple(names[_most_common(runs, row)] for runs in known),
            wrong=int(times_wrong[row]),
            excerpt=excerpt(dataset.test.texts[row]) if dataset else None,
        )
        for row in rows[:MOST_SHOWN]
    )
    return Mistakes(arms=tuple(arms), total=len(rows), runs=len(everyone), shown=shown)


def _most_common(runs: Sequence[RunPredictions], row: int) -> int:
    return Counter(int(run.predicted[row]) for run in runs).most_common(1)[0][0]


def excerpt(text: str) -> str:
    """The beginning of a text, on one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _EXCERPT_CHARACTERS else flat[: _EXCERPT_CHARACTERS - 1] + "…"
