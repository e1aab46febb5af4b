"""One pretraining, top to bottom."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from tanzaku.compute import choose_compute
from tanzaku.encoders.fast import is_plain_bert
from tanzaku.encoders.load import EncoderSource, load_config, resolve_encoder
from tanzaku.encoders.tokenizer import save_tokenizer
from tanzaku.errors import DataError
from tanzaku.pretraining.batches import PackedBatches
from tanzaku.pretraining.cooccurrence import start_from_counts
from tanzaku.pretraining.masked_language import MaskedLanguage
from tanzaku.pretraining.masking import Masker
from tanzaku.pretraining.model import MaskedPredictor, load_encoder, new_encoder, start_from_sinusoids
from tanzaku.pretraining.options import PretrainOptions, parse_shape
from tanzaku.pretraining.prepare import VOCABULARIES, Reading, Report, prepare_stream, prepare_tokenizer
from tanzaku.pretraining.record import PretrainRecord
from tanzaku.pretraining.save import save_encoder
from tanzaku.pretraining.session import Inputs, Session, cut, encoder_facts, make_once, train, work_folder
from tanzaku.pretraining.sources import find_sources
from tanzaku.provenance import Stopwatch
from tanzaku.training.checkpoint import Checkpoints

# The root mean square of embeddings that do not start from random numbers, in standard deviations of new weights.
_START = 2.0


@dataclass(frozen=True)
class _Inputs(Inputs):
    options: PretrainOptions
    source: EncoderSource | None


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
    session = Session(report, stop, watch=Stopwatch())
    work = work_folder(out, work, texts)
    inputs = _look_at_inputs(texts, options, besides=(out, work / VOCABULARIES))

    def make(checkpoints: Checkpoints) -> PretrainRecord | None:
        return _make(inputs, out, work, checkpoints, session)

    return make_once(PretrainRecord, out, work=work, identity=inputs.identity, make=make)


def _make(inputs: _Inputs, out: Path, work: Path, checkpoints: Checkpoints, session: Session) -> PretrainRecord | None:
    """From text to a saved encoder; None where it was asked to stop."""
    options, report = inputs.options, session.report
    tokenizer = prepare_tokenizer(inputs.texts, options=options, source=inputs.source, work=work, report=report)
    masker = Masker(tokenizer, rate=options.masking_rate, whole_words=options.whole_words)
    stream = prepare_stream(
        tokenizer, inputs.texts, documents=options.documents, workers=options.workers, work=work, report=report
    )
    spare = (options.positions or options.max_tokens) - options.max_tokens
    batches = cut(stream, tokenizer, options, largest_shift=spare)
    if not any(masker.knows(batch.input_ids) for batch in batches.held_out()):
        raise DataError(
            "the encoder's vocabulary has no piece of the held-out text; give other text or another encoder"
        )
    model = _model(inputs, tokenizer, batches, report)
    encoder = encoder_facts(model, inputs.source)
    predictor = MaskedPredictor(model, inputs.compute)
    objective = MaskedLanguage(predictor, batches, masker, seed=options.seed, compute=inputs.compute)
    facts = train(objective, inputs, stream=stream, encoder=encoder, checkpoints=checkpoints, session=session)
    if facts is None:
        return None
    record = PretrainRecord(**facts)
    tokenizer.model_max_length = encoder.positions or options.max_tokens
    write_tokenizer = partial(save_tokenizer, tokenizer)
    save_encoder(model, write_tokenizer, record, out, source=inputs.source, dtype=options.save_dtype)
    return record


def _look_at_inputs(texts: Sequence[Path], options: PretrainOptions, *, besides: Sequence[Path]) -> _Inputs:
    found = find_sources(texts, besides=besides)
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
