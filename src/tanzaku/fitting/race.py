"""The race: candidates are measured fold by fold, and those that can't be taken drop out.

Each round trains every candidate that is left on one more fold. A candidate drops out when its bundle does not meet a
budget, when it failed, when there is no time for it in the first round, or when it is significantly worse than the best
by more than the margin on the folds so far (as in Maron and Moore 1994, "Hoeffding races"). Only whole rounds count, so
that all that are left at the end have classified the same documents.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np

from tanzaku.analysis.selection import Selectable, hopeless
from tanzaku.data.dataset import Dataset
from tanzaku.fitting.budgets import Budgets, Costs, CostsFile
from tanzaku.fitting.candidates import Candidate, Form
from tanzaku.ship.packing import pack
from tanzaku.study.engine import RunEnds, make_runs
from tanzaku.study.planned import PlannedRun
from tanzaku.study.predictions import read_predictions, write_predictions
from tanzaku.study.process import StudyInterrupted
from tanzaku.study.record import RECORD_FILE, FailedRun, FinishedRun

Reason = Literal["megabytes", "milliseconds", "memory", "time", "failed", "worse"]
"""Why an entry dropped out."""

_STEP_PASSES = 3  # forward, and about twice as much backward
_INT8_PREDICTIONS = "int8-predictions.csv"


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
    fold: int | None
    """From 1; None for all documents but those of the test."""
    folds: int
    seconds_left: float
    share: float = 1.0
    """Of the training documents; less than 1 for a learning curve."""


FitEvent = RunBegins
Listener = Callable[[FitEvent], None]


class Clock:
    """The time budget, and how long runs take."""

    def __init__(self, minutes: float, *, encoder_seconds: float) -> None:
        self.deadline = time.time() + 60 * minutes
        self._encoder_seconds = encoder_seconds
        self._known: dict[str, float] = {}

    @property
    def left(self) -> float:
        """Seconds, never below 0."""
        return max(0.0, self.deadline - time.time())

    def learn(self, planned: PlannedRun, record: FinishedRun) -> None:
        """Note how long a run took."""
        took = datetime.fromisoformat(record.ended) - datetime.fromisoformat(record.started)
        self._known[_arm(planned)] = took.total_seconds()

    def expected(self, planned: PlannedRun, dataset: Dataset) -> float:
        """Seconds that a run is going to take: as long as another of its arm, or else as the encoder's speed says."""
        if (known := self._known.get(_arm(planned))) is not None:
            return known
        if planned.spec.kind == "text":
            return 0.0
        train, others = len(dataset.train), len(dataset.val) + len(dataset.test)
        if planned.spec.method.name == "head":  # whose features are computed once
            return self._encoder_seconds * (train + others)
        return self._encoder_seconds * planned.spec.training.epochs * (_STEP_PASSES * train + others)


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
    entries: Sequence[Entry]
    folds: int
    budgets: Budgets
    margin: float
    clock: Clock
    costs: CostsFile
    scratch: Path
    """A folder for bundles that are only weighed."""
    listener: Listener

    def of(self, candidate: Candidate) -> list[Entry]:
        """The candidate's entries that are left."""
        return [entry for entry in self.entries if entry.candidate is candidate and entry.live]

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
        if not race.live or (number > 1 and race.clock.left == 0):
            return number - 1
        fold = fold_of(number)
        for candidate, planned in zip(race.candidates, fold.runs, strict=True):
            if not race.of(candidate):
                continue
            if not _has_time(race, candidate, planned, fold) and number > 1:
                return number - 1
            if race.of(candidate) and not _measure(race, candidate, planned, fold):
                return number - 1
        truth.append(classes_of(fold.dataset))
        _drop_hopeless(race, np.concatenate(truth), rounds=number)
    return race.folds


def _has_time(race: Race, candidate: Candidate, planned: PlannedRun, fold: Fold) -> bool:
    """Whether a run fits into what is left, with another like it for the final training; in the first round it
    drops out if not. A run that was made before takes no time."""
    if (planned.folder / RECORD_FILE).exists():
        return True
    expected = race.clock.expected(planned, fold.dataset)
    if race.clock.left > 2 * expected:
        return True
    if fold.number == 1:
        for entry in race.of(candidate):
            entry.drop("time", _duration(expected))
    return False


def _measure(race: Race, candidate: Candidate, planned: PlannedRun, fold: Fold) -> bool:
    """Train a candidate on a fold, and see what its forms predict and cost; False where the time was over."""
    race.listener(RunBegins(planned, fold.number, race.folds, race.clock.left))
    record = make_run(planned, fold.dataset, study=race.study, deadline=race.clock.deadline)
    if record is None:
        for entry in race.of(candidate) if fold.number == 1 else []:
            entry.drop("time", "")
        return fold.number == 1
    if isinstance(record, FailedRun):
        for entry in race.of(candidate):
            entry.drop("failed", record.error)
        return True
    race.clock.learn(planned, record)
    for entry in race.of(candidate):
        if fold.number == 1:
            entry.costs = _weigh(race, planned, entry.form, fold.dataset)
            if over := race.budgets.exceeded(entry.costs):
                entry.drop(over)
                continue
        entry.predicted[fold.number] = _predictions(race, planned, entry.form, fold.dataset)
    return True


def make_run(
    planned: PlannedRun, dataset: Dataset, *, study: str, deadline: float | None
) -> FinishedRun | FailedRun | None:
    """Make a run in a process of its own, unless it is there; None where the deadline (Unix seconds) stopped it.

    Raises:
        StudyInterrupted: Somebody asked it to stop.
    """
    try:
        for event in make_runs([planned], dataset=dataset, study=study, deadline=deadline):
            if isinstance(event, RunEnds):
                return event.record
    except StudyInterrupted:
        if deadline is None or time.time() < deadline:
            raise
    return None


def pack_form(planned: PlannedRun, form: Form, out: Path, *, force: bool = False) -> None:
    """Pack a run in one of its forms."""
    pack(planned.folder, out, with_encoder=form == "whole", int8=form == "int8", force=force)


def _weigh(race: Race, planned: PlannedRun, form: Form, dataset: Dataset) -> Costs:
    key = f"{planned.run_id}/{form}"
    if (known := race.costs.get(key)) is not None:
        return known
    bundle = race.scratch / f"{planned.run_id}-{form}"
    shutil.rmtree(bundle, ignore_errors=True)
    pack_form(planned, form, bundle)
    costs = race.costs.measure(key, bundle, dataset.test.texts)
    if form == "int8":
        _write_int8(planned, bundle, dataset)
    shutil.rmtree(bundle)
    return costs


def _predictions(race: Race, planned: PlannedRun, form: Form, dataset: Dataset) -> np.ndarray:
    """(documents,) int64. In 8 bits, the packed bundle classifies; the other forms compute what the run computed."""
    if form != "int8":
        return np.array(read_predictions(planned.folder).predicted)
    if not (planned.folder / _INT8_PREDICTIONS).exists():
        bundle = race.scratch / f"{planned.run_id}-{form}"
        shutil.rmtree(bundle, ignore_errors=True)
        pack_form(planned, form, bundle)
        _write_int8(planned, bundle, dataset)
        shutil.rmtree(bundle)
    return np.array(read_predictions(planned.folder, name=_INT8_PREDICTIONS).predicted)


def _write_int8(planned: PlannedRun, bundle: Path, dataset: Dataset) -> None:
    from tanzaku.ship.classifier import Classifier

    predicted = Classifier.load(bundle).scores(dataset.test.texts).argmax(axis=1)
    write_predictions(
        planned.folder, classes=classes_of(dataset).tolist(), predicted=predicted.tolist(), name=_INT8_PREDICTIONS
    )


def classes_of(dataset: Dataset) -> np.ndarray:
    """The class indices of the test documents, (documents,) int64."""
    index = {name: place for place, name in enumerate(dataset.label_names)}
    return np.array([index[label] for label in dataset.test.labels], dtype=np.int64)


def _drop_hopeless(race: Race, classes: np.ndarray, *, rounds: int) -> None:
    live = race.live
    if len(live) < 2 or rounds == race.folds:
        return
    for place in hopeless(selectable(live, rounds), classes, margin=race.margin):
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


def _arm(planned: PlannedRun) -> str:
    """The arm of a run, whichever fold it is of."""
    return planned.spec.model_dump_json(exclude={"data", "seed"})


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
