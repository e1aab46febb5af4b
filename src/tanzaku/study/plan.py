"""From a study to runs that are ready to be made: everything that can be wrong is found here, before anything long."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from tanzaku.data.characters import clean_dataset
from tanzaku.data.dataset import Dataset
from tanzaku.encoders.load import (
    EncoderSource,
    bare_classifier,
    check_max_tokens,
    load_classifier,
    load_config,
    resolve_encoder,
)
from tanzaku.encoders.pooled import is_pooled
from tanzaku.encoders.reading import tokenized_length
from tanzaku.encoders.source import warn_of_revision
from tanzaku.errors import MethodError, SpecError
from tanzaku.methods.interface import StepHooks
from tanzaku.pretraining.options import ContinuedOptions
from tanzaku.study.expansion import expand
from tanzaku.study.folders import RunFolders
from tanzaku.study.naming import Namer, arms_of_runs
from tanzaku.study.planned import PlannedEncoderRun, PlannedRun, PlannedTextRun
from tanzaku.study.preparation import tokenized_splits
from tanzaku.study.pretrained import pretrained_encoder
from tanzaku.study.spec import DistillSpec, EncoderRunSpec, RunSpec, StudySpec, TextRunSpec
from tanzaku.study.teacher import SoftLabels, soft_labels


@dataclass(frozen=True)
class Plan:
    """A study's runs, in the order in which they are made."""

    study: str
    dataset: Dataset
    runs: list[PlannedRun]


def plan_study(study: StudySpec, *, dataset: Dataset, out: Path, progress: bool = False, processes: int = 1) -> Plan:
    """Fetch the encoder, check every arm against it, pretrain it where arms ask for that, and tokenise the documents.

    Each is made once: pretrained encoders are kept in `out`, tokens in the cache.

    Args:
        study: The study.
        dataset: Its data; texts that are not `published` are read as `tanzaku.data.characters` says.
        out: Each run gets a folder in it.
        progress: Show bars for the pretraining and the tokenisation.
        processes: How many train each run with an encoder together.

    Raises:
        DataError: A text holds half a surrogate pair, or a file of texts without labels can't be read.
        BundleError: A teacher can't be used.
        MethodError: A method reads a file that can't be found.
        EncoderError: The encoder can't be found or used.
        SpecError: An arm does not fit the encoder; the message names the arm.
        StudyInterrupted: The pretraining was asked to stop; a later call resumes it.
    """
    specs = [_with_absolute_paths(spec) for spec in expand(study.with_absolute_encoder())]
    dataset = clean_dataset(dataset)
    with_encoder = [spec for spec in specs if isinstance(spec, EncoderRunSpec)]
    _check_processes(with_encoder, processes)
    for spec in {spec.method: spec for spec in specs if isinstance(spec, TextRunSpec)}.values():
        spec.identity(data_fingerprint=dataset.fingerprint)  # finds the files that methods read
    base = check_encoder(with_encoder, dataset)
    teachers = prepare_teachers(with_encoder, dataset, out=out)
    encoders = prepare_encoders(with_encoder, dataset, base, out=out, progress=progress)
    arms = arms_of_runs(specs)
    namer, folders = Namer(arms), RunFolders(out)
    runs = [
        _planned(spec, encoders, teachers, dataset, folders=folders, name=namer.folder(arm))
        for spec, arm in zip(specs, arms, strict=True)
    ]
    runs = [replace(run, processes=processes) if isinstance(run, PlannedEncoderRun) else run for run in runs]
    # Arms may differ in what no result depends on: such runs are one.
    different: dict[Path, PlannedRun] = {}
    for run in runs:
        different.setdefault(run.folder, run)
    return Plan(study.name, dataset, list(different.values()))


def _with_absolute_paths(spec: RunSpec) -> RunSpec:
    if isinstance(spec, TextRunSpec):
        return spec.model_copy(update={"method": spec.method.with_absolute_paths()})
    return spec


def _check_processes(specs: Sequence[EncoderRunSpec], processes: int) -> None:
    """Make sure that each process has a GPU, where there are any, and that methods draw nothing that all must share."""
    if processes == 1:
        return
    gpus = torch.cuda.device_count()
    if 0 < gpus < processes:
        raise SpecError(f"{processes} processes a run need as many GPUs, and PyTorch sees {gpus}")
    for spec in specs:
        if type(spec.method).wrap_forward is not StepHooks.wrap_forward:
            raise SpecError(
                f"{spec.method.name} draws something at each step that several processes would draw differently; make "
                "its runs with one process each"
            )
        if spec.training.batch_size < processes:
            raise SpecError(
                f"training.batch_size = {spec.training.batch_size} leaves no document for some of {processes} "
                "processes a run; use fewer processes"
            )


def _planned(
    spec: RunSpec,
    encoders: Mapping[ContinuedOptions | None, EncoderSource],
    teachers: Mapping[DistillSpec, SoftLabels],
    dataset: Dataset,
    *,
    folders: RunFolders,
    name: str,
) -> PlannedRun:
    if isinstance(spec, TextRunSpec):
        identity = spec.identity(data_fingerprint=dataset.fingerprint)
        return PlannedTextRun(spec, folders.of(spec, name=name, identity=identity))
    encoder = encoders[spec.encoder.pretrain]
    teacher = teachers.get(spec.training.distill) if spec.training.distill is not None else None
    identity_of = partial(
        EncoderRunSpec.identity,
        data_fingerprint=dataset.fingerprint,
        encoder_fingerprint=encoder.fingerprint,
        teacher_fingerprint=None if teacher is None else teacher.fingerprint,
    )
    folder = folders.of(spec, name=name, identity=identity_of(spec))
    like = spec.method.trained_like()
    trained_like = None if like is None else identity_of(spec.model_copy(update={"method": like}))
    return PlannedEncoderRun(spec, folder, encoder, teacher, trained_like=trained_like)


def prepare_teachers(specs: Sequence[EncoderRunSpec], dataset: Dataset, *, out: Path) -> dict[DistillSpec, SoftLabels]:
    """The soft labels of each teacher and each file of texts that an arm names."""
    wanted = dict.fromkeys(spec.training.distill for spec in specs if spec.training.distill is not None)
    return {distill: soft_labels(distill, dataset=dataset, out=out) for distill in wanted if distill is not None}


def check_encoder(specs: Sequence[EncoderRunSpec], dataset: Dataset) -> EncoderSource | None:
    """Find the encoder, before any pretraining, and make sure that it works and that each arm fits it; None without
    runs.

    Raises:
        EncoderError: It can't be found or used.
        SpecError: An arm does not fit it; the message names the arm.
    """
    if not specs:
        return None
    settings = specs[0].encoder
    encoder = resolve_encoder(settings.name, revision=settings.revision)
    warn_of_revision(encoder, settings.revision)
    _check_fit(specs, encoder, labels=len(dataset.label_names))
    _check_behaviour(specs, encoder, dataset.label_names)
    return encoder


def prepare_encoders(
    specs: Sequence[EncoderRunSpec], dataset: Dataset, base: EncoderSource | None, *, out: Path, progress: bool
) -> dict[ContinuedOptions | None, EncoderSource]:
    """The encoder `base`, which `check_encoder` gave, as it is (None) and after each pretraining that an arm asks
    for."""
    if base is None:
        return {}
    encoders: dict[ContinuedOptions | None, EncoderSource] = {}
    for options in dict.fromkeys(spec.encoder.pretrain for spec in specs):
        encoder = base
        if options is not None:
            encoder = pretrained_encoder(base, options, texts=dataset.train.texts, out=out, progress=progress)
        for spec in _one_for_each_length([spec for spec in specs if spec.encoder.pretrain == options]):
            tokenized_splits(spec, dataset, encoder, progress=progress)
        encoders[options] = encoder
    return encoders


def _check_fit(specs: Sequence[EncoderRunSpec], encoder: EncoderSource, *, labels: int) -> None:
    """Make sure that the encoder can read and pool as each run wants it, and has the layers that the methods target."""
    config = load_config(encoder)
    bare: dict[tuple[str, str], nn.Module] = {}
    for spec in specs:
        reading = spec.encoder
        # Pretraining on longer sequences lets the position table grow, and says so where it can't.
        if reading.pretrain is None or reading.max_tokens > reading.pretrain.max_tokens:
            check_max_tokens(config, reading.max_tokens)
        key = (reading.pooling, reading.long_text)
        if key not in bare:
            bare[key] = bare_classifier(config, labels=labels, pooling=reading.pooling, long_text=reading.long_text)
        _check_method(spec, bare[key], head=())


def _check_method(spec: EncoderRunSpec, model: nn.Module, *, head: Sequence[str]) -> None:
    try:
        with spec.method.named_errors():
            spec.method.check(model, head=head)
    except MethodError as error:
        raise SpecError(f"the encoder {spec.encoder.name} and an arm do not go together: {error}") from error


def _check_behaviour(specs: Sequence[EncoderRunSpec], encoder: EncoderSource, label_names: Sequence[str]) -> None:
    """Load the encoder once for each kind of classifier: loading makes it work, and no run of a wrong one begins.

    Only the weights say what belongs to the head, which no method adapts as well.
    """
    kinds: dict[tuple[str, bool], list[EncoderRunSpec]] = {}
    for spec in specs:
        pooling = spec.encoder.pooling
        kinds.setdefault((pooling, is_pooled(pooling, spec.encoder.long_text)), []).append(spec)
    for same in kinds.values():
        _check_loaded(same, encoder, label_names)


def _check_loaded(specs: Sequence[EncoderRunSpec], encoder: EncoderSource, label_names: Sequence[str]) -> None:
    reading = specs[0].encoder
    loaded = load_classifier(
        encoder, label_names=label_names, seed=0, pooling=reading.pooling, long_text=reading.long_text
    )
    # Pretraining leaves no pooler, so that it is a part of the head, too.
    poolers = [name for name, _ in loaded.model.named_modules() if name.rpartition(".")[2] == "pooler"]
    for spec in specs:
        head = loaded.head if spec.encoder.pretrain is None else tuple(dict.fromkeys((*loaded.head, *poolers)))
        _check_method(spec, loaded.model, head=head)


def _one_for_each_length(specs: Sequence[EncoderRunSpec]) -> list[EncoderRunSpec]:
    """A run for each number of tokens that documents are truncated to, the whole document among them."""
    firsts: dict[int | None, EncoderRunSpec] = {}
    for spec in specs:
        reading = spec.encoder
        firsts.setdefault(tokenized_length(reading.long_text, max_tokens=reading.max_tokens), spec)
    return list(firsts.values())
