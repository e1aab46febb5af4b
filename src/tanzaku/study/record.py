"""The run record: everything that reports are built from, as one versioned JSON file a run."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, TypeAdapter, ValidationError, model_validator

from tanzaku.errors import RecordError, describe_os_error, describe_validation_error
from tanzaku.facts import Facts
from tanzaku.files import write_atomically
from tanzaku.study.summary import CalibrationFacts, ClassScores, DataFacts, SplitScores

RECORD_VERSION: Literal[2] = 2
RECORD_FILE = "record.json"
MODEL_FOLDER = "model"  # below a run's: what the method saved; records may be kept without it
RANKS_FOLDER = "ranks"  # below a run's: one folder a measured rank, with its predictions
CHECKPOINT_FOLDER = "checkpoints"
LOG_FILE = "log.jsonl"
_CHECKSUM = "sha256"


class PretrainingFacts(Facts):
    """The continued pretraining on the training texts that gave the encoder; its own record tells all."""

    folder: Annotated[str, Field(description="Of the encoder and that record, below the study's folder.")]
    identity: Annotated[str, Field(description="Of that record.")]
    base_fingerprint: Annotated[str, Field(description="Of the encoder that it continued from.")]
    documents: Annotated[int, Field(description="Training texts that were read.")]
    steps: int
    tokens_seen: int
    seconds: Annotated[float, Field(description="Once for all runs that share the encoder; not among their costs.")]
    first_held_out_loss: Annotated[float, Field(description="At the first evaluation, in nats a masked token.")]
    held_out_loss: Annotated[float, Field(description="At the end.")]
    held_out_accuracy: Annotated[float, Field(description="At masked places, at the end.")]


class EncoderFacts(Facts):
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


class DistillationFacts(Facts):
    """The fine-tuned classifier whose soft labels were learned in addition to the labels."""

    teacher: Annotated[str, Field(description="The name of the bundle's folder.")]
    teacher_fingerprint: Annotated[str, Field(description="SHA-256 of its manifest, which has the sums of its files.")]
    teacher_method: str
    documents: Annotated[int, Field(description="Further texts without labels.")]
    texts_sha256: Annotated[str | None, Field(description="Of the file with these texts.")]


class ComputeFacts(Facts):
    """How the encoder was computed."""

    path: Annotated[Literal["fast", "transformers"], Field(description="The fast path, or transformers' own forward.")]
    precision: Annotated[
        Literal["float32", "bfloat16"], Field(description="Of matrix products and, on the fast path, frozen weights.")
    ]
    processes: Annotated[int, Field(description="That trained it together, each on its share of every batch.")] = 1


class Environment(Facts):
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


class EpochRecord(Facts):
    """One epoch: losses are means over documents (validation) and over steps (training)."""

    epoch: int
    steps: Annotated[int, Field(description="Optimiser steps since the start.")]
    train_loss: float
    val_loss: float
    val_accuracy: float
    learning_rate: Annotated[float, Field(description="At the epoch's end.")]
    group_learning_rates: dict[str, float] = Field(
        default_factory=dict, description='Likewise, of the groups with one of their own, such as "head".'
    )
    train_seconds: Annotated[float, Field(description="Of this epoch, without evaluation.")]
    eval_seconds: float


class Scores(Facts):
    """How well a split was classified."""

    documents: int
    correct: int
    accuracy: float
    accuracy_interval: Annotated[tuple[float, float], Field(description="95 % Wilson interval.")]
    macro_f1: float
    per_class: dict[str, ClassScores]
    confusion: Annotated[tuple[tuple[int, ...], ...], Field(description="Rows: true class; columns: predicted class.")]


class Costs(Facts):
    """What the run cost."""

    train_seconds: Annotated[float, Field(description="Only the training steps.")]
    train_seconds_with_evaluation: Annotated[float, Field(description="Training steps and validation.")]
    test_seconds: float
    peak_memory_bytes: Annotated[int | None, Field(description="The process's largest resident memory.")]
    peak_gpu_memory_bytes: int | None
    trainable_parameters: int
    saved_bytes: Annotated[int, Field(description="Size of the saved adapter's or model's folder.")]


class RankRecord(Facts):
    """The trained adapter at one rank, cut from it after training; its predictions lie in `ranks/r<rank>/`."""

    rank: Annotated[int, Field(description="Layers of a smaller rank keep theirs.")]
    val: SplitScores
    test: SplitScores
    saved_bytes: Annotated[int, Field(description="Size of the adapter's folder at this rank.")]
    seconds: Annotated[float, Field(description="To cut the adapter and classify both sets; 0 at its own rank.")]


class _Run(Facts):
    """What the record of every run holds."""

    version: Literal[2] = RECORD_VERSION
    run_id: str
    study: str
    started: Annotated[str, Field(description="ISO 8601, UTC.")]
    ended: str
    resumptions: Annotated[int, Field(description="How often the run resumed from a checkpoint.")] = 0
    spec: Annotated[
        dict[str, Any],
        Field(description="The resolved RunSpec, not parsed: a record can be read where its method is not installed."),
    ]
    method_details: dict[str, float | int | str] = Field(default_factory=dict, description="Such as LoRA's scale α/r.")
    data: DataFacts
    environment: Environment

    @model_validator(mode="after")
    def _spec_has_its_parts(self) -> Self:
        if not isinstance(self.spec.get("method"), dict) or "name" not in self.spec["method"]:
            raise ValueError("spec has no method.name")
        if self.spec.get("kind") not in ("encoder", "text"):
            raise ValueError("spec.kind is neither encoder nor text")
        for part in ("encoder", "training"):
            if self.spec["kind"] == "encoder" and not isinstance(self.spec.get(part), dict):
                raise ValueError(f"spec.{part} is not a table of settings")
        return self

    @property
    def method(self) -> str:
        """The method's name."""
        return str(self.spec["method"]["name"])


class FailedRun(_Run):
    """A run that ended with an error."""

    status: Literal["failed"] = "failed"
    error: str


class _FinishedRun(_Run):
    """A run that was measured on both sets; the fields with a default are empty where nothing is trained by steps."""

    status: Literal["finished"] = "finished"
    history: tuple[EpochRecord, ...] = ()
    training_curve: Annotated[
        tuple[tuple[int, float], ...],
        Field(description="(step, mean training loss since the last entry), six decimals."),
    ] = ()
    val: Scores
    test: Scores
    calibration: Annotated[
        CalibrationFacts | None, Field(description="None where the predictions have no probabilities.")
    ] = None
    costs: Costs
    ranks: Annotated[
        tuple[RankRecord, ...], Field(description="The adapter cut to other ranks, if the arm asks for that.")
    ] = ()

    @property
    def seconds(self) -> float:
        """How long it took. Where it was resumed, `started` is the last session's: what is trained and tested counts
        over all of them."""
        took = (datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.started)).total_seconds()
        if not self.resumptions:
            return took
        return max(took, self.costs.train_seconds_with_evaluation + self.costs.test_seconds)

    @model_validator(mode="after")
    def _scores_are_of_the_datas_classes(self) -> Self:
        names = self.data.label_names
        for split, scores in (("val", self.val), ("test", self.test)):
            square = len(scores.confusion) == len(names) and all(len(row) == len(names) for row in scores.confusion)
            if not square or set(scores.per_class) != set(names):
                raise ValueError(f"{split} is about other classes than data.label_names")
        return self


class FinishedEncoderRun(_FinishedRun):
    """A finished run of a method that adapts an encoder."""

    encoder: EncoderFacts
    distillation: DistillationFacts | None = None
    compute: ComputeFacts
    partly_read: Annotated[
        int | None,
        Field(
            description="Training documents of which tokens are left out, being longer than the encoder reads; those "
            "that just reach max_tokens count too where only the head is read. None: not counted.",
            exclude_if=lambda documents: documents is None,
        ),
    ] = None
    best_epoch: int
    stopped_early: bool
    trained_by: Annotated[
        str | None,
        Field(
            description="The run of the same training, on a machine of the same kind, whose weights were taken over; "
            "what the record says of the training, its time and memory too, is of that run.",
            exclude_if=lambda run: run is None,
        ),
    ] = None

    @property
    def seconds(self) -> float:
        """As for every run; with the training that was taken over."""
        if self.trained_by is None:
            return super().seconds
        return self.costs.train_seconds_with_evaluation + self.costs.test_seconds


class FinishedTextRun(_FinishedRun):
    """A finished run of a method that learns only from the texts."""


FinishedRun = FinishedEncoderRun | FinishedTextRun
RunRecord = FinishedRun | FailedRun


def _tag(content: dict[str, Any]) -> str:
    spec = content.get("spec")
    kind = spec.get("kind") if isinstance(spec, dict) else None
    return "failed" if content.get("status") == "failed" else f"{content.get('status')} {kind}"


RUN_RECORD: TypeAdapter[RunRecord] = TypeAdapter(
    Annotated[
        Annotated[FinishedEncoderRun, Tag("finished encoder")]
        | Annotated[FinishedTextRun, Tag("finished text")]
        | Annotated[FailedRun, Tag("failed")],
        Discriminator(
            _tag,
            custom_error_type="run_kind",
            custom_error_message="status is finished or failed, and spec.kind encoder or text",
        ),
    ]
)
"""Reads the record of a run from a dictionary or JSON."""


def write_record(record: RunRecord, folder: Path) -> None:
    """Write `record.json` into the run's folder, atomically; its presence says that the run has ended.

    Its last entry, `sha256`, is the checksum of the others, so that a damaged digit is no other result.
    """
    content = json.loads(record.model_dump_json())
    content[_CHECKSUM] = _checksum(content)
    write_atomically(folder / RECORD_FILE, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def read_record(folder: Path) -> RunRecord:
    """Read the record in a run's folder.

    Raises:
        RecordError: It is missing, damaged, or of another version.
    """
    path, remedy = folder / RECORD_FILE, "remove its folder to make the run again"
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RecordError(f"the record {describe_os_error(error)}") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path} is damaged or cut off ({error}); {remedy}") from error
    # Records that earlier versions wrote have no checksum.
    if isinstance(content, dict) and content.pop(_CHECKSUM, expected := _checksum(content)) != expected:
        raise RecordError(f"{path} is damaged or was changed: it does not have the SHA-256 that it names; {remedy}")
    return parse_record(content, where=str(path), remedy=remedy)


def _checksum(content: dict[str, Any]) -> str:
    """Of all entries but the checksum, however the JSON is laid out."""
    rest = {name: part for name, part in content.items() if name != _CHECKSUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def parse_record(content: Any, *, where: str, remedy: str) -> RunRecord:
    """The record that was read as JSON.

    Args:
        content: What the JSON holds.
        where: Names the file in errors.
        remedy: What to do if it is not a record.

    Raises:
        RecordError: It is of another version, or not a record.
    """
    if not isinstance(content, dict) or content.get("version") != RECORD_VERSION:
        version = content.get("version") if isinstance(content, dict) else None
        raise RecordError(f"{where} has version {version!r}; this Tanzaku reads version {RECORD_VERSION}")
    try:
        return RUN_RECORD.validate_python(content)
    except ValidationError as error:
        reason = describe_validation_error(error, tagged=True)
        raise RecordError(f"{where} is not a run record: {reason}; {remedy}") from error
