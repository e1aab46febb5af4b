"""From a finished run, or the recommended one of a study, to a bundle."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from tanzaku import __version__
from tanzaku.analysis.recommendation import DEFAULT_MARGIN
from tanzaku.data.dataset import Dataset
from tanzaku.data.loading import load_dataset
from tanzaku.encoders.files import CONFIG_FILE
from tanzaku.encoders.source import EncoderSource, files_of
from tanzaku.errors import BundleError, DataError, describe_validation_error
from tanzaku.measure.metrics import ChooseBy
from tanzaku.methods import EncoderMethod
from tanzaku.ship.building import building, write_facts
from tanzaku.ship.bundle import (
    ENCODER_FOLDER,
    MODEL_FOLDER,
    BaseFacts,
    Bundle,
    BundleFacts,
    QuantizationFacts,
    RunFacts,
    open_bundle,
)
from tanzaku.ship.choosing import choose_run
from tanzaku.ship.loading import find_encoder, load_adapted
from tanzaku.ship.manifest import is_litter
from tanzaku.ship.validation import check_labels, validate
from tanzaku.study.record import MODEL_FOLDER as RUN_MODEL_FOLDER
from tanzaku.study.record import RunRecord, SplitScores
from tanzaku.study.spec import RunSpec

# PEFT's model card: an empty form that names the machine's folders.
_LEFT_OUT = {"README.md"}
_WEIGHTS_FILE = "model.safetensors"


def pack(
    source: str | Path,
    out: str | Path,
    *,
    with_encoder: bool = False,
    int8: bool = False,
    encoder: str | None = None,
    dataset: Dataset | None = None,
    force: bool = False,
    margin: float = DEFAULT_MARGIN,
    choose_by: ChooseBy | None = None,
) -> Bundle:
    """Make a bundle; it is built in a temporary folder next to `out` and renamed, so that `out` is whole or not there.

    Args:
        source: The folder of a finished run, or of a study; see `choose_run`.
        out: The bundle's folder, new or empty.
        with_encoder: Merge the adapter and store all weights, so that the bundle classifies without its encoder; done
            in any case where the study pretrained the encoder itself. Adapters that can't be merged are stored beside
            the encoder's weights.
        int8: Store all weights, and every matrix outside the head in 8 bits; see `tanzaku.encoders.quantized`.
        encoder: Where the run's encoder lies now, if no longer under the name in the run's settings.
        dataset: With `int8`, its validation set is classified before and after, and `facts.quantized` of the bundle
            says what changed. None takes the run's own data where it still lies where the study read it.
        force: Replace a bundle that lies in `out`.
        margin: How much worse than the best the recommended arm may be, a share.
        choose_by: What of the validation set arms are chosen by; without it, what the study file said.

    Raises:
        BundleError: There is no finished run, its model is gone, the encoder is another than the run's, or something
            lies in `out`.
        DataError: The dataset has other labels.
        RecordError: A record is damaged.
    """
    run = choose_run(Path(source), margin=margin, choose_by=choose_by)
    folder, record = run.folder, run.record
    spec = _spec_of(record, folder)
    if int8 and not isinstance(spec.method, EncoderMethod):
        raise BundleError(f"int8 is for the weights of an encoder, and {spec.method_name} has none; pack it without")
    if dataset is not None:
        check_labels(dataset, record.data.label_names)
    with building(Path(out), force=force) as beside:
        whole, spec = _fill(beside, folder, record, spec, with_encoder=with_encoder or int8, encoder=encoder)
        facts = _facts(record, spec, whole=whole)
        write_facts(beside, facts)
        if int8:
            _quantize(beside, facts, record, dataset or _data_of(record))
    return open_bundle(out)


def _quantize(bundle: Path, facts: BundleFacts, record: RunRecord, dataset: Dataset | None) -> None:
    """Lower a whole bundle's weights to 8 bits, and measure on the validation set what that changes."""
    before = validate(bundle, dataset, encoder=None) if dataset is not None else None
    _lower(bundle / ENCODER_FOLDER, record)
    facts = facts.model_copy(update={"weights": "int8"})
    write_facts(bundle, facts)
    if dataset is not None and before is not None:
        after = validate(bundle, dataset, encoder=None)
        changed = int((before.predicted != after.predicted).sum())
        quantized = QuantizationFacts(changed=changed, val=after.scores, val_before=before.scores)
        write_facts(bundle, facts.model_copy(update={"quantized": quantized}))


def _data_of(record: RunRecord) -> Dataset | None:
    """The run's data, where it can be read and is still the same."""
    if record.data.source is None:
        return None
    try:
        dataset = load_dataset(record.data.source)
    except DataError:
        return None
    return dataset if dataset.fingerprint == record.data.fingerprint else None


def _spec_of(record: RunRecord, folder: Path) -> RunSpec:
    try:
        return RunSpec.model_validate(record.spec)
    except ValidationError as error:
        made_by = record.environment.versions.get("tanzaku")
        raise BundleError(
            f"this Tanzaku ({__version__}) does not know the settings of the run {folder}, which Tanzaku {made_by} "
            f"made; pack it with that: {describe_validation_error(error)}"
        ) from error


def _fill(
    bundle: Path, run: Path, record: RunRecord, spec: RunSpec, *, with_encoder: bool, encoder: str | None
) -> tuple[bool, RunSpec]:
    """Copy or make the model's files.

    Returns:
        Whether the bundle holds all weights of an encoder, and the settings with the name that finds its encoder now.
    """
    run = run.resolve()  # "." has neither a name nor a folder around it
    saved = run / RUN_MODEL_FOLDER
    if not saved.is_dir():
        raise BundleError(f"the run {run} has no {RUN_MODEL_FOLDER}/ folder any more; make the run again")
    if not isinstance(spec.method, EncoderMethod):
        _copy(saved, bundle / MODEL_FOLDER)
        return False, spec
    assert spec.encoder is not None
    assert record.encoder is not None
    made = record.encoder.pretraining
    source = find_encoder(
        spec.encoder,
        fingerprint=record.encoder.fingerprint,
        other_name=encoder or (str(run.parent / made.folder) if made else None),
        needed_by=f"the run {run.name}",
    )
    named = spec if made else _naming(spec, source, elsewhere=encoder is not None)
    _copy_settings(source, bundle / ENCODER_FOLDER)
    if spec.method.saves_whole_model:
        _copy(saved, bundle / ENCODER_FOLDER)
        return True, named
    whole = with_encoder or made is not None  # an encoder that the study pretrained itself is found nowhere else
    if whole and spec.method.mergeable:
        _merge(spec, source, record, saved, bundle / ENCODER_FOLDER)
        return True, named
    if whole:
        _write_weights(source, bundle / ENCODER_FOLDER)
    _copy(saved, bundle / MODEL_FOLDER)
    return whole, named


def _naming(spec: RunSpec, source: EncoderSource, *, elsewhere: bool) -> RunSpec:
    """The settings with an encoder's name that works from every folder.

    Where the encoder was given by another name (`elsewhere`), that takes the place of a folder that is gone; the
    hub's name stays, because it is found on other machines too.
    """
    assert spec.encoder is not None
    if elsewhere and not Path(spec.encoder.name).is_absolute():
        return spec
    revision = None if elsewhere else spec.encoder.revision
    encoder = spec.encoder.model_copy(update={"name": source.name, "revision": revision})
    return spec.model_copy(update={"encoder": encoder})


def _merge(spec: RunSpec, source: EncoderSource, record: RunRecord, saved: Path, folder: Path) -> None:
    """Write the adapted model as a plain one."""
    from tanzaku.methods.full import Full

    assert isinstance(spec.method, EncoderMethod)
    assert spec.encoder is not None
    model = load_adapted(source, spec.method, saved, label_names=record.data.label_names, reading=spec.encoder)
    Full().save(model, folder)


def _write_weights(source: EncoderSource, folder: Path) -> None:
    """Write the base encoder's own weights: as safetensors, whatever format they come in."""
    from safetensors.torch import save_file

    from tanzaku.encoders.weights import read_weights

    save_file(read_weights(source), folder / _WEIGHTS_FILE, metadata={"format": "pt"})


def _lower(folder: Path, record: RunRecord) -> None:
    """Write the weights in `folder` again, in 8 bits."""
    from safetensors.torch import save_file

    from tanzaku.encoders.quantized import quantize_matrices
    from tanzaku.encoders.weights import read_weights

    assert record.encoder is not None
    weights = read_weights(EncoderSource(record.encoder.name, folder, record.encoder.fingerprint))
    save_file(quantize_matrices(weights, head=record.encoder.head), folder / _WEIGHTS_FILE, metadata={"format": "pt"})


def _copy_settings(source: EncoderSource, folder: Path) -> None:
    folder.mkdir()
    for name in (CONFIG_FILE, *files_of(source).tokenizer):
        shutil.copyfile(source.folder / name, folder / name)


def _copy(source: Path, folder: Path) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_file() and path.name not in _LEFT_OUT and not is_litter(path):
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)  # not its permissions: the bundle's files are new ones


def _precision(record: RunRecord, spec: RunSpec) -> Literal["float32", "bfloat16"] | None:
    if spec.encoder is None:
        return None
    return record.compute.precision if record.compute else "float32"  # there was no choice


def _facts(record: RunRecord, spec: RunSpec, *, whole: bool) -> BundleFacts:
    assert record.val is not None
    assert record.test is not None
    base = record.encoder
    return BundleFacts(
        tanzaku=__version__,
        label_names=record.data.label_names,
        method=spec.model_dump(mode="json")["method"],
        encoder=spec.encoder,
        base=BaseFacts(fingerprint=base.fingerprint, model_type=base.model_type, parameters=base.parameters)
        if base
        else None,
        whole=whole,
        precision=_precision(record, spec),
        run=RunFacts(
            run_id=record.run_id,
            study=record.study,
            seed=spec.seed,
            ended=record.ended,
            versions=record.environment.versions,
            data=record.data.model_copy(update={"source": None}),  # a bundle is handed on, and that is a private path
            val=SplitScores.model_validate(record.val, from_attributes=True),
            test=SplitScores.model_validate(record.test, from_attributes=True),
        ),
    )
