"""From a finished run, or the recommended one of a study, to a bundle."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import ValidationError

from tanzaku import __version__
from tanzaku.analysis.recommendation import DEFAULT_MARGIN
from tanzaku.data.dataset import Dataset
from tanzaku.data.loading import load_dataset
from tanzaku.encoders.files import CONFIG_FILE
from tanzaku.encoders.source import EncoderSource, files_of
from tanzaku.errors import BundleError, DataError, SpecError, describe_validation_error
from tanzaku.measure.metrics import ChooseBy
from tanzaku.ship.building import building, write_facts
from tanzaku.ship.bundle import (
    ENCODER_FOLDER,
    MODEL_FOLDER,
    BaseFacts,
    Bundle,
    EncoderBundleFacts,
    QuantizationFacts,
    RunFacts,
    TextBundleFacts,
    open_bundle,
)
from tanzaku.ship.certificate import (
    Measured,
    Texts,
    bundle_bytes,
    certify,
    check_certificate,
    measure_form,
    texts_of,
    write_certificate,
)
from tanzaku.ship.choosing import choose_run
from tanzaku.ship.held_out import HELD_OUT_FILE, write_held_out
from tanzaku.ship.loading import find_encoder, load_adapted
from tanzaku.ship.manifest import is_litter
from tanzaku.ship.validation import check_labels, validate
from tanzaku.study.record import MODEL_FOLDER as RUN_MODEL_FOLDER
from tanzaku.study.record import (
    CalibrationFacts,
    EncoderFacts,
    FinishedEncoderRun,
    FinishedRun,
    FinishedTextRun,
    SplitScores,
)
from tanzaku.study.runs import StoredRun
from tanzaku.study.spec import EncoderRunSpec, EncoderSpec, TextRunSpec

Spec = TypeVar("Spec", EncoderRunSpec, TextRunSpec)

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
    max_flips: float | None = None,
    force: bool = False,
    margin: float = DEFAULT_MARGIN,
    choose_by: ChooseBy | None = None,
) -> Bundle:
    """Make a bundle; it is built in a temporary folder next to `out` and renamed, so that `out` is whole or not there.

    Args:
        source: The folder of a finished run, or of a study; see `choose_run`.
        out: The bundle's folder, new or empty.
        with_encoder: Store all weights, with the adapter merged if it can be, so that the bundle classifies without its
            encoder; done in any case where the study pretrained the encoder itself.
        int8: Store all weights, and every matrix outside the head in 8 bits; see `tanzaku.encoders.quantized`.
        encoder: Where the run's encoder lies now, if no longer under the name in the run's settings.
        dataset: With `int8`, its validation set is classified before and after. None takes the run's own data where it
            still lies where the study read it, and otherwise the embedded sample corpus.
        max_flips: With `int8`, the largest share of validation texts that may get another label.
        force: Replace a bundle that lies in `out`.
        margin: How much worse than the best the recommended arm may be, a share.
        choose_by: What of the validation set arms are chosen by; without it, what the study file said.

    Raises:
        BundleError: There is no finished run, its model is gone, the encoder is another than the run's, more texts
            than `max_flips` get another label, or something lies in `out`.
        DataError: The dataset has other labels.
        RecordError: A record is damaged.
    """
    chosen = choose_run(Path(source), margin=margin, choose_by=choose_by)
    folder, record = chosen.folder.resolve(), chosen.record  # "." has neither a name nor a folder around it
    if dataset is not None:
        check_labels(dataset, record.data.label_names)
    if isinstance(record, FinishedTextRun):
        if int8:
            raise BundleError(f"int8 is for the weights of an encoder, and {record.method} has none; pack it without")
        with building(Path(out), force=force) as staging:
            _pack_text(staging, folder, record)
        return open_bundle(out)
    with building(Path(out), force=force) as staging:
        facts = _pack_encoder(staging, folder, record, with_encoder=with_encoder or int8, encoder=encoder)
        if int8:
            _quantize(staging, facts, record, dataset or _data_of(record), max_flips=max_flips)
    return open_bundle(out)


def _pack_text(bundle: Path, run: Path, record: FinishedTextRun) -> None:
    spec = _spec_of(TextRunSpec, record, run)
    _copy(_saved_model(run), bundle / MODEL_FOLDER)
    calibration = _pack_calibration(bundle, run, record)
    facts = TextBundleFacts(
        tanzaku=__version__,
        label_names=record.data.label_names,
        method=spec.model_dump(mode="json")["method"],
        run=_run_facts(record, seed=spec.seed),
        calibration=calibration,
    )
    write_facts(bundle, facts)


def _pack_encoder(
    bundle: Path, run: Path, record: FinishedEncoderRun, *, with_encoder: bool, encoder: str | None
) -> EncoderBundleFacts:
    spec = _spec_of(EncoderRunSpec, record, run)
    whole, settings = _fill(bundle, run, record, spec, with_encoder=with_encoder, encoder=encoder)
    calibration = _pack_calibration(bundle, run, record)
    base = record.encoder
    facts = EncoderBundleFacts(
        tanzaku=__version__,
        label_names=record.data.label_names,
        method=spec.model_dump(mode="json")["method"],
        encoder=settings,
        base=BaseFacts(fingerprint=base.fingerprint, model_type=base.model_type, parameters=base.parameters),
        whole=whole,
        precision=record.compute.precision,
        run=_run_facts(record, seed=spec.seed),
        calibration=calibration,
    )
    write_facts(bundle, facts)
    return facts


def _pack_calibration(bundle: Path, run: Path, record: FinishedRun) -> CalibrationFacts:
    """Write how the validation documents were classified; return how scores become probabilities."""
    stored = StoredRun(record, run)
    held_out = stored.predictions("validation")
    if record.calibration is None or held_out is None or held_out.probabilities is None:
        raise BundleError(
            f"the run {run} has no calibrated predictions of its validation documents "
            f"({stored.predictions_path('validation').name}), so its bundle could not give probabilities; make the run "
            "again"
        )
    if not record.calibration.documents:
        return record.calibration  # the validation documents were trained on
    correct = np.array(held_out.classes) == np.array(held_out.predicted)
    write_held_out(bundle, probabilities=held_out.probabilities, correct=correct)
    return record.calibration


def _run_facts(record: FinishedRun, *, seed: int) -> RunFacts:
    return RunFacts(
        run_id=record.run_id,
        study=record.study,
        seed=seed,
        ended=record.ended,
        versions=record.environment.versions,
        data=record.data.model_copy(update={"source": None}),  # a bundle is handed on, and that is a private path
        val=SplitScores.model_validate(record.val, from_attributes=True),
        test=SplitScores.model_validate(record.test, from_attributes=True),
    )


def _quantize(
    bundle: Path,
    facts: EncoderBundleFacts,
    record: FinishedEncoderRun,
    dataset: Dataset | None,
    *,
    max_flips: float | None,
) -> None:
    """Lower a whole bundle's weights to 8 bits, and measure on the validation set what that changes."""
    texts = texts_of(dataset, label_names=facts.label_names)
    before = validate(bundle, dataset, encoder=None) if dataset is not None else None
    original = _measure(bundle, texts)
    (bundle / HELD_OUT_FILE).unlink(missing_ok=True)  # it is about the weights as trained
    _lower(bundle / ENCODER_FOLDER, record.encoder)
    facts = facts.model_copy(update={"weights": "int8"})
    write_facts(bundle, facts)
    certificate = certify(original, _measure(bundle, texts), texts, form="bundle", dtype="int8")
    check_certificate(certificate, max_flips=max_flips)
    write_certificate(bundle, certificate)
    write_facts(bundle, facts)
    if dataset is not None and before is not None:
        after = validate(bundle, dataset, encoder=None)
        changed = int((before.predicted != after.predicted).sum())
        quantized = QuantizationFacts(changed=changed, val=after.scores, val_before=before.scores)
        after.write_held_out(bundle)
        write_facts(bundle, facts.model_copy(update={"quantized": quantized, "calibration": after.calibration}))


def _measure(bundle: Path, texts: Texts) -> Measured:
    from tanzaku.ship.classifier import Classifier

    def load() -> Classifier:
        return Classifier.load(bundle, device="cpu", precision="float32")

    return measure_form(load, texts, size_bytes=bundle_bytes(bundle))


def _data_of(record: FinishedRun) -> Dataset | None:
    """The run's data, where it can be read and is still the same."""
    if record.data.source is None:
        return None
    try:
        dataset = load_dataset(record.data.source)
    except DataError:
        return None
    return dataset if dataset.fingerprint == record.data.fingerprint else None


def _spec_of(kind: type[Spec], record: FinishedRun, folder: Path) -> Spec:
    try:
        return kind.model_validate(record.spec)
    except (SpecError, ValidationError) as error:
        made_by = record.environment.versions.get("tanzaku")
        reason = describe_validation_error(error) if isinstance(error, ValidationError) else str(error)
        raise BundleError(
            f"this Tanzaku ({__version__}) does not know the settings of the run {folder}, which Tanzaku {made_by} "
            f"made; pack it with that: {reason}"
        ) from error


def _saved_model(run: Path) -> Path:
    saved = run / RUN_MODEL_FOLDER
    if not saved.is_dir():
        raise BundleError(f"the run {run} has no {RUN_MODEL_FOLDER}/ folder any more; make the run again")
    return saved


def _fill(
    bundle: Path,
    run: Path,
    record: FinishedEncoderRun,
    spec: EncoderRunSpec,
    *,
    with_encoder: bool,
    encoder: str | None,
) -> tuple[bool, EncoderSpec]:
    """Copy or make the model's files.

    Returns:
        Whether the bundle holds all weights of an encoder, and the [encoder] section with the name that finds it now.
    """
    saved = _saved_model(run)
    made = record.encoder.pretraining
    source = find_encoder(
        spec.encoder,
        fingerprint=record.encoder.fingerprint,
        other_name=encoder or (str(run.parent / made.folder) if made else None),
        needed_by=f"the run {run.name}",
    )
    named = spec.encoder if made else _naming(spec.encoder, source, elsewhere=encoder is not None)
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


def _naming(settings: EncoderSpec, source: EncoderSource, *, elsewhere: bool) -> EncoderSpec:
    """The settings with an encoder's name that works from every folder.

    Where the encoder was given by another name (`elsewhere`), that takes the place of a folder that is gone; the
    hub's name stays, because it is found on other machines too.
    """
    if elsewhere and not Path(settings.name).is_absolute():
        return settings
    revision = None if elsewhere else settings.revision
    return settings.model_copy(update={"name": source.name, "revision": revision})


def _merge(spec: EncoderRunSpec, source: EncoderSource, record: FinishedRun, saved: Path, folder: Path) -> None:
    """Write the adapted model as a plain one."""
    from tanzaku.methods.full import Full

    model = load_adapted(source, spec.method, saved, label_names=record.data.label_names, reading=spec.encoder)
    Full().save(model, folder)


def _write_weights(source: EncoderSource, folder: Path) -> None:
    """Write the base encoder's own weights: as safetensors, whatever format they come in."""
    from safetensors.torch import save_file

    from tanzaku.encoders.weights import read_weights

    save_file(read_weights(source), folder / _WEIGHTS_FILE, metadata={"format": "pt"})


def _lower(folder: Path, encoder: EncoderFacts) -> None:
    """Write the weights in `folder` again, in 8 bits."""
    from safetensors.torch import save_file

    from tanzaku.encoders.quantized import quantize_matrices
    from tanzaku.encoders.weights import read_weights

    weights = read_weights(EncoderSource(encoder.name, folder, encoder.fingerprint))
    save_file(quantize_matrices(weights, head=encoder.head), folder / _WEIGHTS_FILE, metadata={"format": "pt"})


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
