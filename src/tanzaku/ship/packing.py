"""From a finished run, or the recommended one of a study, to a bundle."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from pydantic import ValidationError

from tanzaku import __version__
from tanzaku.analysis.evaluation import macro_f1_interval
from tanzaku.analysis.recommendation import DEFAULT_MARGIN
from tanzaku.data.dataset import Dataset
from tanzaku.encoders.card import read_card
from tanzaku.encoders.files import CONFIG_FILE, SAFETENSORS_FILE
from tanzaku.encoders.source import EncoderSource, files_of, resolve_encoder, short_name
from tanzaku.errors import BundleError, EncoderError, SpecError, describe_validation_error
from tanzaku.measure.metrics import ChooseBy
from tanzaku.ship.building import building, write_facts
from tanzaku.ship.bundle import (
    ENCODER_FOLDER,
    MODEL_FOLDER,
    BaseFacts,
    Bundle,
    EncoderBundleFacts,
    RunFacts,
    TextBundleFacts,
    VectorsFacts,
    open_bundle,
)
from tanzaku.ship.choosing import ChosenRun, choose_run
from tanzaku.ship.held_out import HeldOut, write_held_out
from tanzaku.ship.loading import find_encoder, load_adapted
from tanzaku.ship.lowering import LowDtype, lower
from tanzaku.ship.manifest import is_litter
from tanzaku.ship.validation import check_labels, split_scores, warn_of_other_data
from tanzaku.study.archive import without_folders
from tanzaku.study.encoder_spec import EncoderSpec
from tanzaku.study.predictions import StoredPredictions
from tanzaku.study.record import MODEL_FOLDER as RUN_MODEL_FOLDER
from tanzaku.study.record import EncoderFacts, FinishedEncoderRun, FinishedRun, FinishedTextRun, Scores
from tanzaku.study.runs import StoredRun
from tanzaku.study.spec import EncoderRunSpec, TextRunSpec
from tanzaku.study.summary import CalibrationFacts, ClassScores, SplitScores
from tanzaku.words import Language

Spec = TypeVar("Spec", EncoderRunSpec, TextRunSpec)

# PEFT's model card: an empty form that names the machine's folders.
_LEFT_OUT = {"README.md"}


def pack(
    source: str | Path,
    out: str | Path,
    *,
    with_encoder: bool = False,
    merge: bool = True,
    int8: bool = False,
    int4: bool = False,
    encoder: str | None = None,
    dataset: Dataset | None = None,
    max_flips: float | None = None,
    compare: bool = True,
    force: bool = False,
    margin: float = DEFAULT_MARGIN,
    choose_by: ChooseBy | None = None,
    language: Language = "en",
) -> Bundle:
    """Make a bundle; it is built in a temporary folder next to `out` and renamed, so that `out` is whole or not there.

    Args:
        source: The folder of a finished run, or of a study; see `choose_run`.
        out: The bundle's folder, new or empty.
        with_encoder: Store all weights, so that the bundle classifies without its encoder; done in any case where the
            study pretrained the encoder itself. What was trained is merged into them where that can be.
        merge: False stores the encoder's own files and what was trained separately: smaller for those in few bits.
        int8: Store all weights, and every matrix outside the head in 8 bits; see `tanzaku.encoders.quantized`.
        int4: Likewise in 4 bits; see `tanzaku.encoders.compact`.
        encoder: Where the run's encoder lies now, if no longer under the name in the run's settings.
        dataset: With `int8` or `int4`, its validation set is classified before and after. None takes the run's own data
            where it still lies where the study read it, and otherwise the embedded sample corpus.
        max_flips: With `int8` or `int4`, the largest share of validation texts that may get another label.
        compare: False leaves that out, so that there is no certificate, and the calibration is of the trained weights.
        force: Replace a bundle that lies in `out`.
        margin: How much worse than the best the recommended arm may be, a share.
        choose_by: What of the validation set arms are chosen by; without it, what the study file said.
        language: Of the model card.

    Raises:
        BundleError: There is no finished run, its model is gone, the encoder is another than the run's, more texts
            than `max_flips` get another label, or something lies in `out`.
        DataError: The dataset has other labels.
        RecordError: A record is damaged.
    """
    chosen = choose_run(Path(source), margin=margin, choose_by=choose_by)
    form = _Form.of(with_encoder=with_encoder, merge=merge, int8=int8, int4=int4)
    checks = _Checks(dataset, max_flips, compare)
    with building(Path(out), force=force, language=language) as staging:
        _pack(staging, chosen, form, checks, encoder=encoder)
    return open_bundle(out)


@dataclass(frozen=True)
class _Form:
    """How an encoder's weights are stored; see `pack`."""

    with_encoder: bool
    merge: bool
    dtype: LowDtype | None

    @classmethod
    def of(cls, *, with_encoder: bool, merge: bool, int8: bool, int4: bool) -> _Form:
        if int8 and int4:
            raise BundleError("int8 and int4 exclude each other; give one of them")
        if int8 or int4:
            return cls(with_encoder=True, merge=True, dtype="int8" if int8 else "int4")
        return cls(with_encoder, merge, None)


@dataclass(frozen=True)
class _Checks:
    """What is checked of weights in fewer bits; see `pack`."""

    dataset: Dataset | None
    max_flips: float | None
    compare: bool


def _pack(bundle: Path, chosen: ChosenRun, form: _Form, checks: _Checks, *, encoder: str | None) -> None:
    folder, record = chosen.folder.resolve(), chosen.record  # "." has neither a name nor a folder around it
    if checks.dataset is not None:
        check_labels(checks.dataset, record.data.label_names)
        warn_of_other_data(checks.dataset, record.data)
    if isinstance(record, FinishedTextRun):
        if form.dtype:
            name = record.method
            raise BundleError(f"{form.dtype} is for the weights of an encoder, and {name} has none; pack it without")
        _pack_text(bundle, folder, record)
        return
    facts = _pack_encoder(bundle, folder, record, form, encoder=encoder)
    if form.dtype:
        lower(
            bundle,
            facts,
            record,
            dataset=checks.dataset,
            dtype=form.dtype,
            max_flips=checks.max_flips,
            compare=checks.compare,
        )


def _pack_text(bundle: Path, run: Path, record: FinishedTextRun) -> None:
    spec = _spec_of(TextRunSpec, record, run)
    _copy(_saved_model(run), bundle / MODEL_FOLDER)
    calibration = _pack_calibration(bundle, run, record)
    facts = TextBundleFacts(
        tanzaku=__version__,
        label_names=record.data.label_names,
        method=without_folders(spec.model_dump(mode="json")["method"]),  # a bundle is handed on, as below
        run=_run_facts(record, run, seed=spec.seed),
        calibration=calibration,
        vectors=_vectors_facts(spec),
    )
    write_facts(bundle, facts)


def _vectors_facts(spec: TextRunSpec) -> VectorsFacts | None:
    """What the card says of the encoder whose vectors the method has; of one that is gone, only the name."""
    name = getattr(spec.method, "vectors_from", None)
    if name is None:
        return None
    try:
        source = resolve_encoder(name)
    except EncoderError:
        return VectorsFacts(name=Path(name).name if Path(name).is_absolute() else name)
    card = read_card(source.folder)
    return VectorsFacts(name=short_name(source), license=card.license, made_from=card.base_model)


def _pack_encoder(
    bundle: Path,
    run: Path,
    record: FinishedEncoderRun,
    form: _Form,
    *,
    encoder: str | None,
) -> EncoderBundleFacts:
    spec = _spec_of(EncoderRunSpec, record, run)
    source, stored, settings = _fill(bundle, run, record, spec, form, encoder=encoder)
    calibration = _pack_calibration(bundle, run, record)
    facts = EncoderBundleFacts(
        tanzaku=__version__,
        label_names=record.data.label_names,
        method=without_folders(spec.model_dump(mode="json")["method"]),
        encoder=settings,
        base=_base_facts(record.encoder, source),
        whole=stored is not None,
        weights=stored or "float32",
        precision=record.compute.precision,
        run=_run_facts(record, run, seed=spec.seed),
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
    write_held_out(bundle, HeldOut.of(np.array(held_out.probabilities), correct, held_out.groups))
    return record.calibration


def _run_facts(record: FinishedRun, run: Path, *, seed: int) -> RunFacts:
    stored = StoredRun(record, run)
    test, val = stored.predictions("test"), stored.predictions("validation")
    return RunFacts(
        run_id=record.run_id,
        study=record.study,
        seed=seed,
        ended=record.ended,
        versions=record.environment.versions,
        data=record.data.model_copy(update={"source": None}),  # a bundle is handed on, and that is a private path
        val=_split_scores(record.val, val),
        test=_split_scores(record.test, test),
        val_macro_f1_interval=_macro_f1_interval(val, labels=len(record.data.label_names)),
        test_macro_f1_interval=_macro_f1_interval(test, labels=len(record.data.label_names)),
        over_groups=any(found is not None and found.groups is not None for found in (val, test)),
        test_classes=_class_scores(record.test, record.data.label_names),
        test_is_validation=test is not None and test == val,
        training=without_folders(record.spec.get("training")),
    )


def _split_scores(scores: Scores, found: StoredPredictions | None) -> SplitScores:
    """The record's, with an interval over groups where documents belong to some."""
    few = SplitScores.model_validate(scores, from_attributes=True)
    if found is None:
        return few
    return split_scores(few, np.array(found.classes) == np.array(found.predicted), found.groups)


def _class_scores(scores: Scores, label_names: tuple[str, ...]) -> dict[str, ClassScores]:
    """The record's, with how many documents got each label, which the record only has in its confusion matrix."""
    predicted = np.array(scores.confusion).sum(axis=0).tolist()  # (labels,)
    counts = dict(zip(label_names, predicted, strict=True))
    return {name: one.model_copy(update={"predicted": counts[name]}) for name, one in scores.per_class.items()}


def _macro_f1_interval(found: StoredPredictions | None, *, labels: int) -> tuple[float, float] | None:
    if found is None:
        return None
    groups = None if found.groups is None else np.array(found.groups)
    return macro_f1_interval(np.array(found.classes), np.array(found.predicted), labels=labels, groups=groups)


def _base_facts(encoder: EncoderFacts, source: EncoderSource) -> BaseFacts:
    card = read_card(source.folder)
    return BaseFacts(
        fingerprint=encoder.fingerprint,
        model_type=encoder.model_type,
        parameters=encoder.parameters,
        license=card.license,
        made_from=card.base_model,
    )


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
        raise BundleError(f"the run {run} has no {RUN_MODEL_FOLDER}/ folder any more; delete {run} and make it again")
    return saved


def _fill(
    bundle: Path,
    run: Path,
    record: FinishedEncoderRun,
    spec: EncoderRunSpec,
    form: _Form,
    *,
    encoder: str | None,
) -> tuple[EncoderSource, Literal["float32", "encoder"] | None, EncoderSpec]:
    """Copy or make the model's files.

    Returns:
        The encoder, how the bundle stores an encoder's weights, None if it has none, and the [encoder] section with the
        name that finds it now.
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
        return source, "float32", named
    whole = form.with_encoder or made is not None  # an encoder that the study pretrained itself is found nowhere else
    if whole and form.merge and spec.method.mergeable:
        _merge(spec, source, record, saved, bundle / ENCODER_FOLDER)
        return source, "float32", named
    _copy(saved, bundle / MODEL_FOLDER)
    if not whole:
        return source, None, named
    if form.merge or not _copy_weights(source, bundle / ENCODER_FOLDER):
        _write_weights(source, bundle / ENCODER_FOLDER)
    return source, "float32" if form.merge else "encoder", named


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


def _copy_weights(source: EncoderSource, folder: Path) -> bool:
    """Copy the base encoder's own files of weights; False where they are a pickle, which no bundle has."""
    files = files_of(source)
    if files.weights_format == "pytorch":
        return False
    for name in files.weights:
        shutil.copyfile(source.folder / name, folder / name)
    return True


def _write_weights(source: EncoderSource, folder: Path) -> None:
    """Write the base encoder's own weights: as safetensors, whatever format they come in."""
    from safetensors.torch import save_file

    from tanzaku.encoders.weights import read_weights

    save_file(read_weights(source), folder / SAFETENSORS_FILE, metadata={"format": "pt"})


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
