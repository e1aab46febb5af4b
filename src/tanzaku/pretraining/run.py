"""One pretraining, top to bottom."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from transformers import PreTrainedModel

from tanzaku.compute import Compute, choose_compute
from tanzaku.encoders.fast import is_plain_bert
from tanzaku.encoders.fit import document_ends
from tanzaku.encoders.load import EncoderSource, load_config, max_positions, resolve_encoder
from tanzaku.errors import TanzakuError
from tanzaku.machine import keep_freed_memory
from tanzaku.pretraining.batches import PackedBatches
from tanzaku.pretraining.cooccurrence import start_from_counts
from tanzaku.pretraining.loop import Budget, Finished, LoopSettings, PretrainLoop
from tanzaku.pretraining.masking import Masker
from tanzaku.pretraining.model import MaskedPredictor, load_encoder, new_encoder, start_from_sinusoids
from tanzaku.pretraining.options import PretrainOptions, parse_shape
from tanzaku.pretraining.prepare import Reading, Report, prepare_stream, prepare_tokenizer
from tanzaku.pretraining.record import (
    EncoderFacts,
    EvaluationFacts,
    PretrainRecord,
    SourceFacts,
    StreamFacts,
    surroundings,
)
from tanzaku.pretraining.save import find_result, save_encoder
from tanzaku.pretraining.sources import TextSource, find_sources
from tanzaku.pretraining.stream import TokenStream
from tanzaku.provenance import now
from tanzaku.training.checkpoint import Checkpoints
from tanzaku.training.optimizer import build_adamw, build_muon, hidden_matrices
from tanzaku.training.schedule import Schedule

# The root mean square of embeddings that do not start from random numbers, in standard deviations of new weights.
_START = 2.0
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
class _Inputs:
    options: PretrainOptions
    texts: list[TextSource]
    source: EncoderSource | None
    compute: Compute
    identity: str


def pretrain(
    texts: Sequence[Path],
    out: Path,
    *,
    options: PretrainOptions,
    work: Path | None = None,
    report: Report = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> PretrainRecord | None:
    """Pretrain an encoder and save it to `out`; the same call resumes where an earlier one was interrupted.

    Args:
        texts: Text files, also .xz and .gz, and folders of them.
        out: The encoder's folder, which is whole or absent.
        options: As `read_options` gives them.
        work: Where vocabularies, token streams and checkpoints are kept; `<out>.work` if not given. Several
            pretrainings may share it.
        report: Called with each event: `Reading`, `Begins` and the loop's.
        stop: Asked between steps; once it says yes, a checkpoint is saved and the work ends.

    Returns:
        The record, also of a result that is there already; None where `stop` ended the work.

    Raises:
        TanzakuError: An input can't be used, `out` holds something else, or another process does the same work.
    """
    started = now()
    work = work or out.with_name(f"{out.name}.work")
    inputs = _look_at_inputs(texts, options)
    if (found := find_result(out, identity=inputs.identity)) is not None:
        return found
    folder = work / "checkpoints" / inputs.identity[:_NAME_CHARACTERS]
    with _alone(folder):
        checkpoints = Checkpoints(folder, identity=inputs.identity)
        record = _make(inputs, out, work, checkpoints, started=started, report=report, stop=stop)
        if record is not None:
            checkpoints.clear()
    return record


def _make(
    inputs: _Inputs,
    out: Path,
    work: Path,
    checkpoints: Checkpoints,
    *,
    started: str,
    report: Report,
    stop: Callable[[], bool],
) -> PretrainRecord | None:
    """From text to a saved encoder; None where `stop` ended it."""
    options = inputs.options
    tokenizer = prepare_tokenizer(inputs.texts, options=options, source=inputs.source, work=work, report=report)
    stream = prepare_stream(tokenizer, inputs.texts, options=options, work=work, report=report)
    batches = _cut(stream, tokenizer, options)
    model = _model(inputs, tokenizer, batches, report)
    encoder = _encoder_facts(model, inputs.source)
    report(_begins(inputs, stream, batches, encoder))
    finished = _train(model, batches, inputs, checkpoints=checkpoints, report=report, stop=stop)
    if finished is None:
        return None
    record = _record(inputs, stream, batches, encoder, finished, started=started)
    dtype = torch.float16 if options.save_dtype == "float16" else torch.float32
    save_encoder(model, tokenizer, record, out, dtype=dtype)
    return record


def _begins(inputs: _Inputs, stream: TokenStream, batches: PackedBatches, encoder: EncoderFacts) -> Begins:
    return Begins(
        compute=inputs.compute,
        parameters=encoder.parameters,
        stream_tokens=len(stream.ids),
        batch_tokens=batches.batch_tokens,
        steps_per_epoch=batches.steps_per_epoch,
        positions=encoder.positions,
        grown_from=encoder.from_positions if encoder.from_positions != encoder.positions else None,
    )


def _look_at_inputs(texts: Sequence[Path], options: PretrainOptions) -> _Inputs:
    found = find_sources(texts)
    source = resolve_encoder(options.from_encoder) if options.from_encoder is not None else None
    compute = choose_compute(
        device=options.device,
        precision=options.precision,
        attention=options.attention,
        fast=options.fast and (source is None or is_plain_bert(load_config(source))),
    )
    identity = options.identity(
        texts=[text.sha256 for text in found],
        encoder=source.fingerprint if source else None,
        compute=asdict(compute),
    )
    return _Inputs(options=options, texts=found, source=source, compute=compute, identity=identity)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make sure that one process alone writes these checkpoints."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise TanzakuError("another process is at this very pretraining; wait for it, or end it") from error
    try:
        yield
    finally:
        lock.release()


def _cut(stream: TokenStream, tokenizer: Any, options: PretrainOptions) -> PackedBatches:
    first, last = document_ends(tokenizer)
    return PackedBatches(
        stream.ids,
        first=first,
        last=last,
        masker=Masker(tokenizer, rate=options.masking_rate, whole_words=options.whole_words),
        max_tokens=options.max_tokens,
        batch_tokens=options.batch_tokens,
        held_out=options.held_out,
        held_out_tokens=options.held_out_tokens,
        seed=options.seed,
        largest_shift=(options.positions or options.max_tokens) - options.max_tokens,
    )


def _model(inputs: _Inputs, tokenizer: Any, batches: PackedBatches, report: Report) -> PreTrainedModel:
    options = inputs.options
    if inputs.source is not None:
        model = load_encoder(inputs.source, max_tokens=options.max_tokens, dropout=options.dropout, seed=options.seed)
    else:
        assert options.shape is not None
        assert options.heads is not None
        assert options.intermediate is not None
        layers, hidden = parse_shape(options.shape)
        model = new_encoder(
            layers=layers,
            hidden=hidden,
            heads=options.heads,
            intermediate=options.intermediate,
            vocabulary_size=len(tokenizer),
            positions=options.positions or options.max_tokens,
            initial_std=options.initial_std,
            tie=options.tie,
            dropout=options.dropout,
            pad_id=tokenizer.pad_token_id,
            seed=options.seed,
        )
        if options.initial_positions == "sinusoidal":
            start_from_sinusoids(model, root_mean_square=_START * options.initial_std)
        if options.initial_embeddings == "counts":
            _count(model, tokenizer, batches, report, options)
    model.set_attn_implementation(inputs.compute.attention)
    return model.to(inputs.compute.device)


def _count(
    model: PreTrainedModel, tokenizer: Any, batches: PackedBatches, report: Report, options: PretrainOptions
) -> None:
    done, total = 0, batches.training_tokens

    def progress(tokens: int) -> None:
        nonlocal done
        done += tokens
        report(Reading("neighbours", done, total))

    start_from_counts(
        model,
        batches.training_text(),
        special_ids=tokenizer.all_special_ids,
        root_mean_square=_START * options.initial_std,
        seed=options.seed,
        progress=progress,
    )


def _train(
    model: PreTrainedModel,
    batches: PackedBatches,
    inputs: _Inputs,
    *,
    checkpoints: Checkpoints,
    report: Report,
    stop: Callable[[], bool],
) -> Finished | None:
    options = inputs.options
    if inputs.compute.device == "cpu":
        keep_freed_memory()
    torch.manual_seed(options.seed)  # for dropout, where there is any
    settings = LoopSettings(
        budget=_budget(options, batches),
        schedule=Schedule(options.schedule, options.warmup),
        max_grad_norm=options.max_grad_norm,
        evaluations=options.evaluations,
        checkpoint_minutes=options.checkpoint_minutes,
    )
    loop = PretrainLoop(
        MaskedPredictor(model, inputs.compute),
        _optimizers(model, options),
        batches,
        settings=settings,
        compute=inputs.compute,
        checkpoints=checkpoints,
        stop=stop,
    )
    for event in loop.run():
        report(event)
        if isinstance(event, Finished):
            return event
    return None


def _budget(options: PretrainOptions, batches: PackedBatches) -> Budget:
    """The budget, epochs as the steps that they take."""
    if options.epochs is None:
        return Budget(steps=options.steps, minutes=options.minutes)
    return Budget(steps=max(1, round(options.epochs * batches.steps_per_epoch)), minutes=None)


def _optimizers(model: PreTrainedModel, options: PretrainOptions) -> list[torch.optim.Optimizer]:
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


def _encoder_facts(model: PreTrainedModel, source: EncoderSource | None) -> EncoderFacts:
    return EncoderFacts(
        model_type=model.config.model_type,
        parameters=model.num_parameters(),
        positions=max_positions(model.config),
        vocabulary_size=model.config.vocab_size,
        from_name=source.name if source else None,
        from_fingerprint=source.fingerprint if source else None,
        from_positions=max_positions(load_config(source)) if source else None,
    )


def _record(
    inputs: _Inputs,
    stream: TokenStream,
    batches: PackedBatches,
    encoder: EncoderFacts,
    finished: Finished,
    *,
    started: str,
) -> PretrainRecord:
    return PretrainRecord(
        identity=inputs.identity,
        started=started,
        ended=now(),
        resumptions=finished.resumptions,
        options=inputs.options.model_dump(mode="json"),
        compute=asdict(inputs.compute),
        sources=tuple(
            SourceFacts(
                name=text.path.name,
                sha256=text.sha256,
                size=text.size,
                characters=stream.characters_of[text.sha256],
            )
            for text in inputs.texts
        ),
        stream=StreamFacts(
            documents=stream.documents,
            characters=stream.characters,
            tokens=len(stream.ids),
            steps_per_epoch=batches.steps_per_epoch,
            batch_tokens=batches.batch_tokens,
        ),
        encoder=encoder,
        steps=finished.step,
        tokens_seen=finished.tokens,
        seconds=finished.seconds,
        history=tuple(EvaluationFacts(**asdict(line)) for line in finished.history),
        **surroundings(),
    )
