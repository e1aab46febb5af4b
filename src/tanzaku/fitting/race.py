"""The race: candidates are measured fold by fold, and those that can't be taken drop out.

Each round trains every candidate that is left on one more fold. A candidate drops out when its bundle does not meet a
budget, when it failed, when there is no time for it in the first round, or when it is significantly worse than the best
by more than the margin on the folds so far (as in Maron and Moore 1994, "Hoeffding races"). Only whole rounds count, so
that all that are left at the end have classified the same documents.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tanzaku.analysis.selection import Selectable, hopeless, scores_of
from tanzaku.data.dataset import Dataset
from tanzaku.fitting.budgets import Budgets, Costs, CostsFile
from tanzaku.fitting.candidates import Candidate, Form
from tanzaku.fitting.clock import FINAL_SHARE, Clock
from tanzaku.measure.metrics import ChooseBy
from tanzaku.ship.packing import pack
from tanzaku.study.engine import RunEnds, make_runs
from tanzaku.study.engines.options import RayOptions
from tanzaku.study.naming import Name
from tanzaku.study.planned import PlannedRun
from tanzaku.study.predictions import PREDICTIONS_FILE, StoredPredictions, read_predictions, write_predictions
from tanzaku.study.process import StudyInterrupted
from tanzaku.study.record import RECORD_FILE, FailedRun, FinishedRun
from tanzaku.words import Language

Reason = Literal["megabytes", "milliseconds", "memory", "time", "failed", "worse"]
"""Why an entry dropped out."""

_PREDICTIONS: Mapping[Form, str] = {"int8": "int8-predictions.csv", "int4": "int4-predictions.csv"}
_CHEAP = 5  # runs that take less than such a part of the longest one's time are not worth to be left out
_ROUNDS = 3  # so many must fit into the time, so that it is worth to begin with a candidate


@dataclass
class Entry:
    """A candidate in one form."""

    candidate: Candidate
    form: Form
    costs: Costs | None = None
    """Of its bundle from the first fold; None before that."""
    least_bytes: int = 0
    reason: Reason | None = None
    detail: str = ""
    predicted: dict[int, np.ndarray] = field(default_factory=dict)
    """By fold, the class indices that it gave the fold's test documents."""

    @property
    def live(self) -> bool:
        """Whether it is still in the race."""
        return self.reason is None

    def drop(self, reason: Reason, detail: str = "") -> None:
        """Take it out, unless it is out already."""
        if self.reason is None:
            self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class RunBegins:
    """A candidate is about to be trained."""

    run: PlannedRun
    name: Name
    """The arm's."""
    fold: int | None
    """From 1; None for all documents but those of the test."""
    folds: int
    seconds_left: float
    share: float = 1.0
    """Of the training documents; less than 1 for a learning curve."""


FitEvent = RunBegins
Listener = Callable[[FitEvent], None]


@dataclass(frozen=True)
class Making:
    """What makes the runs, and how many at the same time; as for `tanzaku.study.engine.make_runs`."""

    jobs: int | None = None
    ray: RayOptions | None = None

    @property
    def together(self) -> int | None:
        """So many of a round are made before they are measured; None for all."""
        return self.jobs if self.ray else self.jobs or 1


@dataclass
class Fold:
    """A fold's documents, where its runs are, and one planned run for each candidate, in their order."""

    number: int
    dataset: Dataset
    runs: Sequence[PlannedRun]


@dataclass
class Race:
    """What `run_race` works with."""

    study: str
    candidates: Sequence[Candidate]
    names: Mapping[int, Mapping[Language, Name]]
    """By a candidate's `id`, what its arm is called in each language."""
    entries: Sequence[Entry]
    folds: int
    budgets: Budgets
    labels: int
    margin: float
    choose_by: ChooseBy
    clock: Clock
    costs: CostsFile
    scratch: Path
    """A folder for bundles that are only weighed."""
    listener: Listener
    making: Making

    def of(self, candidate: Candidate) -> list[Entry]:
        """The candidate's entries that are left."""
        return [entry for entry in self.entries if entry.candidate is candidate and entry.live]

    def name(self, candidate: Candidate) -> Name:
        """What a candidate's arm is called in English."""
        return self.names[id(candidate)]["en"]

    def begin(self, candidate: Candidate, planned: PlannedRun, *, fold: int | None, share: float = 1.0) -> None:
        """Tell the listener of a run that is about to be made."""
        self.listener(RunBegins(planned, self.name(candidate), fold, self.folds, self.clock.left, share=share))

    @property
    def live(self) -> list[Entry]:
        """All that are left."""
        return [entry for entry in self.entries if entry.live]


def run_race(race: Race, fold_of: Callable[[int], Fold]) -> int:
    """Race until all folds are done, nothing is left, or the time is over; how many whole rounds there were.

    Raises:
        StudyInterrupted: It was asked to stop; the same call resumes it.
    """
    truth: list[np.ndarray] = []
    for number in range(1, race.folds + 1):
        if not race.live:
            return number - 1
        fold = fold_of(number)
        if number > 1:
            _drop_for_time(race, fold, np.concatenate(truth), rounds=number - 1)
        pairs = [pair for pair in zip(race.candidates, fold.runs, strict=True) if race.of(pair[0])]
        at_once = race.making.together or len(pairs)
        for start in range(0, len(pairs), at_once):
            if not _measure_some(race, pairs[start : start + at_once], fold):
                return number - 1
        truth.append(classes_of(fold.dataset))
        _drop_hopeless(race, np.concatenate(truth), rounds=number)
    return race.folds


def _measure_some(race: Race, pairs: Sequence[tuple[Candidate, PlannedRun]], fold: Fold) -> bool:
    """Train candidates at the same time, and then measure one after the other; False where the time was over."""
    for candidate, planned in pairs:
        if not _has_time(race, candidate, planned, fold) and fold.number > 1:
            return False
    pairs = [pair for pair in pairs if race.of(pair[0])]
    for candidate, planned in pairs:
        race.begin(candidate, planned, fold=fold.number)
    if len(pairs) > 1 or race.making.ray:
        making, deadline = race.making, race.clock.deadline
        runs = [planned for _, planned in pairs]
        _make(runs, fold.dataset, study=race.study, deadline=deadline, jobs=making.jobs, ray=making.ray)
    return all(_measure(race, candidate, planned, fold) for candidate, planned in pairs)


def _has_time(race: Race, candidate: Candidate, planned: PlannedRun, fold: Fold) -> bool:
    """Whether a run fits into what is left, with the final training like it.

    In the first round, further ones like it must fit too, or else the candidate drops out. A run that was made before
    takes no time.
    """
    if (planned.folder / RECORD_FILE).exists():
        return True
    expected = race.clock.expected(planned, fold.dataset)
    rounds = min(race.folds, _ROUNDS) if fold.number == 1 else 1
    needed = (rounds + FINAL_SHARE) * expected
    if race.clock.left > needed:
        return True
    if fold.number == 1:
        for entry in race.of(candidate):
            entry.drop("time", duration(needed))
    return False


def _drop_for_time(race: Race, fold: Fold, classes: np.ndarray, *, rounds: int) -> None:
    """Where time is short for all that are left, drop the expensive ones that did worst, so that the others can be
    measured on all folds."""
    left = race.folds - rounds
    runs = dict(zip(map(id, race.candidates), fold.runs, strict=True))
    scores: dict[int, float] = {}  # by a candidate's `id`, its best form's
    live = race.live
    found = scores_of(selectable(live, rounds), classes, labels=race.labels, choose_by=race.choose_by)
    for entry, score in zip(live, found, strict=True):
        scores[id(entry.candidate)] = max(float(score), scores.get(id(entry.candidate), 0.0))
    seconds = {key: race.clock.expected(runs[key], fold.dataset) for key in scores}
    best = max(scores, key=lambda key: scores[key])
    while left * sum(seconds.values()) + FINAL_SHARE * max(seconds.values()) > race.clock.left:
        expensive = [key for key in seconds if key != best and seconds[key] > max(seconds.values()) / _CHEAP]
        if not expensive:
            return
        worst = min(expensive, key=lambda key: scores[key])
        for entry in live:
            if id(entry.candidate) == worst:
                entry.drop("time", duration(left * seconds[worst]))
        del seconds[worst]


def _measure(race: Race, candidate: Candidate, planned: PlannedRun, fold: Fold) -> bool:
    """Train a candidate on a fold, and see what its forms predict and cost; False where the time was over."""
    record = make_run(planned, fold.dataset, study=race.study, deadline=race.clock.deadline)
    if record is None:
        for entry in race.of(candidate) if fold.number == 1 else []:
            entry.drop("time")
        return fold.number == 1
    if isinstance(record, FailedRun):
        for entry in race.of(candidate):
            entry.drop("failed", record.error)
        return True
    race.clock.learn(planned, record, fold.dataset)
    for entry in race.of(candidate):
        if fold.number == 1:
            entry.costs = _weigh(race, planned, entry.form, fold.dataset)
            if over := race.budgets.exceeded(entry.costs):
                entry.drop(over)
                continue
        entry.predicted[fold.number] = np.array(_predictions(race, planned, entry.form, fold.dataset).predicted)
    return True


def make_run(
    planned: PlannedRun, dataset: Dataset, *, study: str, deadline: float | None, ray: RayOptions | None = None
) -> FinishedRun | FailedRun | None:
    """Make a run in a process of its own, unless it is there; None where the deadline (of `time.monotonic`) stopped it.

    Raises:
        StudyInterrupted: Somebody asked it to stop.
    """
    made = _make([planned], dataset, study=study, deadline=deadline, ray=ray)
    return made[0] if made else None


def _make(
    runs: Sequence[PlannedRun], dataset: Dataset, *, study: str, deadline: float | None, **making: Any
) -> list[FinishedRun | FailedRun]:
    """Make runs; gives the records of those that ended before the deadline."""
    records = []
    try:
        for event in make_runs(list(runs), dataset=dataset, study=study, deadline=deadline, **making):
            if isinstance(event, RunEnds):
                records.append(event.record)
    except StudyInterrupted:
        if deadline is None or time.monotonic() < deadline:
            raise
    return records


def pack_form(planned: PlannedRun, form: Form, out: Path, *, compare: bool, language: Language = "en") -> None:
    """Pack a run in one of its forms; `compare` and `language` as for `pack`."""
    shutil.rmtree(out, ignore_errors=True)
    pack(
        planned.folder,
        out,
        with_encoder=form in ("whole", "stored"),
        merge=form != "stored",
        int8=form == "int8",
        int4=form == "int4",
        compare=compare,
        language=language,
    )


def predictions_of(planned: PlannedRun, form: Form) -> StoredPredictions:
    """What a form made of the test documents of a run."""
    return read_predictions(planned.folder, name=_PREDICTIONS.get(form, PREDICTIONS_FILE))


def _weigh(race: Race, planned: PlannedRun, form: Form, dataset: Dataset) -> Costs:
    key = f"{planned.run_id}/{form}"
    if (known := race.costs.get(key)) is not None:
        return known
    bundle = race.scratch / f"{planned.run_id}-{form}"
    pack_form(planned, form, bundle, compare=False)
    costs = race.costs.measure(key, bundle, dataset.test.texts)
    predict_in_fewer_bits(planned, form, bundle, dataset)
    shutil.rmtree(bundle)
    return costs


def _predictions(race: Race, planned: PlannedRun, form: Form, dataset: Dataset) -> StoredPredictions:
    if _must_classify(planned, form):
        bundle = race.scratch / f"{planned.run_id}-{form}"
        pack_form(planned, form, bundle, compare=False)
        predict_in_fewer_bits(planned, form, bundle, dataset)
        shutil.rmtree(bundle)
    return predictions_of(planned, form)


def _must_classify(planned: PlannedRun, form: Form) -> bool:
    return form in _PREDICTIONS and not (planned.folder / _PREDICTIONS[form]).exists()


def predict_in_fewer_bits(planned: PlannedRun, form: Form, bundle: Path, dataset: Dataset) -> None:
    """Classify the test documents with a bundle in 8 or 4 bits, unless that was done before; the other forms compute
    what the run computed. See `predictions_of`."""
    if not _must_classify(planned, form):
        return
    from tanzaku.measure.calibration import rounded_down, softmax
    from tanzaku.ship.classifier import Classifier

    classifier = Classifier.load(bundle)
    scores = classifier.scores(dataset.test.texts)  # (documents, labels)
    probabilities = softmax(scores, temperature=classifier.facts.calibration.temperature).max(axis=1)
    write_predictions(
        planned.folder,
        classes=classes_of(dataset).tolist(),
        predicted=scores.argmax(axis=1).tolist(),
        probabilities=rounded_down(probabilities).tolist(),
        name=_PREDICTIONS[form],
    )


def classes_of(dataset: Dataset) -> np.ndarray:
    """The class indices of the test documents, (documents,) int64."""
    index = {name: place for place, name in enumerate(dataset.label_names)}
    return np.array([index[label] for label in dataset.test.labels], dtype=np.int64)


def _drop_hopeless(race: Race, classes: np.ndarray, *, rounds: int) -> None:
    live = race.live
    if len(live) < 2 or rounds == race.folds:
        return
    found = selectable(live, rounds)
    looks = race.folds - 1
    for place in hopeless(
        found, classes, labels=race.labels, margin=race.margin, choose_by=race.choose_by, looks=looks
    ):
        live[place].drop("worse", f"{rounds}")


def selectable(entries: Sequence[Entry], rounds: int) -> list[Selectable]:
    """Entries with their predictions of the first folds."""
    return [
        Selectable(
            np.concatenate([entry.predicted[number] for number in range(1, rounds + 1)]),
            entry.costs.total_bytes if entry.costs else 0,
        )
        for entry in entries
    ]


def duration(seconds: float) -> str:
    """About how long, in minutes or seconds."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
