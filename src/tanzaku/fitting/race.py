"""What a race of candidates is about: the candidates in their forms, the folds, and the runs of both.

`tanzaku.fitting.rounds` has the race itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tanzaku.analysis.selection import Selectable
from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.grouping import group_numbers
from tanzaku.fitting.budgets import Budgets, Costs, CostsFile
from tanzaku.fitting.candidates import Candidate, Form
from tanzaku.fitting.clock import Clock
from tanzaku.machine import describe_machine
from tanzaku.measure.metrics import ChooseBy
from tanzaku.study.engine import RunEnds, make_runs
from tanzaku.study.engines.cluster import room
from tanzaku.study.engines.options import RayOptions
from tanzaku.study.making import Shown
from tanzaku.study.naming import Name
from tanzaku.study.planned import PlannedRun
from tanzaku.study.process import DeadlineOver
from tanzaku.study.record import RECORD_FILE, FailedRun, FinishedRun, read_record
from tanzaku.threads import settled_threads, threads_of_each
from tanzaku.words import Language

_MOST_JOBS = 8
_JOB_BYTES = 4_000_000_000  # an encoder of the base size with all its weights, and long documents

Reason = Literal["megabytes", "milliseconds", "memory", "time", "failed", "worse"]
"""Why an entry dropped out."""


@dataclass(frozen=True)
class Behind:
    """How an entry compared with the best when it dropped out for being worse."""

    folds: int
    documents: int
    score: float
    best: float
    """The best's score on the same documents."""


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
    needed_seconds: float | None = None
    """How much more time it would have needed, if it dropped out for want of time and that is known."""
    behind: Behind | None = None
    """How far it was behind when it dropped out for being worse."""
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

    def bring_back(self) -> None:
        """Put it into the race again."""
        self.reason, self.detail, self.needed_seconds = None, "", None


@dataclass(frozen=True)
class RunBegins:
    """A candidate is about to be trained."""

    run: PlannedRun
    name: Name
    """The arm's."""
    fold: int | None
    """From 1; None for the final training."""
    folds: int
    seconds_left: float
    share: float = 1.0
    """Of the training documents; less than 1 for a learning curve."""
    documents: int | None = None
    """So many are trained on in the final training."""


FitEvent = RunBegins
Listener = Callable[[FitEvent], None]


def usual_jobs() -> int:
    """How many candidates are trained at the same time if nobody says: one for each thread, at most eight, and no more
    than there are 4 GB of memory for; one where a GPU trains them.

    A small encoder's operations on short documents are too short to be divided among threads. Two runs at the same
    time, with one thread each, are therefore almost twice as fast as one after the other with two threads.
    """
    machine = describe_machine()
    if machine.gpu is not None:
        return 1
    return max(1, min(settled_threads(), _MOST_JOBS, machine.memory_bytes // _JOB_BYTES))


@dataclass(frozen=True)
class Making:
    """What makes the runs, and how many at the same time; as for `tanzaku.study.engine.make_runs`."""

    jobs: int | None = None
    ray: RayOptions | None = None

    @property
    def at_once(self) -> int:
        """So many runs can be made at the same time; with Ray, as long as it is connected."""
        if self.ray is None:
            return self.jobs or 1
        there = room(self.ray, jobs=self.jobs)
        return min(self.jobs or there, there)

    @property
    def crowding(self) -> float:
        """How many runs share a core; 1 where each has one to itself. Ray starts no more than there is room for."""
        return 1.0 if self.ray is not None else max(1.0, (self.jobs or 1) / settled_threads())

    @property
    def threads(self) -> int | None:
        """Of each run that shares the machine with others; None where each run has all threads."""
        if self.ray is not None:
            return self.ray.threads_per_run(self.jobs)
        return threads_of_each(self.jobs)


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
    final_share: float
    """As how many runs on a fold the final training takes."""
    scratch: Path
    """A folder for bundles that are only weighed."""
    listener: Listener
    making: Making
    groups: np.ndarray | None = None
    """Of the test documents of all folds, (documents,) int; None where they have none."""
    at_once: int = 1
    """So many runs are counted on to be made at the same time."""
    rounds_before: int = 0
    """Whole rounds that an earlier call has made of these candidates; none of them is given up for lack of time."""
    completed: Callable[[int], None] = lambda _: None
    """Called after each whole round, with its number."""
    note_time: Callable[[], None] = lambda: None
    """Called before each run, and in the end: notes how much of the time budget was used, for a call that resumes."""

    def of(self, candidate: Candidate) -> list[Entry]:
        """The candidate's entries that are left."""
        return [entry for entry in self.entries if entry.candidate is candidate and entry.live]

    def name(self, candidate: Candidate) -> Name:
        """What a candidate's arm is called in English."""
        return self.names[id(candidate)]["en"]

    def begin(
        self,
        candidate: Candidate,
        planned: PlannedRun,
        *,
        fold: int | None,
        share: float = 1.0,
        documents: int | None = None,
    ) -> None:
        """Tell the listener of a run that is about to be made, unless it was made before."""
        if has_ended(planned):
            return
        self.note_time()
        name, left = self.name(candidate), self.clock.left
        self.listener(RunBegins(planned, name, fold, self.folds, left, share=share, documents=documents))

    @property
    def live(self) -> list[Entry]:
        """All that are left."""
        return [entry for entry in self.entries if entry.live]


def has_ended(planned: PlannedRun) -> bool:
    """Whether a run has its record, so that it takes no time."""
    return (planned.folder / RECORD_FILE).exists()


def forget_failed(folders: Iterable[Path]) -> int:
    """Remove the records of those runs that failed, so that they are made again; how many there were."""
    failed = [folder / RECORD_FILE for folder in folders if read_record(folder).status == "failed"]
    for path in failed:
        path.unlink()
    return len(failed)


Record = FinishedRun | FailedRun


def make_run(
    planned: PlannedRun, dataset: Dataset, *, study: str, deadline: float | None, ray: RayOptions | None = None
) -> Record | None:
    """Make a run in a process of its own, unless it is there; None where the deadline (of `time.monotonic`) stopped it.

    Raises:
        StudyInterrupted: Somebody asked it to stop.
    """
    made: list[Record] = []
    make_several(
        [planned], dataset, study=study, deadline=deadline, ended=lambda _, record: made.append(record), ray=ray
    )
    return made[0] if made else None


def make_several(
    runs: Sequence[PlannedRun],
    dataset: Dataset,
    *,
    study: str,
    deadline: float | None,
    ended: Callable[[PlannedRun, Record], object],
    **making: Any,
) -> None:
    """Make runs until the deadline, and call `ended` for each that has ended, before the next one is begun.

    Raises:
        StudyInterrupted: Somebody asked it to stop, even if the deadline passed while the runs saved checkpoints.
    """
    shown: Shown | None = "nothing" if all(run.spec.kind == "text" for run in runs) else None  # there are no steps
    made = make_runs(list(runs), dataset=dataset, study=study, deadline=deadline, shown=shown, **making)
    # Whatever stops `ended`, the runs are asked to save checkpoints at once.
    with contextlib.suppress(DeadlineOver), contextlib.closing(made) as events:
        for event in events:
            if isinstance(event, RunEnds):
                ended(event.run, event.record)


def classes_of(dataset: Dataset) -> np.ndarray:
    """The class indices of the test documents, (documents,) int64."""
    index = {name: place for place, name in enumerate(dataset.label_names)}
    return np.array([index[label] for label in dataset.test.labels], dtype=np.int64)


def groups_of(splits: Sequence[Documents]) -> np.ndarray | None:
    """`group_numbers` of the documents of some splits, one after the other, (documents,) int64."""
    numbers = group_numbers([group for split in splits for group in split.groups or [None] * len(split)])
    return None if numbers is None else np.array(numbers, dtype=np.int64)


def selectable(entries: Sequence[Entry], rounds: int) -> list[Selectable]:
    """Entries that were measured, with their predictions of the first folds."""
    found = []
    for entry in entries:
        assert entry.costs is not None, f"{entry.candidate.arm} was not weighed"
        predicted = np.concatenate([entry.predicted[number] for number in range(1, rounds + 1)])
        found.append(Selectable(predicted, entry.costs.total_bytes))
    return found
