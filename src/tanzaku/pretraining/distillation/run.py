"""One distillation, top to bottom."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from tanzaku.compute import Compute, choose_compute
from tanzaku.encoders.fast import is_plain_bert
from tanzaku.encoders.load import (
    EncoderSource,
    check_max_tokens,
    load_config,
    load_encoder,
    load_tokenizer,
    resolve_encoder,
)
from tanzaku.encoders.source import short_name
from tanzaku.encoders.tokenizer import TOKENIZER_CONFIG_FILE, copy_tokenizer
from tanzaku.errors import EncoderError
from tanzaku.pretraining.batches import PackedBatches
from tanzaku.pretraining.distillation.objective import Distillation, Losses
from tanzaku.pretraining.distillation.options import DistillOptions
from tanzaku.pretraining.distillation.student import (
    Student,
    existing_student,
    freeze_embeddings,
    new_student,
    restore_embeddings,
)
from tanzaku.pretraining.prepare import VOCABULARIES, Report, prepare_stream
from tanzaku.pretraining.record import DistillRecord, TeacherFacts
from tanzaku.pretraining.save import save_encoder
from tanzaku.pretraining.session import Inputs, Session, cut, encoder_facts, make_once, train, work_folder
from tanzaku.pretraining.sources import find_sources
from tanzaku.provenance import Stopwatch
from tanzaku.training.checkpoint import Checkpoints


@dataclass(frozen=True)
class _Inputs(Inputs):
    options: DistillOptions
    teacher: EncoderSource
    student: EncoderSource | None
    teacher_compute: Compute


def distill(
    teacher: str,
    texts: Sequence[Path],
    out: Path,
    *,
    options: DistillOptions,
    work: Path | None = None,
    report: Report = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> DistillRecord | None:
    """Distil an encoder and save it to `out`; the same call resumes where an earlier one was interrupted.

    Args:
        teacher: The encoder to learn from: folder, Hub id or name.
        texts: Text files, also .xz and .gz, and folders of them.
        out: The student's folder, which is whole or absent.
        options: As `read_distill_options` gives them.
        work: Where token streams and checkpoints are kept; `<out>.work` if not given.
        report: Called with each event: `Reading`, `Begins` and the loop's.
        stop: Asked between steps; once it says yes, a checkpoint is saved and the work ends.

    Returns:
        The record, also of a result that is there already; None where `stop` ended the work.

    Raises:
        TanzakuError: An input can't be used, `out` holds something else, or another process does the same work.
    """
    session = Session(report, stop, watch=Stopwatch())
    work = work_folder(out, work, texts)
    inputs = _look_at_inputs(teacher, texts, options, besides=(out, work / VOCABULARIES))

    def make(checkpoints: Checkpoints) -> DistillRecord | None:
        return _make(inputs, out, work, checkpoints, session)

    return make_once(DistillRecord, out, work=work, identity=inputs.identity, make=make)


def _look_at_inputs(
    teacher: str, texts: Sequence[Path], options: DistillOptions, *, besides: Sequence[Path]
) -> _Inputs:
    found = find_sources(texts, besides=besides)
    theirs = resolve_encoder(teacher)
    ours = resolve_encoder(options.student) if options.shape() is None else None
    for source in (theirs, *([ours] if ours else [])):
        check_max_tokens(load_config(source), options.max_tokens)
    compute, teacher_compute = _compute(options, ours or theirs), _compute(options, theirs)
    identity = options.identity(
        texts=[text.sha256 for text in found],
        teacher=theirs.fingerprint,
        student=ours.fingerprint if ours else options.student,
        compute=[asdict(compute), asdict(teacher_compute)],
    )
    return _Inputs(
        options=options,
        texts=found,
        compute=compute,
        identity=identity,
        teacher=theirs,
        student=ours,
        teacher_compute=teacher_compute,
    )


def _compute(options: DistillOptions, source: EncoderSource) -> Compute:
    return choose_compute(
        device=options.device,
        precision=options.precision,
        attention=options.attention,
        fast=options.fast and is_plain_bert(load_config(source)),
    )


def _make(inputs: _Inputs, out: Path, work: Path, checkpoints: Checkpoints, session: Session) -> DistillRecord | None:
    """From text and teacher to a saved student; None where it was asked to stop."""
    options = inputs.options
    tokenizer = _tokenizer(inputs)
    # A student that can't be made is found before all the text is tokenized.
    teacher = load_encoder(inputs.teacher, pooler=False)
    student = _student(inputs, teacher)
    stream = prepare_stream(
        tokenizer,
        inputs.texts,
        documents=options.documents,
        workers=options.workers,
        work=work,
        report=session.report,
    )
    batches = cut(stream, tokenizer, options)
    is_frozen = (options.embeddings or ("frozen" if student.has_embeddings else "trained")) == "frozen"
    frozen = freeze_embeddings(student.model) if is_frozen else {}
    encoder = encoder_facts(student.model, inputs.student)
    objective = _objective(inputs, student.model, teacher, batches)
    facts = train(objective, inputs, stream=stream, encoder=encoder, checkpoints=checkpoints, session=session)
    if facts is None:
        return None
    restore_embeddings(student.model, frozen)
    record = DistillRecord(**facts, **_own_facts(inputs, teacher, student, objective))
    _save(student.model, inputs.teacher, record, out, options)
    return record


def _save(
    model: PreTrainedModel, teacher: EncoderSource, record: DistillRecord, out: Path, options: DistillOptions
) -> None:
    def write_tokenizer(folder: Path) -> None:
        copy_tokenizer(teacher, folder)
        _limit_tokens(folder, record.encoder.positions)

    save_encoder(model, write_tokenizer, record, out, source=teacher, dtype=options.save_dtype)


def _limit_tokens(folder: Path, positions: int | None) -> None:
    """A student may read fewer tokens than the tokenizer of its teacher allows."""
    path = folder / TOKENIZER_CONFIG_FILE
    if positions is None or not path.is_file():
        return
    settings = json.loads(path.read_text(encoding="utf-8"))
    if settings.get("model_max_length", positions) > positions:
        settings["model_max_length"] = positions
        path.write_text(json.dumps(settings, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _student(inputs: _Inputs, teacher: PreTrainedModel) -> Student:
    options, shape = inputs.options, inputs.options.shape()
    if shape is not None:
        return new_student(teacher, shape, chosen=options.chosen_layers(), dropout=options.dropout, seed=options.seed)
    assert inputs.student is not None
    return existing_student(inputs.student, teacher, dropout=options.dropout)


def _objective(
    inputs: _Inputs, student: PreTrainedModel, teacher: PreTrainedModel, batches: PackedBatches
) -> Distillation:
    options = inputs.options
    for model, compute in ((student, inputs.compute), (teacher, inputs.teacher_compute)):
        model.set_attn_implementation(compute.attention)
        model.to(compute.device)
    return Distillation(
        student,
        teacher.requires_grad_(False).eval(),
        batches,
        losses=Losses(options.hidden_loss, options.pooled_loss, options.pooled_weight),
        mixed_lengths=options.lengths == "mixed",
        seed=options.seed,
        compute=inputs.compute,
        teacher_compute=inputs.teacher_compute,
    )


def _tokenizer(inputs: _Inputs) -> Any:
    """The teacher's tokenizer, which an existing student must have too."""
    tokenizer = load_tokenizer(inputs.teacher)
    if inputs.student is not None and load_tokenizer(inputs.student).get_vocab() != tokenizer.get_vocab():
        raise EncoderError(
            f"student {inputs.student.name!r} has another vocabulary than the teacher {inputs.teacher.name!r}; "
            "give a student with the teacher's tokenizer, or a shape such as layers=4"
        )
    return tokenizer


def _own_facts(inputs: _Inputs, teacher: PreTrainedModel, student: Student, objective: Distillation) -> dict[str, Any]:
    """The fields of the record that a pretraining's does not have."""
    return {
        "teacher": TeacherFacts(
            name=short_name(inputs.teacher),
            fingerprint=inputs.teacher.fingerprint,
            parameters=teacher.num_parameters(),
            layers=teacher.config.num_hidden_layers,
            hidden_size=teacher.config.hidden_size,
        ),
        "layers": student.model.config.num_hidden_layers,
        "hidden_size": student.model.config.hidden_size,
        "started_from": student.started_from,
        "matched": () if inputs.options.hidden_loss == "none" else objective.matched,
    }
