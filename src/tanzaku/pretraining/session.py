"""What a pretraining and a distillation share: batches, optimisers, the loop, one process at a time, records' facts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from filelock import FileLock, Timeout
from torch import nn
from transformers import PreTrainedModel

from tanzaku.compute import Compute
from tanzaku.encoders.fit import document_ends
from tanzaku.encoders.load import EncoderSource, load_config, max_positions
from tanzaku.errors import TanzakuError
from tanzaku.machine import keep_freed_memory
from tanzaku.pretraining.batches import PackedBatches
from tanzaku.pretraining.loop import Budget, Finished, LoopSettings, PretrainLoop
from tanzaku.pretraining.objective import Objective
from tanzaku.pretraining.options import LoopOptions
from tanzaku.pretraining.prepare import Report
from tanzaku.pretraining.record import EncoderFacts, SourceFacts, StreamFacts, surroundings
from tanzaku.pretraining.sources import TextSource
from tanzaku.pretraining.stream import TokenStream
from tanzaku.provenance import now
from tanzaku.training.checkpoint import Checkpoints
from tanzaku.training.optimizer import build_adamw, build_muon, hidden_matrices
from tanzaku.training.schedule import Schedule

_NAME_CHARACTERS = 16  # of the identity, for a folder's name
Made = TypeVar("Made")


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
    """One call: what it reports to, and when it is asked to stop; see `tanzaku.pretraining.run.pretrain`."""

    report: Report
    stop: Callable[[], bool]


def make_with_checkpoints(work: Path, identity: str, make: Callable[[Checkpoints], Made | None]) -> Made | None:
    """What `make` gives, which may resume from checkpoints; they are removed once it gives something.

    Raises:
        TanzakuError: Another process makes the same.
    """
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


def begins(compute: Compute, stream: TokenStream, batches: PackedBatches, encoder: EncoderFacts) -> Begins:
    """The event before the first step."""
    return Begins(
        compute=compute,
        parameters=encoder.parameters,
        stream_tokens=len(stream.ids),
        batch_tokens=batches.batch_tokens,
        steps_per_epoch=batches.steps_per_epoch,
        positions=encoder.positions,
        grown_from=encoder.from_positions if encoder.from_positions != encoder.positions else None,
    )


def train(
    objective: Objective, options: LoopOptions, compute: Compute, checkpoints: Checkpoints, session: Session
) -> Finished | None:
    """Run the loop to its end; None where it was asked to stop."""
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
        if isinstance(event, Finished):
            return event
    return None


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
        from_name=source.name if source else None,
        from_fingerprint=source.fingerprint if source else None,
        from_positions=max_positions(load_config(source)) if source else None,
    )


def shared_facts(
    *,
    identity: str,
    started: str,
    options: LoopOptions,
    compute: Compute,
    texts: Sequence[TextSource],
    stream: TokenStream,
    batches: PackedBatches,
    encoder: EncoderFacts,
    finished: Finished,
) -> dict[str, Any]:
    """The fields that every record has, but for the history."""
    return {
        "identity": identity,
        "started": started,
        "ended": now(),
        "resumptions": finished.resumptions,
        "options": options.model_dump(mode="json"),
        "compute": asdict(compute),
        "sources": tuple(_source_facts(text, stream) for text in texts),
        "stream": StreamFacts(
            documents=stream.documents,
            characters=stream.characters,
            tokens=len(stream.ids),
            steps_per_epoch=batches.steps_per_epoch,
            batch_tokens=batches.batch_tokens,
        ),
        "encoder": encoder,
        "steps": finished.step,
        "tokens_seen": finished.tokens,
        "seconds": finished.seconds,
        **surroundings(),
    }


def _source_facts(text: TextSource, stream: TokenStream) -> SourceFacts:
    characters = stream.characters_of[text.sha256]
    return SourceFacts(name=text.path.name, sha256=text.sha256, size=text.size, characters=characters)
