"""One trained adapter at other ranks: what each classifies, and how large it is."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from tanzaku.files import folder_bytes
from tanzaku.measure.metrics import measure
from tanzaku.methods.interface import EncoderMethod
from tanzaku.methods.ranked import RankedMethod, lora_factors
from tanzaku.study.predictions import write_predictions
from tanzaku.study.record import RANKS_FOLDER, RankRecord
from tanzaku.study.summary import SplitScores
from tanzaku.training.batches import LabelledTokens


@dataclass(frozen=True)
class Classified:
    """A split, and the logits (documents, labels) of the trained model as it is."""

    split: LabelledTokens
    logits: np.ndarray


def measure_ranks(
    method: EncoderMethod,
    model: nn.Module,
    folder: Path,
    *,
    saved: Path,
    splits: tuple[Classified, Classified],
    label_names: Sequence[str],
    classify: Callable[[LabelledTokens], np.ndarray],
) -> tuple[RankRecord, ...]:
    """Measure the trained adapter at each rank that the method names; nothing where it names none.

    Args:
        method: The run's method.
        model: The trained model; it is afterwards what it was.
        folder: The run's folder: the test set's predictions go below `ranks/`.
        saved: Where the adapter was saved.
        splits: The validation and the test set.
        label_names: In the order of the logits.
        classify: From a split to its logits (documents, labels), by `model` as it then is.
    """
    if not isinstance(method, RankedMethod):
        return ()
    val, test = splits
    own_rank = max(len(a) for a, _ in lora_factors(model))
    records = []
    for rank in method.measured_ranks:
        logits, seconds = [val.logits, test.logits], 0.0
        if rank != own_rank:
            began = time.perf_counter()
            with method.at_rank(model, rank):
                logits = [classify(val.split), classify(test.split)]
            seconds = time.perf_counter() - began
        predicted = [scores.argmax(axis=1) for scores in logits]
        write_predictions(
            folder / RANKS_FOLDER / f"r{rank}", classes=test.split.classes.tolist(), predicted=predicted[1].tolist()
        )
        records.append(
            RankRecord(
                rank=rank,
                val=_scores(val.split.classes, predicted[0], label_names),
                test=_scores(test.split.classes, predicted[1], label_names),
                saved_bytes=_bytes_at(method, saved, rank=rank),
                seconds=seconds,
            )
        )
    return tuple(records)


def _bytes_at(method: RankedMethod, saved: Path, *, rank: int) -> int:
    with tempfile.TemporaryDirectory() as name:
        method.write_at_rank(saved, Path(name), rank=rank)
        return folder_bytes(Path(name))


def _scores(classes: np.ndarray, predicted: np.ndarray, label_names: Sequence[str]) -> SplitScores:
    found = measure(classes, predicted, label_names=label_names)
    return SplitScores.model_validate(found, from_attributes=True)
