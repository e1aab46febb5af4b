"""The 95 % interval of an accuracy: the one that every table, figure and page shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tanzaku.analysis.statistics import Interval
from tanzaku.study.record import Scores
from tanzaku.study.summary import SplitScores

if TYPE_CHECKING:
    import numpy as np


def accuracy_interval_of(
    scores: Sequence[Scores | SplitScores], correct: np.ndarray | None, groups: np.ndarray | None = None
) -> Interval | None:
    """95 % interval of the mean accuracy of runs on the same documents; None for no run.

    Of one run it is Wilson's, which covers other documents; of several it covers other seeds and other documents. Where
    the predictions of several runs are missing, it is wider than it could be.

    Args:
        scores: Of each run.
        correct: Whether each run took each document right, (runs, documents) bool; None where predictions are missing.
        groups: The number of each document's group, (documents,) int; None where all documents are independent.
    """
    from tanzaku.analysis.run_scores import accuracy_scores, accuracy_scores_from_counts
    from tanzaku.analysis.statistics import accuracy_interval_over_both

    if not scores:
        return None
    if correct is None:
        documents = scores[0].documents
        correct_documents = [round(one.accuracy * documents) for one in scores]
        accuracies = accuracy_scores_from_counts(correct_documents, documents, groups)
    else:
        accuracies = accuracy_scores(correct, groups)
    return accuracy_interval_over_both(accuracies, range(accuracies.runs))
