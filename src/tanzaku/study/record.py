"""The run record: everything that reports are built from, as one versioned JSON file a run.

Beside `record.json` lies `predictions.csv`: for every test document, in the order of the test split, the index of its
class and of the predicted one in `data.label_names`; `val-predictions.csv` holds the same of the validation documents.
Paired tests between runs need these.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tanzaku.errors import RecordError
from tanzaku.files import write_atomically

RECORD_VERSION: Literal[1] = 1
RECORD_FILE = "record.json"
PREDICTIONS_FILE = "predictions.csv"
VALIDATION_PREDICTIONS_FILE = "val-predictions.csv"
MODEL_FOLDER = "model"  # below a run's: what the method saved; records may be kept without it
RANKS_FOLDER = "ranks"  # below a run's: one folder a measured rank, with its predictions
CHECKPOINT_FOLDER = "checkpoints"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataFacts(_Part):
    """The data that was used."""

    name: str
    source: Annotated[
        str | None,
        Field(
            description='A folder\'s absolute path, or "sample"; None where it was made in Python, or is not recorded.'
        ),
    ] = None
    fingerprint: Annotated[str, Field(description="SHA-256 over every text and label of the three splits.")]
    label_names: tuple[str, ...]
    train_documents: int
    val_documents: int
    test_documents: int
    train_documents_per_class: Annotated[
        tuple[int, ...] | None, Field(description="In the order of the labels; the first records have none.")
    ] = None


class PretrainingFacts(_Part):
    """The continued pretraining on the training texts that gave the encoder; its own record tells all."""

    folder: Annotated[str, Field(description="Of the encoder and that record, below the study's folder.")]
    identity: Annotated[str, Field(description="Of that record.")]
    base_fingerprint: Annotated[str, Field(description="Of the encoder that it went on from.")]
    documents: Annotated[int, Field(description="Training texts that were read.")]
    steps: int
    tokens_seen: int
    seconds: Annotated[float, Field(description="Once for all runs that share the encoder; not among their costs.")]
    first_held_out_loss: Annotated[float, Field(description="At the first evaluation, in nats a masked token.")]
    held_out_loss: Annotated[float, Field(description="At the end.")]
    held_out_accuracy: Annotated[float, Field(description="At masked places, at the end.")]


class EncoderFacts(_Part):
    """The encoder that was adapted."""

    name: Annotated[str, Field(description="As the study names it; with a pretraining, that of its base.")]
    fingerprint: Annotated[str, Field(description="SHA-256 over the checkpoint's files.")]
    model_type: str
    layers: int
    hidden_size: int
    vocabulary_size: int
    parameters: Annotated[
        int, Field(description="Parameters of the encoder with its head, before a method is attached.")
    ]
    head: Annotated[tuple[str, ...], Field(description="Modules that the checkpoint lacks; trained in full.")]
    pretraining: PretrainingFacts | None = None


class ComputeFacts(_Part):
    """How the encoder was computed."""

    path: Annotated[Literal["fast", "transformers"], Field(description="The fast path, or transformers' own forward.")]
    precision: Annotated[
        Literal["float32", "bfloat16"], Field(description="Of matrix products and, on the fast path, frozen weights.")
    ]


class Environment(_Part):
    """What the run ran on."""

    versions: dict[str, str]
    platform: str
    cpu: str
    cores: int
    threads: int
    memory_bytes: int
    gpu: str | None
    git_commit: str | None
    git_dirty: bool | None


class EpochRecord(_Part):
    """One epoch: losses are means over documents (validation) and over steps (training)."""

    epoch: int
    steps: Annotated[int, Field(description="Optimiser steps since the start.")]
    train_loss: float
    val_loss: float
    val_accuracy: float
    learning_rate: Annotated[float, Field(description="At the epoch's end.")]
    group_learning_rates: Annotated[
        dict[str, float], Field(description='Likewise, of the groups with one of their own, such as "head".')
    ] = {}
    train_seconds: Annotated[float, Field(description="Of this epoch, without evaluation.")]
    eval_seconds: float


class ClassScores(_Part):
    """One class on one split."""

    precision: float
    recall: float
    f1: float
    support: int


class Scores(_Part):
    """How well a split was classified."""

    documents: int
    correct: int
    accuracy: float
    accuracy_interval: Annotated[tuple[float, float], Field(description="95 % Wilson interval.")]
    macro_f1: float
    per_class: dict[str, ClassScores]
    confusion: Annotated[tuple[tuple[int, ...], ...], Field(description="Rows: true class; columns: predicted class.")]


class SplitScores(_Part):
    """How well a split was classified, in few words."""

    documents: int
    accuracy: float
    accuracy_interval: Annotated[tuple[float, float], Field(description="95 % Wilson interval.")]
    macro_f1: float


class Costs(_Part):
    """What the run cost."""

    train_seconds: Annotated[float, Field(description="Training steps alone.")]
    train_seconds_with_evaluation: Annotated[float, Field(description="Training steps and validation.")]
    test_seconds: float
    peak_memory_bytes: Annotated[int | None, Field(description="The process's largest resident memory.")]
    peak_gpu_memory_bytes: int | None
    trainable_parameters: int
    saved_bytes: Annotated[int, Field(description="Size of the saved adapter's or model's folder.")]


class RankRecord(_Part):
    """The trained adapter at one rank, cut from it after training; its predictions lie in `ranks/r<rank>/`."""

    rank: Annotated[int, Field(description="Layers of a smaller rank keep theirs.")]
    val: SplitScores
    test: SplitScores
    saved_bytes: Annotated[int, Field(description="Size of the adapter's folder at this rank.")]
    seconds: Annotated[float, Field(description="To cut the adapter and classify both sets; 0 at its own rank.")]


class RunRecord(_Part):
    """One run, finished or failed. What a failed run did not reach is None or empty."""

    version: Literal[1] = RECORD_VERSION
    run_id: str
    study: str
    status: Literal["finished", "failed"]
    error: str | None = None
    started: Annotated[str, Field(description="ISO 8601, UTC.")]
    ended: str
    resumptions: Annotated[int, Field(description="How often the run went on from a checkpoint.")] = 0
    spec: Annotated[dict[str, Any], Field(description="The resolved RunSpec.")]
    method_details: Annotated[
        dict[str, float | int | str], Field(description="Such as LoRA's effective scale α/r.")
    ] = {}
    data: DataFacts
    encoder: EncoderFacts | None = None
    compute: Annotated[ComputeFacts | None, Field(description="None where there is no encoder, or was no choice.")] = (
        None
    )
    environment: Environment
    history: tuple[EpochRecord, ...] = ()
    training_curve: Annotated[
        tuple[tuple[int, float], ...], Field(description="(step, mean training loss since the last entry).")
    ] = ()
    best_epoch: int | None = None
    stopped_early: bool | None = None
    val: Scores | None = None
    test: Scores | None = None
    costs: Costs | None = None
    ranks: Annotated[
        tuple[RankRecord, ...], Field(description="The adapter cut to other ranks, where the method was asked to.")
    ] = ()

    @property
    def method(self) -> str:
        """The method's name."""
        return str(self.spec["method"]["name"])


def write_record(record: RunRecord, folder: Path) -> None:
    """Write `record.json` into the run's folder, atomically; its presence says that the run has ended."""
    write_atomically(folder / RECORD_FILE, record.model_dump_json(indent=1) + "\n")


def read_record(folder: Path) -> RunRecord:
    """Read the record in a run's folder.

    Raises:
        RecordError: It is missing, damaged, or of another version.
    """
    path = folder / RECORD_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} can't be read ({error}); remove the folder to run it again") from error
    if not isinstance(content, dict) or content.get("version") != RECORD_VERSION:
        found = content.get("version") if isinstance(content, dict) else None
        raise RecordError(f"{path} has version {found!r}; this Tanzaku reads version {RECORD_VERSION}")
    try:
        return RunRecord.model_validate(content)
    except ValidationError as error:
        raise RecordError(f"{path} is not a run record: {error}") from error


def read_records(runs: Path) -> list[RunRecord]:
    """All records below `runs`, in the order of their folders' names.

    Raises:
        RecordError: There is none, or one is damaged.
    """
    return list(records_in(runs).values())


def records_in(runs: Path) -> dict[Path, RunRecord]:
    """Likewise, each under its folder.

    Raises:
        RecordError: There is none, or one is damaged.
    """
    folders = record_folders(runs)
    if not folders:
        begun = ", or wait until one of its runs has ended" if any(runs.glob("*/log.jsonl")) else ""
        raise RecordError(f"no {RECORD_FILE} lies below {runs}; give the folder that `tanzaku study run` wrote{begun}")
    return {folder: read_record(folder) for folder in folders}


def record_folders(runs: Path) -> list[Path]:
    """The folders below `runs` that hold a run's record, in the order of their names."""
    # Encoders that a study pretrained lie beside its runs, with records of their own kind.
    return sorted(path.parent for path in runs.glob(f"**/{RECORD_FILE}") if not _is_of_pretraining(path))


def _is_of_pretraining(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("kind") == "pretraining"


def write_predictions(folder: Path, *, classes: list[int], predicted: list[int], name: str = PREDICTIONS_FILE) -> None:
    """Write a file of predictions: a header, then one line a document."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["class", "predicted"])
    writer.writerows(zip(classes, predicted, strict=True))
    write_atomically(folder / name, text.getvalue())


def read_predictions(folder: Path, *, name: str = PREDICTIONS_FILE) -> tuple[list[int], list[int]]:
    """The true and the predicted class indices of a finished run's test documents, or in another file of predictions.

    Raises:
        RecordError: The file is missing or damaged.
    """
    path = folder / name
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            rows = [(int(row["class"]), int(row["predicted"])) for row in csv.DictReader(handle)]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise RecordError(f"{path} can't be read as predictions ({error})") from error
    return [row[0] for row in rows], [row[1] for row in rows]
