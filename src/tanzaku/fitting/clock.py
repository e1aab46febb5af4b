"""The time budget of a fit, and how long its runs are going to take."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean

from tanzaku.data.dataset import Dataset
from tanzaku.study.encoder_spec import EncoderSpec
from tanzaku.study.planned import PlannedRun
from tanzaku.study.record import FinishedRun
from tanzaku.study.spec import RunSpec

_STEP_PASSES = 3  # forward, and about twice as much backward
_STEP_SECONDS = 5e-9
"""What it takes, for each parameter, to add up its gradient and let AdamW change it: full fine-tuning of the included
encoder took 0.15 s a step more than LoRA on a core of an AMD EPYC."""


@dataclass(frozen=True)
class Speed:
    """The seconds that an encoder takes for a document."""

    single_seconds: float
    """One at a time."""
    batch_seconds: float
    """Of many in one call."""
    parameters: int
    """Of the encoder."""
    remembers: bool = True
    """Whether a frozen encoder's features are computed once for all epochs."""


@dataclass(frozen=True)
class Speeds:
    """How fast an encoder is, by how it reads documents."""

    usual: Speed
    """As most candidates read them."""
    others: Mapping[EncoderSpec, Speed] = field(default_factory=dict)

    def of(self, reading: EncoderSpec) -> Speed:
        """The speed for a way of reading."""
        return self.others.get(reading, self.usual)


class Clock:
    """The time budget, and how long runs take.

    Args:
        minutes: The budget.
        used: The seconds of it that earlier calls used.
        speeds: The encoder's with one thread; None without an encoder.
        threads: Of each run that shares the machine with others; None where each run has all threads.
        crowding: How many runs share a core, so that each takes so many times as long as the speed says.
    """

    def __init__(
        self,
        minutes: float,
        *,
        used: float = 0.0,
        speeds: Speeds | None = None,
        threads: int | None = None,
        crowding: float = 1.0,
    ) -> None:
        self.deadline = time.monotonic() + 60 * minutes - used
        self._budget = 60 * minutes
        self._used = used
        self._speeds = speeds
        self._threads = threads
        self._crowding = crowding
        self._known: dict[str, float] = {}  # seconds for each training document, by arm
        self._factor = 1.0  # how much longer runs that train the encoder took than expected
        self._weighings: dict[str, list[float]] = {}  # seconds of each, by the kind of the run

    @property
    def left(self) -> float:
        """Seconds, never below 0."""
        return max(0.0, self.deadline - time.monotonic())

    @property
    def used(self) -> float:
        """Seconds of the budget, with those of earlier calls; what is not cut off when it is over does not count."""
        return max(self._used, self._budget - self.left)

    def restart(self) -> None:
        """Forget what earlier calls used."""
        self.deadline += self._used
        self._used = 0.0

    def learn(self, planned: PlannedRun, record: FinishedRun, dataset: Dataset) -> None:
        """Note how long a run took, which tells also how long others of its kind are going to take."""
        took = record.seconds
        if self._threads:
            # One that had more threads, since it did not share the machine, takes longer: at most by their ratio.
            took *= max(1.0, record.environment.threads / self._threads)
        self._known[_arm(planned)] = took / max(1, len(dataset.train))
        if trains_encoder(planned.spec) and (expected := self._by_speed(planned.spec, dataset)):
            self._factor = took / expected

    def learn_weighing(self, planned: PlannedRun, seconds: float) -> None:
        """Note how long it took to pack a run in one of its forms, to time it, and to classify with it."""
        self._weighings.setdefault(planned.spec.kind, []).append(seconds)

    def weighing(self, planned: PlannedRun) -> float:
        """Seconds that it is going to take to weigh a form of a run; 0 as long as none of its kind was weighed."""
        return fmean(self._weighings.get(planned.spec.kind, [0.0]))

    def expected(self, planned: PlannedRun, dataset: Dataset) -> float:
        """Seconds that a run is going to take: as long as another of its arm, or else as the encoder's speed says."""
        if (known := self._known.get(_arm(planned))) is not None:
            return known * len(dataset.train)
        factor = self._factor if trains_encoder(planned.spec) else 1.0
        return factor * self._by_speed(planned.spec, dataset)

    def _by_speed(self, spec: RunSpec, dataset: Dataset) -> float:
        return self._crowding * self._on_a_core(spec, dataset)

    def _on_a_core(self, spec: RunSpec, dataset: Dataset) -> float:
        if spec.kind == "text" or self._speeds is None:
            return 0.0
        speed = self._speeds.of(spec.encoder)
        train, others = len(dataset.train), len(dataset.val) + len(dataset.test)
        if not trains_encoder(spec) and speed.remembers:  # document by document
            return speed.single_seconds * train + speed.batch_seconds * others
        if not trains_encoder(spec):
            return speed.batch_seconds * (spec.training.epochs * (train + len(dataset.val)) + len(dataset.test))
        epochs, batch = spec.training.epochs, spec.training.batch_size
        passes = speed.batch_seconds * training_passes(train, len(dataset.val), epochs=epochs)
        if not spec.method.saves_whole_model:
            return passes
        return passes + epochs * train / batch * _STEP_SECONDS * speed.parameters


def final_share(whole: Dataset, fold: Dataset) -> float:
    """As how many runs on a fold the final training takes, which has the documents that the fold classifies too."""
    return len(whole.train) / max(1, len(fold.train))


def training_passes(train: int, val: int, *, epochs: int) -> int:
    """Documents that pass through an encoder while it is trained, in the time of those that are only classified."""
    return epochs * (_STEP_PASSES * train + val)


def trains_encoder(spec: RunSpec) -> bool:
    """Whether a run trains the encoder or an adapter in it, not only what follows it."""
    return spec.kind != "text" and spec.method.name != "head"


def _arm(planned: PlannedRun) -> str:
    """The arm of a run, whichever fold it is of."""
    return planned.spec.model_dump_json(exclude={"data", "seed"})
