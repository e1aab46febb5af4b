"""From a job to the race's result: which candidates can meet the budgets at all, and the study that they are."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tanzaku.encoders.config import load_config
from tanzaku.encoders.source import EncoderSource, absolute_name, resolve_encoder
from tanzaku.errors import SpecError
from tanzaku.files import write_atomically
from tanzaku.fitting.budgets import CostsFile
from tanzaku.fitting.candidates import (
    Candidate,
    adapts_encoder,
    candidates_of,
    encoder_settings,
    ladder,
    least_bytes,
    parameters_of,
)
from tanzaku.fitting.clock import Clock, Speed, Speeds, final_share, training_passes
from tanzaku.fitting.dictionaries import dictionary_bytes
from tanzaku.fitting.forms import costs_key
from tanzaku.fitting.history import History, Outcome, Past, check_bundle_folder
from tanzaku.fitting.job import RUNS, STUDY_FILE, Job
from tanzaku.fitting.race import Entry, Fold, Race, forget_failed, groups_of, has_ended
from tanzaku.fitting.rounds import read_entry, run_race
from tanzaku.study.encoder_spec import ENCODER_SETTINGS, EncoderSpec
from tanzaku.study.expansion import expand, parse_study
from tanzaku.study.naming import Name, Namer, arms_of_runs
from tanzaku.study.plan import plan_study
from tanzaku.study.planned import PlannedRun
from tanzaku.study.recipes import RECIPES
from tanzaku.study.runs import record_folders
from tanzaku.study.spec import DataSpec, StudySpec
from tanzaku.study.study_file import study_toml
from tanzaku.training.remembered import can_remember
from tanzaku.words import LANGUAGES, Language, words_of

FOLDS_FOLDER = "folds"
_COSTS, _SCRATCH = "costs.json", "scratch"
_NOT_ONE_RUN_EACH = (
    "candidates: two are the same run, or an option has a list of values; give one candidate for each value"
)
# Of candidates that train the encoder: five epochs, or fewer where the time is short, though not fewer than it takes
# for so many steps.
_EPOCHS, _STEPS = (2, 3, 4, 5), 600
_SHARE_OF_TIME = 0.5  # for one of them, on all folds and in the final training


@dataclass(frozen=True)
class Compared:
    """The race and its study."""

    spec: StudySpec
    race: Race
    folds: Sequence[Fold]
    """Of the whole rounds that were raced."""
    history: History
    past: Past
    """Of the calls that asked the same, before this one."""
    outcome: Outcome
    """Of the race."""
    again: bool
    """Whether it was finished before, with as much time at least."""

    @property
    def groups(self) -> np.ndarray | None:
        """Of the test documents of `folds`, (documents,) int; None where they have none."""
        return groups_of([fold.dataset.test for fold in self.folds])

    def planned(self, candidate: Candidate, runs: Sequence[PlannedRun]) -> PlannedRun:
        """The candidate's run among those of a plan."""
        return runs[next(place for place, one in enumerate(self.race.candidates) if one is candidate)]


def compare(job: Job, *, encoder: str | None, arms: Sequence[Mapping[str, Any]] | None) -> Compared:
    """Leave out what can't meet a budget, write the study file of the others, and let them race.

    Args:
        job: What was asked for.
        encoder: The name of the encoder that methods adapt.
        arms: Instead of the usual ladder.

    Raises:
        SpecError: An arm is invalid, or no candidate can meet the budgets.
        EncoderError: The encoder can't be used.
        BundleError: The bundle's folder has something that must not be replaced.
        DataError: What is noted of earlier calls is damaged.
        StudyInterrupted: It was asked to stop.
    """
    encoder = None if encoder is None else absolute_name(encoder)
    arms = ladder(encoder) if (usual := arms is None) else arms
    source = resolve_encoder(encoder) if encoder is not None and any(map(adapts_encoder, arms)) else None
    settings = {} if source is None else {"encoder": encoder_settings(source)}
    candidates = candidates_of(arms, source, shared_encoder=job.shared_encoder)
    every = _study(job, settings, candidates)  # all arms are valid, those that are left out too
    history = History(job.folder)
    past = history.call(_asked(job, arms, source))
    check_bundle_folder(job.out, past, force=job.force)
    entries = [Entry(candidate, form) for candidate in candidates for form in candidate.forms]
    _drop_too_large(entries, source, job)
    costs = CostsFile(job.folder / _COSTS, shared_dictionary=job.shared_dictionary)
    speeds = _drop_too_slow(entries, settings, source, job, costs)
    trained = {id(entry.candidate) for entry in entries if entry.live and _trains_encoder(entry.candidate)}
    epochs = epochs_of(job, speeds.usual, past, candidates=len(trained)) if usual and speeds is not None else None
    if epochs is not None:
        candidates = _with_epochs(candidates, entries, epochs)
        every = _study(job, settings, candidates)
    left = [one for one in candidates if any(entry.live for entry in entries if entry.candidate is one)]
    if not left:
        raise SpecError(f"no candidate can meet the budgets: {_least(entries)}. Raise a budget, or add text methods")
    adapting = any(candidate.adapts_encoder for candidate in left)
    spec = _study(job, settings if adapting else {}, left)
    _write_study(spec, job.folder)
    names = _names(every, candidates)
    race = _race(job, spec, left, entries, names=names, used=past.seconds, speeds=speeds, costs=costs)
    return _raced(race, job, spec, history, past, epochs=epochs)


def _race(
    job: Job,
    spec: StudySpec,
    candidates: Sequence[Candidate],
    entries: Sequence[Entry],
    *,
    names: Mapping[int, Mapping[Language, Name]],
    used: float,
    speeds: Speeds | None,
    costs: CostsFile,
) -> Race:
    threads, crowding = job.making.threads, job.making.crowding
    return Race(
        study=spec.name,
        candidates=candidates,
        names=names,
        entries=entries,
        folds=len(job.folds),
        budgets=job.budgets,
        labels=len(job.whole.label_names),
        margin=job.margin,
        choose_by=job.choose_by,
        clock=Clock(job.minutes, used=used, speeds=speeds, threads=threads, crowding=crowding),
        costs=costs,
        final_share=final_share(job.whole, job.folds[0]),
        scratch=job.folder / _SCRATCH,
        listener=job.listener,
        making=job.making,
        at_once=job.making.at_once,
        groups=groups_of([fold.test for fold in job.folds]),
    )


def _raced(race: Race, job: Job, spec: StudySpec, history: History, past: Past, *, epochs: int | None) -> Compared:
    folds = [_fold(job, spec, number) for number in range(1, len(job.folds) + 1)]
    before = past.outcome
    retried = job.retry_failed and _forget_failures(job, spec, before)
    again = before is not None and job.minutes <= before.minutes and not retried and _restore(race, folds, before)

    if again:
        race.clock = Clock(0)

    def note_time() -> None:
        past.seconds = race.clock.used
        history.write()

    def completed(rounds: int) -> None:
        past.rounds = max(past.rounds, rounds)
        note_time()

    if before is None or not again:
        if before is not None and job.minutes <= before.minutes:  # its runs are gone: they take their time again
            race.clock.restart()
        history.write()
        race.rounds_before = min(history.rounds, _rounds_made(race, folds))
        race.completed, race.note_time = completed, note_time
        try:
            raced = run_race(race, folds)
        finally:
            note_time()
        before = Outcome.of(race.entries, raced, minutes=job.minutes, epochs=epochs)
    return Compared(spec, race, folds[: before.rounds], history, past, before, again)


def _forget_failures(job: Job, spec: StudySpec, before: Outcome | None) -> bool:
    """Have the runs made again that failed, on the folds and of the final training; whether something failed."""
    whole = spec.model_copy(update={"data": DataSpec(source=str(job.whole.source))})
    final = plan_study(whole, dataset=job.whole, out=job.folder / RUNS).runs
    made = [*record_folders(job.folder / FOLDS_FOLDER, every=True), *(run.folder for run in final if has_ended(run))]
    return forget_failed(made) > 0 or (before is not None and before.failures > 0)


def _asked(job: Job, arms: Sequence[Mapping[str, Any]], source: EncoderSource | None) -> dict[str, Any]:
    """Everything that the result depends on but the time and the documents."""
    return {
        "arms": [dict(arm) for arm in arms],
        "encoder": source.fingerprint if source else None,
        "shared_encoder": job.shared_encoder,
        "shared_dictionary": job.shared_dictionary,
        "budgets": asdict(job.budgets),
        "margin": job.margin,
        "choose_by": job.choose_by,
        "folds": [fold.fingerprint for fold in job.folds],
        "seed": job.seed,
    }


def _rounds_made(race: Race, folds: Sequence[Fold]) -> int:
    """The most folds, from the first on, of which a candidate has all runs."""
    made = (
        next((fold.number - 1 for fold in folds if not has_ended(fold.runs[place])), len(folds))
        for place, candidate in enumerate(race.candidates)
        if race.of(candidate)
    )
    return max(made, default=0)


def _restore(race: Race, folds: Sequence[Fold], outcome: Outcome) -> bool:
    """Bring the race to an outcome again, from its runs; False where one of them is gone, or it is another race's."""
    if len(outcome.dropped) != len(race.entries):  # of a version that packed its candidates in other forms
        return False
    runs = {id(one): [fold.runs[place] for fold in folds] for place, one in enumerate(race.candidates)}
    taken = [entry for entry, dropped in zip(race.entries, outcome.dropped, strict=True) if dropped is None]
    if not all(map(has_ended, (run for entry in taken for run in runs[id(entry.candidate)][: outcome.rounds]))):
        return False
    if any(race.costs.get(costs_key(runs[id(entry.candidate)][0], entry.form)) is None for entry in taken):
        return False
    outcome.restore(race.entries)
    for entry in race.entries:
        if planned := runs.get(id(entry.candidate)):
            entry.costs = entry.costs or race.costs.get(costs_key(planned[0], entry.form))
            for fold, run in zip(folds[: outcome.rounds] if entry.live else (), planned, strict=False):
                read_entry(race, entry, run, fold)
    return True


def epochs_of(job: Job, speed: Speed, past: Past, *, candidates: int) -> int:
    """So many for candidates that train the encoder: those of a result that is only shown again, or else those of
    earlier calls, or more where the time that is left is enough to train all candidates again with them.

    Args:
        job: What was asked for.
        speed: The encoder's.
        past: Of the calls that asked the same; it notes the most epochs.
        candidates: How many train the encoder.
    """
    before = past.outcome
    if before is not None and job.minutes <= before.minutes and (shown := before.epochs or past.epochs):
        return shown
    seconds = 60 * job.minutes - past.seconds
    if past.epochs is None:
        past.epochs = _epochs(job, speed, seconds=seconds)
    elif candidates:
        past.epochs = max(past.epochs, _epochs(job, speed, seconds=seconds / candidates))
    return past.epochs


def _epochs(job: Job, speed: Speed, *, seconds: float) -> int:
    """Fewer where that is what the time allows and there are enough documents for it."""
    fold = job.folds[0]
    batch = int(RECIPES["default"].shared["batch_size"])

    def fits(epochs: int) -> bool:
        run = speed.batch_seconds * training_passes(len(fold.train), len(fold.val), epochs=epochs)
        return (len(job.folds) + final_share(job.whole, fold)) * run <= _SHARE_OF_TIME * seconds

    fewest = next((epochs for epochs in _EPOCHS if epochs * len(fold.train) / batch >= _STEPS), max(_EPOCHS))
    return next((epochs for epochs in reversed(_EPOCHS) if epochs <= fewest or fits(epochs)), fewest)


def _with_epochs(candidates: Sequence[Candidate], entries: Sequence[Entry], epochs: int) -> tuple[Candidate, ...]:
    """The candidates, of which those that train the encoder have so many epochs; in the entries too."""
    changed = {}
    for one in candidates:
        changed[id(one)] = replace(one, arm={**one.arm, "epochs": epochs}) if _trains_encoder(one) else one
    for entry in entries:
        entry.candidate = changed[id(entry.candidate)]
    return tuple(changed.values())


def _trains_encoder(candidate: Candidate) -> bool:
    return candidate.adapts_encoder and candidate.arm["method"] != "head"


def _study(job: Job, encoder: Mapping[str, Any], candidates: Sequence[Candidate]) -> StudySpec:
    content = {
        "name": job.name,
        "description": "The candidates of tanzaku fit that could meet its budgets.",
        "seeds": [job.seed],
        "choose_by": job.choose_by,
        "recipe": "default",
        "data": {"source": str(job.whole.source)},
        **encoder,
        "arms": [dict(candidate.arm) for candidate in candidates],
    }
    spec = parse_study(content, where="candidates")
    arms = [dict(candidate.arm) for candidate in candidates]
    if repeated := next((arm for place, arm in enumerate(arms) if arm in arms[:place]), None):
        raise SpecError(f"candidates: {repeated} is given twice; leave one out")
    if len(expand(spec)) != len(candidates):
        raise SpecError(_NOT_ONE_RUN_EACH)
    return spec


def _command(*words: object) -> str:
    return shlex.join(["tanzaku", "study", *map(str, words)])


def _write_study(spec: StudySpec, folder: Path) -> None:
    runs = folder / "runs"
    head = (
        "# The candidates of `tanzaku fit`, to be trained on the same documents and compared on the test set:\n"
        f"#   {_command('run', folder / STUDY_FILE, '--out', runs)}\n#   {_command('report', runs)}\n"
    )
    write_atomically(folder / STUDY_FILE, head + study_toml(spec.model_dump(mode="json", exclude_unset=True)))


def _fold(job: Job, spec: StudySpec, number: int) -> Fold:
    dataset = job.folds[number - 1]
    of_fold = spec.model_copy(update={"data": DataSpec(source=dataset.name)})
    plan = plan_study(of_fold, dataset=dataset, out=job.folder / FOLDS_FOLDER / str(number))
    if len(plan.runs) != len(spec.arms):  # such as of one encoder under two names
        raise SpecError(_NOT_ONE_RUN_EACH)
    return Fold(number, plan.dataset, plan.runs)


def _names(spec: StudySpec, candidates: Sequence[Candidate]) -> dict[int, dict[Language, Name]]:
    arms = arms_of_runs(expand(spec))
    namer = Namer(arms)
    return {
        id(one): {language: namer.full(arm, words=words_of(language)) for language in LANGUAGES}
        for one, arm in zip(candidates, arms, strict=True)
    }


def _drop_too_large(entries: Sequence[Entry], source: EncoderSource | None, job: Job) -> None:
    labels = len(job.whole.label_names)
    for entry in entries:
        entry.least_bytes = least_bytes(entry.candidate, entry.form, source, labels=labels)
        if not job.shared_dictionary:
            entry.least_bytes += dictionary_bytes(entry.candidate.method, entry.form, source)
        if job.budgets.too_large(entry.least_bytes):
            entry.drop("megabytes")


def _drop_too_slow(
    entries: Sequence[Entry],
    settings: Mapping[str, Any],
    source: EncoderSource | None,
    job: Job,
    costs: CostsFile,
) -> Speeds | None:
    """Drop what adapts an encoder that is too slow itself; how fast the encoder is, None where none is needed.

    An arm may read documents in a way of its own, such as fewer tokens of each, so each way is timed.
    """
    adapting = [entry for entry in entries if entry.live and entry.candidate.adapts_encoder]
    if not adapting or source is None:
        return None
    labels, usual = len(job.whole.label_names), _reading(settings, {})
    parameters, config = parameters_of(source, labels=labels), load_config(source)
    speeds: dict[EncoderSpec, Speed] = {}
    for entry in adapting:
        reading = _reading(settings, entry.candidate.arm)
        texts, fingerprint = job.whole.train.texts, source.fingerprint
        measured = costs.encoder(reading, texts, labels=labels, fingerprint=fingerprint)
        remembers = can_remember(config, pooling=reading.pooling, long_text=reading.long_text)
        speeds[reading] = Speed(measured.milliseconds / 1000, 1 / measured.documents_per_second, parameters, remembers)
        if job.budgets.milliseconds is not None and measured.milliseconds > job.budgets.milliseconds:
            entry.costs = replace(measured, total_bytes=entry.least_bytes)
            entry.drop("milliseconds")
    return Speeds(speeds.get(usual, next(iter(speeds.values()))), speeds)


def _reading(settings: Mapping[str, Any], arm: Mapping[str, Any]) -> EncoderSpec:
    """How an arm reads documents: as the study does, but for what the arm says."""
    own = {name: value for name, value in arm.items() if name in ENCODER_SETTINGS}
    recipe = RECIPES[arm.get("recipe", "default")].shared
    shared = {name: value for name, value in recipe.items() if name in ENCODER_SETTINGS}
    return EncoderSpec.model_validate(shared | settings["encoder"] | own)


def _least(entries: Sequence[Entry]) -> str:
    """What those would take that would take least."""
    smallest = min(entries, key=lambda entry: entry.least_bytes)
    least = f"the smallest takes at least {smallest.least_bytes / 1e6:.2f} MB"
    slow = [entry.costs.milliseconds for entry in entries if entry.reason == "milliseconds" and entry.costs]
    if not slow:
        return least
    fastest = f"the encoder takes {min(slow):.1f} ms for one document"
    return fastest if len(slow) == len(entries) else f"{least}, and {fastest}"
