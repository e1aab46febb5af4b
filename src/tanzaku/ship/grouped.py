"""The intervals of a bundle's scores where documents of a group are not independent of each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tanzaku.analysis.evaluation import macro_f1_interval
from tanzaku.analysis.statistics import accuracy_interval_over_both, accuracy_scores
from tanzaku.ship.building import write_facts
from tanzaku.ship.bundle import read_facts
from tanzaku.ship.cards.write import write_card
from tanzaku.study.predictions import StoredPredictions
from tanzaku.words import Language


def replace_intervals(
    bundle: Path,
    *,
    test: tuple[StoredPredictions, np.ndarray] | None,
    val: tuple[StoredPredictions, np.ndarray] | None,
    language: Language = "en",
) -> None:
    """Have what a bundle says of itself, and its card, give intervals over groups instead of documents.

    Args:
        bundle: Its folder.
        test: What its run predicted of the test documents, and their groups, (documents,) int; None where they have
            none.
        val: The same of the validation documents.
        language: Of the card.
    """
    facts = read_facts(bundle)
    run, labels = facts.run, len(facts.label_names)
    changed: dict[str, Any] = {"over_groups": True}
    splits: Mapping[str, Any] = {"test": (run.test, test), "val": (run.val, val)}
    for name, (scores, made) in splits.items():
        if made is None:
            continue
        stored, groups = made
        classes, predicted = np.array(stored.classes), np.array(stored.predicted)
        interval = accuracy_interval_over_both(accuracy_scores((classes == predicted)[None], groups), [0])
        changed[name] = scores.model_copy(update={"accuracy_interval": (interval.low, interval.high)})
        changed[f"{name}_macro_f1_interval"] = macro_f1_interval(classes, predicted, labels=labels, groups=groups)
    facts = facts.model_copy(update={"run": run.model_copy(update=changed)})
    write_facts(bundle, facts)
    write_card(bundle, facts, language=language)
