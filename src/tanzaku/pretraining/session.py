"""What a pretraining and a distillation share: batches, optimisers, the loop, one process at a time, records' facts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import nn
from transformers import PreTrainedModel

from tanzaku.compute import Compute
from tanzaku.encoders.fit import document_ends
from tanzaku.encoders.load import EncoderSource, load_config, max_positions
from tanzaku.encoders.source import short_name
from tanzaku.errors import SpecError, TanzakuError
from tanzaku.machine import keep_freed_memory
from tanzaku.pretraining.batches import PackedBatches
from tanzaku.pretraining.loop import Budget, LoopSettings, PretrainLoop
from tanzaku.pretraining.objective import Objective
from tanzaku.pretraining.options import LoopOptions, NewEncoderOptions, PretrainOptions
from tanzaku.pretraining.prepare import Report
from tanzaku.pretraining.record import EncoderFacts, Record, SourceFacts, StreamFacts, surroundings
from tanzaku.pretraining.save import find_result
from tanzaku.pretraining.sources import TextSource
from tanzaku.pretraining.stream import TokenStream
from tanzaku.provenance import Stopwatch
from tanzaku.training.checkpoint import Checkpoints
from tanzaku.training.events import BudgetSpent, Interrupted
from tanzaku.training.optimizer import build_adamw, build_muon, hidden_matrices
from tanzaku.training.schedule import Schedule

_NAME_CHARACTERS = 16  # of the identity, for a folder's name


@dataclass(frozen=True)
class Begins:
    """The training is about to begin; `grown_from` is the number of positions before the table grew, if it did."""

    compute: Compute
    parameters: int
    stream_tokens: int
    batch_tokens: int
    steps_per_epoch: int
    positions: int | None
    grown_from: int | None


@dataclass(frozen=True)
class Session:
    """One call, which began with `watch`; see `tanzaku.pretraining.run.pretrain` for the others."""

    report: Report
    stop: Callable[[], bool]
    watch: Stopwatch


@dataclass(frozen=True)
class Inputs:
    """What every result is made of; `identity` is over all of it."""

    options: LoopOptions
    texts: list[TextSource]
    compute: Compute
    identity: str


def work_folder(out: Path, work: Path | None, texts: Sequence[Path]) -> Path:
    """Where vocabularies, token streams and checkpoints are kept: `work`, or else `<out>.work`.

    Raises:
        SpecError: It is `out` or in it, which is to be new when the result is written, or a text is; or `out` has no
            name.
    """
    place = out.resolve()
    if place in (Path.cwd(), Path(place.anchor)):
        raise SpecError(f"{out} is the current folder or has no name; name a new folder")
    work = work or place.with_name(f"{place.name}.work")
    if inside := [text for text in texts if text.resolve().is_relative_to(place)]:
        raise SpecError(f"the text {inside[0]} is, or is in, the result's folder {out}; choose another folder")
    if work.resolve().is_relative_to(place):
        raise SpecError(f"the work folder {work} is, or is in, the result's folder {out}; choose another one")
    return work


def make_once(
    kind: type[Record], out: Path, *, work: Path, identity: str, make: Callable[[Checkpoints], Record | None]
) -> Record | None:
    """The record of the result in `out`, or else of what `make` makes there; None where it was asked to stop.

    `make` may resume from checkpoints; they are removed once it gives something.

    Raises:
        TanzakuError: `out` holds something else, or another process makes the same.
    """
    if (found := find_result(kind, out, identity=identity)) is not None:
        return found
    folder = work / "checkpoints" / identity[:_NAME_CHARACTERS]
    with _only_process(folder):
        checkpoints = Checkpoints(folder, identity=identity)
        made = make(checkpoints)
        if made is not None:
            checkpoints.clear()
    return made


@contextmanager
def _only_process(folder: Path) -> Iterator[None]:
    """Make sure that only one process writes these checkpoints."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise TanzakuError("another process is already making this very encoder; wait for it, or end it") from error
    try:
        yield
    finally:
        lock.release()


def cut(stream: TokenStream, tokenizer: Any, options: LoopOptions, *, largest_shift: int = 0) -> PackedBatches:
    """The stream as batches of these options."""
    first, last = document_ends(tokenizer)
    return PackedBatches(
        stream.ids,
        first=first,
        last=last,
        max_tokens=options.max_tokens,
        batch_tokens=options.batch_tokens,
        held_out=options.held_out,
        held_out_tokens=options.held_out_tokens,
        seed=options.seed,
        largest_shift=largest_shift,
    )


def train(
    objective: Objective,
    inputs: Inputs,
    *,
    stream: TokenStream,
    encoder: EncoderFacts,
    checkpoints: Checkpoints,
    session: Session,
) -> dict[str, Any] | None:
    """Run the loop to its end.

    Returns:
        The fields that every record has; None where it was asked to stop.
    """
    batches = objective.batches
    session.report(
        Begins(
            compute=inputs.compute,
            parameters=encoder.parameters,
            stream_tokens=len(stream.ids),
            batch_tokens=batches.batch_tokens,
            steps_per_epoch=batches.steps_per_epoch,
            positions=encoder.positions,
            grown_from=encoder.from_positions if encoder.from_positions != encoder.positions else None,
        )
    )
    try:
        done = _run_loop(objective, inputs.options, inputs.compute, checkpoints, session)
    except Interrupted:
        return None
    return {
        "started": session.watch.started,
        "ended": session.watch.now,
        "resumptions": done.resumptions,
        "encoder": encoder,
        "steps": done.step,
        "tokens_seen": done.tokens,
        "seconds": done.seconds,
        "history": tuple(line.flat() for line in done.history),
        **_input_facts(inputs, stream, batches),
        **surroundings(),
    }


def _input_facts(inputs: Inputs, stream: TokenStream, batches: PackedBatches) -> dict[str, Any]:
    return {
        "identity": inputs.identity,
        "options": inputs.options.model_dump(mode="json", exclude=_without_effect(inputs.options)),
        "compute": asdict(inputs.compute),
        "sources": tuple(_source_facts(text, inputs.texts, stream) for text in inputs.texts),
        "stream": StreamFacts(
            documents=stream.documents,
            characters=stream.characters,
            tokens=len(stream.ids),
            steps_per_epoch=batches.steps_per_epoch,
            batch_tokens=batches.batch_tokens,
        ),
    }


def _without_effect(options: LoopOptions) -> set[str]:
    """The options of a new encoder, where there is none."""
    goes_on = isinstance(options, PretrainOptions) and options.from_encoder is not None
    return set(NewEncoderOptions.model_fields) if goes_on else set()


def _run_loop(
    objective: Objective, options: LoopOptions, compute: Compute, checkpoints: Checkpoints, session: Session
) -> BudgetSpent:
    if compute.device == "cpu":
        keep_freed_memory()
    torch.manual_seed(options.seed)  # for dropout, where there is any
    settings = LoopSettings(
        budget=_budget(options, objective.batches),
        schedule=Schedule(options.schedule, options.warmup),
        max_grad_norm=options.max_grad_norm,
        evaluations=options.evaluations,
        checkpoint_minutes=options.checkpoint_minutes,
    )
    loop = PretrainLoop(
        objective,
        _optimizers(objective.model, options),
        settings=settings,
        compute=compute,
        checkpoints=checkpoints,
        stop=session.stop,
    )
    for event in loop.run():
        session.report(event)
    assert isinstance(event, BudgetSpent)  # a loop that ends without an error ends with it
    return event


def _budget(options: LoopOptions, batches: PackedBatches) -> Budget:
    """The budget, epochs and tokens as the steps that they take."""
    if options.epochs is not None:
        return Budget(steps=max(1, round(options.epochs * batches.steps_per_epoch)), minutes=None)
    if options.tokens is not None:
        return Budget(steps=-(-options.tokens // batches.batch_tokens), minutes=None)
    return Budget(steps=options.steps, minutes=options.minutes)


def _optimizers(model: nn.Module, options: LoopOptions) -> list[torch.optim.Optimizer]:
    """AdamW for all, or for all but the matrices inside the layers, which are then Muon's."""
    assert options.learning_rate is not None
    adamw = build_adamw(
        model,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        beta1=options.beta1,
        beta2=options.beta2,
        epsilon=options.epsilon,
        without=hidden_matrices(model) if options.optimizer == "muon" else (),
    )
    if options.optimizer == "adamw":
        return [adamw]
    assert options.muon_learning_rate is not None
    return [adamw, build_muon(model, learning_rate=options.muon_learning_rate, weight_decay=options.weight_decay)]


def encoder_facts(model: PreTrainedModel, source: EncoderSource | None) -> EncoderFacts:
    """What a record says of the encoder that is trained, which starts from `source`, if it is not new."""
    return EncoderFacts(
        model_type=model.config.model_type,
        parameters=model.num_parameters(),
        positions=max_positions(model.config),
        vocabulary_size=model.config.vocab_size,
        from_name=short_name(source) if source else None,
        from_fingerprint=source.fingerprint if source else None,
        from_positions=max_positions(load_config(source)) if source else None,
    )


def _source_facts(text: TextSource, texts: Sequence[TextSource], stream: TokenStream) -> SourceFacts:
    alike = sum(other.sha256 == text.sha256 for other in texts)
    characters = stream.characters_of[text.sha256] // alike
    return SourceFacts(name=text.path.name, sha256=text.sha256, size=text.size, characters=characters)
