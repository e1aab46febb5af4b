"""What is kept of a pretraining or a distillation, as one versioned JSON file next to the weights."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from tanzaku.facts import Facts, read_facts
from tanzaku.machine import describe_machine
from tanzaku.provenance import GIT_STATE, versions

RECORD_FILE = "record.json"
_PACKAGES = ("tanzaku", "torch", "transformers", "tokenizers", "fugashi", "ipadic", "numpy", "safetensors")


class SourceFacts(Facts):
    """One text file."""

    name: str
    sha256: Annotated[str, Field(description="Of the file as it lies on disk.")]
    size: Annotated[int, Field(description="In bytes, as it lies on disk.")]
    characters: Annotated[int, Field(description="Without line ends and the spaces around lines.")]


class StreamFacts(Facts):
    """The text as tokens."""

    documents: int
    characters: int
    tokens: Annotated[int, Field(description="A [SEP] after each document among them.")]
    steps_per_epoch: int
    batch_tokens: int


class EncoderFacts(Facts):
    """The encoder that was trained."""

    model_type: str
    parameters: int
    positions: int | None
    vocabulary_size: int
    from_name: str | None
    from_fingerprint: str | None
    from_positions: Annotated[int | None, Field(description="Before the table grew.")]


class _EvaluationFacts(Facts):
    """One evaluation; see `tanzaku.training.events.HeldOutResult`."""

    step: int
    epoch: float
    tokens: int
    seconds: float
    learning_rate: float
    train_loss: float
    held_out_loss: float
    muon_learning_rate: float | None = None


class EvaluationFacts(_EvaluationFacts):
    """One evaluation of a pretraining; losses are in nats a masked token."""

    held_out_accuracy: Annotated[float, Field(description="At masked places.")]


class DistillationEvaluationFacts(_EvaluationFacts):
    """One evaluation of a distillation; see `tanzaku.pretraining.distillation.losses` for the losses."""

    held_out_layers: Annotated[
        tuple[float, ...], Field(description="The loss of each matched layer, from the lowest to the highest.")
    ]
    held_out_pooled: Annotated[float | None, Field(description="The loss of the pooled vectors.")]
    held_out_cosine: Annotated[
        float | None,
        Field(description="Mean cosine between the student's and the teacher's pooled vector of a sequence."),
    ]


class _Record(Facts):
    version: Literal[1] = 1
    identity: Annotated[str, Field(description="SHA-256 over all that decides the result.")]
    started: Annotated[str, Field(description="Of the last session, ISO 8601, UTC.")]
    ended: str
    resumptions: int
    options: dict[str, Any]
    compute: Annotated[dict[str, str], Field(description="Device, precision and attention that were used.")]
    sources: tuple[SourceFacts, ...]
    stream: StreamFacts
    encoder: EncoderFacts
    steps: int
    tokens_seen: Annotated[int, Field(description="[CLS] and [SEP] among them.")]
    seconds: Annotated[float, Field(description="Training, evaluation and checkpoints, over all sessions.")]
    machine: dict[str, Any]
    versions: dict[str, str]
    git_commit: str | None
    git_dirty: bool | None


class PretrainRecord(_Record):
    """One finished pretraining."""

    kind: Literal["pretraining"] = "pretraining"
    history: tuple[EvaluationFacts, ...]


class TeacherFacts(Facts):
    """The encoder that was learned from."""

    name: Annotated[str, Field(description="On the Hub, or that of its folder.")]
    fingerprint: Annotated[str, Field(description="SHA-256 over the checkpoint's files.")]
    parameters: int
    layers: int
    hidden_size: int


class DistillRecord(_Record):
    """One finished distillation; `encoder` is the student."""

    kind: Literal["distillation"] = "distillation"
    teacher: TeacherFacts
    layers: Annotated[int, Field(description="Of the student.")]
    hidden_size: Annotated[int, Field(description="Of the student.")]
    started_from: Annotated[
        tuple[int, ...] | None, Field(description="The teacher's layers that the student's are copies of, from 0.")
    ]
    matched: Annotated[
        tuple[tuple[int, int], ...],
        Field(description="A student's layer and the teacher's whose hidden states it learns, both from 0."),
    ]
    history: tuple[DistillationEvaluationFacts, ...]


Record = TypeVar("Record", PretrainRecord, DistillRecord)


def read_pretrain_record(folder: Path) -> PretrainRecord:
    """Read the record in a pretrained encoder's folder.

    Raises:
        RecordError: It is missing, damaged, or of another kind or version.
    """
    return read_record_of(PretrainRecord, folder)


def read_distill_record(folder: Path) -> DistillRecord:
    """Read the record in a distilled encoder's folder.

    Raises:
        RecordError: It is missing, damaged, or of another kind or version.
    """
    return read_record_of(DistillRecord, folder)


def read_record_of(kind: type[Record], folder: Path) -> Record:
    """Read the record of this kind in an encoder's folder.

    Raises:
        RecordError: It is missing, damaged, or of another kind or version.
    """
    what, remedy = f"the record of a {kind.model_fields['kind'].default}", "give the folder of such an encoder"
    return read_facts(kind, folder / RECORD_FILE, what=what, remedy=remedy)


def surroundings() -> dict[str, Any]:
    """The fields `machine`, `versions`, `git_commit` and `git_dirty` of a record."""
    commit, dirty = GIT_STATE
    return {
        "machine": asdict(describe_machine()),
        "versions": versions(_PACKAGES),
        "git_commit": commit,
        "git_dirty": dirty,
    }
