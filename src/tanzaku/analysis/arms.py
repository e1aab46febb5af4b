"""Records to sections and arms: what belongs side by side, and what the seeds of one arm say together.

A section holds the runs that may be compared: the same documents (equal data fingerprints) and the same encoder, before
any pretraining on the training texts. An arm holds the runs of a section that differ in nothing but their seed.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tanzaku.analysis.recommendation import Candidate
from tanzaku.measure.metrics import ChooseBy
from tanzaku.methods import METHODS, EncoderMethod, MethodClass
from tanzaku.study.encoder_spec import EncoderSpec
from tanzaku.study.naming import DISTILLATION, Name, Namer, flat_settings, shorten, without_folders_of
from tanzaku.study.record import EncoderFacts, FailedRun, FinishedEncoderRun, FinishedRun, RunRecord
from tanzaku.study.spec import TrainingSpec
from tanzaku.study.summary import DataFacts
from tanzaku.words import ENGLISH, Words

RANK = "method.rank"
RANKS = "method.ranks"
LEARNING_RATE = "training.learning_rate"
EPOCHS = "training.epochs"
MAX_TOKENS = "encoder.max_tokens"
POOLING = "encoder.pooling"
LONG_TEXT = "encoder.long_text"
MAX_WINDOWS = "encoder.max_windows"
PRETRAINING = "encoder.pretrain"

# A section shows them only where some arm has another value than the default.
_OF_TRAINING = (
    *("head_learning_rate", "embeddings_learning_rate", "schedule", "warmup", "decay", "plateau_factor"),
    *("plateau_patience", "best_by", "hidden_dropout", "attention_dropout", "fast", "precision"),
)
_SHOWN_IF_CHANGED = {
    **{
        key: EncoderSpec.model_fields[key.partition(".")[2]].default
        for key in (POOLING, LONG_TEXT, MAX_WINDOWS, PRETRAINING)
    },
    **{f"training.{name}": TrainingSpec.model_fields[name].default for name in _OF_TRAINING},
}
# So are these options of methods, each of which makes a variant of its method.
_VARIANTS = (
    "lora_plus_ratio",
    "pooler",
    "rslora",
    "dora",
    "initialization",
    "rank_pattern",
    "max_terms",
    "weight_bits",
)


@dataclass(frozen=True)
class Estimate:
    """One figure over the finished runs of an arm. The spread is None for a single run."""

    runs: int
    mean: float
    lowest: float
    highest: float
    standard_deviation: float | None


@dataclass(frozen=True)
class Arm:
    """The runs that share every setting but the seed."""

    method: str
    settings: dict[str, Any]
    """Flat, such as `method.rank`, `training.epochs`, `encoder.max_tokens`."""
    finished: tuple[FinishedRun, ...]
    """One a seed, by seed; one in all where the method is deterministic."""
    failed: tuple[FailedRun, ...]
    repeated: tuple[FinishedRun, ...]
    """Finished before another finished run with the same seed: shown in runs.csv, but not counted."""
    namer: Namer = field(compare=False, repr=False)
    """Of the section: it knows the other arms, from which the name distinguishes this one."""

    @property
    def name(self) -> str:
        """Its full name in English."""
        return str(self.full_name())

    def full_name(self, words: Words = ENGLISH) -> Name:
        """What it is called in a row of a table; see `Namer`."""
        return self.namer.full(self.settings, words=words)

    def short_name(self, words: Words = ENGLISH) -> Name:
        """What it is called where there is little room; see `Namer`."""
        return self.namer.short(self.settings, words=words)

    @property
    def method_class(self) -> MethodClass | None:
        """Its method; None where that is not installed, as of a record from elsewhere."""
        return METHODS.get(self.method)

    @property
    def deterministic(self) -> bool:
        """Whether every seed would give the same model, so that its one run counts for all of them."""
        return self.method_class is not None and self.method_class.deterministic

    @property
    def records(self) -> tuple[RunRecord, ...]:
        """All of them, those that are not counted too."""
        return (*self.finished, *self.failed, *self.repeated)

    @property
    def rank(self) -> int | None:
        """The rank, where the method has one."""
        return self.settings.get(RANK)

    @property
    def ranks(self) -> tuple[int, ...]:
        """Those that it was trained for together, where the method has several."""
        return tuple(self.settings.get(RANKS, ()))

    @property
    def learning_rate(self) -> float | None:
        """The learning rate, where the method is trained by steps."""
        return self.settings.get(LEARNING_RATE)

    @property
    def epochs(self) -> int | None:
        """The most epochs that a run could take."""
        return self.settings.get(EPOCHS)

    @property
    def scale(self) -> float | None:
        """The effective scale, such as LoRA's α/r, from the record, where the method has one."""
        values = [record.method_details.get("scale") for record in (*self.finished, *self.failed)]
        return next((float(value) for value in values if value is not None), None)

    @property
    def series(self) -> str:
        """What the arms of one line of a figure share: every setting but the rank."""
        return identity_of({key: value for key, value in self.settings.items() if key != RANK})

    @property
    def accuracy(self) -> Estimate | None:
        """Of the test set, a share."""
        return estimate(record.test.accuracy for record in self.finished)

    @property
    def macro_f1(self) -> Estimate | None:
        """Of the test set, a share."""
        return estimate(record.test.macro_f1 for record in self.finished)

    @property
    def val_accuracy(self) -> Estimate | None:
        """Of the validation set, a share."""
        return estimate(record.val.accuracy for record in self.finished)

    @property
    def val_macro_f1(self) -> Estimate | None:
        """Of the validation set, a share."""
        return estimate(record.val.macro_f1 for record in self.finished)

    @property
    def epochs_run(self) -> Estimate | None:
        """Epochs that were trained."""
        return estimate(len(record.history) for record in self.finished if record.history)

    @property
    def best_epoch(self) -> Estimate | None:
        """The epoch that was restored."""
        return estimate(record.best_epoch for record in self.finished if isinstance(record, FinishedEncoderRun))

    def validation(self, measure: ChooseBy) -> Estimate | None:
        """What arms are chosen by, a share."""
        return self.val_accuracy if measure == "accuracy" else self.val_macro_f1

    def best_run(self, measure: ChooseBy) -> FinishedRun | None:
        """The counted run that is best on the validation set; of equals the first."""
        return max(self.finished, key=lambda record: float(getattr(record.val, measure)), default=None)

    def candidate(self, measure: ChooseBy) -> Candidate | None:
        """What it is chosen by; None where no run of it was measured."""
        size, validation = self.cost("saved_bytes"), self.validation(measure)
        if validation is None or self.accuracy is None or size is None:
            return None
        return Candidate(score=validation.mean, saved_bytes=size.mean)

    def cost(self, name: str) -> Estimate | None:
        """One of the fields of `Costs`, in that field's unit."""
        values = (getattr(record.costs, name) for record in self.finished)
        return estimate(value for value in values if value is not None)

    def mean_cost(self, name: str) -> float:
        """The mean of a cost; not a number where no run has it."""
        value = self.cost(name)
        return value.mean if value else float("nan")


@dataclass(frozen=True)
class Section:
    """Arms on the same documents with the same encoder. A baseline without an encoder is in every section
    of its data."""

    data: DataFacts
    encoder: EncoderFacts | None
    """Without pretraining, if an arm has it so. None where no run came far enough to tell, or where none needs one."""
    encoder_name: str | None
    arms: tuple[Arm, ...]

    @property
    def records(self) -> list[RunRecord]:
        """Every record of the section, in the order of the arms."""
        return [record for arm in self.arms for record in arm.records]

    @property
    def baseline(self) -> Arm | None:
        """The first arm of a baseline method with a test accuracy, if there is one."""
        methods = ((arm.method_class, arm) for arm in self.arms if arm.accuracy)
        return next((arm for method, arm in methods if method and method.is_baseline), None)

    def milliseconds_per_document(self, arm: Arm) -> float | None:
        """What classifying a test document took, the mean over the arm's runs; None where no run has it."""
        seconds = arm.cost("test_seconds")
        return 1000 * seconds.mean / self.data.test_documents if seconds and seconds.mean > 0 else None


def estimate(values: Iterable[float]) -> Estimate | None:
    """Mean and spread (the sample's standard deviation) of some values; None for none."""
    known = [float(value) for value in values]
    if not known:
        return None
    spread = statistics.stdev(known) if len(known) > 1 else None
    return Estimate(
        runs=len(known),
        mean=statistics.fmean(known),
        lowest=min(known),
        highest=max(known),
        standard_deviation=spread,
    )


def sections_of(records: Sequence[RunRecord]) -> list[Section]:
    """Group records into what may be compared: one section per data fingerprint and encoder, in the records' order."""
    encoders = _known_encoders(records)
    groups: dict[tuple[str, str | None], list[RunRecord]] = {}
    for record in records:
        groups.setdefault((record.data.fingerprint, _encoder_key(record, encoders)), []).append(record)
    sections = []
    for (data, encoder), members in groups.items():
        shared = groups.get((data, None), [])
        if encoder is None and any(other == data and key is not None for other, key in groups):
            continue
        sections.append(_section(members if encoder is None else [*shared, *members]))
    return sections


def arms_of(records: Sequence[RunRecord]) -> tuple[Arm, ...]:
    """Group the records of one section into arms, in the order of the report's rows."""
    groups: dict[str, list[RunRecord]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for record, found in zip(records, _settings_of_all(records), strict=True):
        identity = identity_of(found)
        groups.setdefault(identity, []).append(record)
        settings.setdefault(identity, found)
    defaults = dict(_SHOWN_IF_CHANGED)
    for record in records:
        defaults |= _variant_defaults(record.method)
    unused = {
        key for key, default in defaults.items() if all(one.get(key, default) == default for one in settings.values())
    }
    shown = {name: {key: value for key, value in one.items() if key not in unused} for name, one in settings.items()}
    shorten(list(shown.values()))
    namer = Namer(shown.values())
    arms = (_arm(members, settings=shown[name], namer=namer) for name, members in groups.items())
    return tuple(sorted(arms, key=_order))


def _settings_of_all(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """The settings of each record; a teacher and its texts without their folders, which may be others after a move.

    Only where files of one name were different ones do their folders distinguish arms.
    """
    settings = [settings_of(record) for record in records]
    files: dict[str, set[tuple[str, str | None]]] = {}
    for record, found in zip(records, settings, strict=True):
        if isinstance(record, FinishedEncoderRun) and (facts := record.distillation) and found.get(DISTILLATION):
            names = without_folders_of(found[DISTILLATION])
            files.setdefault(names, set()).add((facts.teacher_fingerprint, facts.texts_sha256))
    for found in settings:
        if found.get(DISTILLATION) and len(files.get(names := without_folders_of(found[DISTILLATION]), ())) < 2:
            found[DISTILLATION] = names
    return settings


def identity_of(settings: Mapping[str, Any]) -> str:
    """What the settings of all runs of an arm have in common. One that is None may be missing: a record that was made
    before there was such a setting lacks it."""
    return _canonical({key: value for key, value in settings.items() if value is not None})


def settings_of(record: RunRecord) -> dict[str, Any]:
    """The flat settings that tell arms apart: all of the spec but the seed, the data and what has no effect."""
    return flat_settings(record.spec)


def _variant_defaults(method: str) -> dict[str, Any]:
    """The defaults of the options that make a variant of the method, as a record has them."""
    kind = METHODS.get(method)  # a record's method may be one that is not installed
    options = {name: kind.model_fields[name] for name in _VARIANTS if name in kind.model_fields} if kind else {}
    return {f"method.{name}": field.get_default(call_default_factory=True) for name, field in options.items()}


def _section(records: Sequence[RunRecord]) -> Section:
    known = [record.encoder for record in records if isinstance(record, FinishedEncoderRun)]
    specs = [record.spec["encoder"] for record in records if record.spec["kind"] == "encoder"]
    return Section(
        data=records[0].data,
        encoder=min(known, key=lambda facts: facts.pretraining is not None, default=None),
        encoder_name=_shown_encoder(specs[0]["name"]) if specs else None,
        arms=arms_of(records),
    )


def _known_encoders(records: Iterable[RunRecord]) -> dict[str, set[str]]:
    known: dict[str, set[str]] = {}
    for record in records:
        if isinstance(record, FinishedEncoderRun):
            known.setdefault(_spelled_encoder(record), set()).add(_base_fingerprint(record.encoder))
    return known


def _shown_encoder(name: str) -> str:
    """An encoder's name; of a path on the machine that ran the study, its last part."""
    return Path(name).name if Path(name).is_absolute() else name


def _encoder_key(record: RunRecord, known: dict[str, set[str]]) -> str | None:
    """The encoder's fingerprint; for a run that failed before it was loaded, that of the others with its name."""
    if record.spec["kind"] == "text":
        return None
    if isinstance(record, FinishedEncoderRun):
        return _base_fingerprint(record.encoder)
    fingerprints = known.get(_spelled_encoder(record), set())
    return next(iter(fingerprints)) if len(fingerprints) == 1 else _spelled_encoder(record)


def _base_fingerprint(encoder: EncoderFacts) -> str:
    return encoder.pretraining.base_fingerprint if encoder.pretraining else encoder.fingerprint


def _spelled_encoder(record: RunRecord) -> str:
    return _canonical([record.spec["encoder"]["name"], record.spec["encoder"].get("revision")])


def _arm(records: Sequence[RunRecord], *, settings: dict[str, Any], namer: Namer) -> Arm:
    by_seed: dict[int, list[FinishedRun]] = {}
    for record in sorted(records, key=lambda record: (record.spec["seed"], record.ended)):
        if isinstance(record, FinishedRun):
            by_seed.setdefault(record.spec["seed"], []).append(record)
    return Arm(
        method=records[0].method,
        settings=settings,
        finished=tuple(runs[-1] for runs in by_seed.values()),
        failed=tuple(record for record in records if isinstance(record, FailedRun)),
        repeated=tuple(record for runs in by_seed.values() for record in runs[:-1]),
        namer=namer,
    )


def _order(arm: Arm) -> tuple[int, str, float, int, int, str]:
    """By method; then as the thesis orders its tables: the larger learning rate first, fewer epochs first, rank."""
    return (
        (arm.method_class or EncoderMethod).table_order,
        arm.method,
        -(arm.learning_rate or 0.0),
        arm.epochs or 0,
        arm.rank or 0,
        _canonical(arm.settings),
    )


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
