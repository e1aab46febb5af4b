"""The runs of a study that wait for a place: each once, and not before another run whose training it takes over."""

from collections import deque
from collections.abc import Iterable, Sequence

from tanzaku.study.planned import PlannedEncoderRun, PlannedRun
from tanzaku.study.spec import IDENTITY_DIGITS


class Waiting:
    """Runs in their order, but those that take over the training of one of the others come last; see `TrainedBefore`.

    Args:
        runs: In the order in which they start.
    """

    def __init__(self, runs: Sequence[PlannedRun]) -> None:
        self._trainers = _trainers_of(runs)
        self._runs = deque(sorted(runs, key=lambda run: run.run_id in self._trainers))
        self._settled: set[str] = set()

    def __bool__(self) -> bool:
        """Whether any are left."""
        return bool(self._runs)

    def next(self) -> PlannedRun | None:
        """The first run that need not wait for another one; None where there is none."""
        for run in self._runs:
            trainer = self._trainers.get(run.run_id)
            if trainer is None or trainer in self._settled:
                self._runs.remove(run)
                return run
        return None

    def settle(self, run: PlannedRun) -> None:
        """A run has ended, or is left out: none waits for it any longer."""
        self._settled.add(run.run_id)

    def put_back(self, runs: Iterable[PlannedRun]) -> None:
        """Let runs wait again, before the others."""
        self._runs.extendleft(reversed(list(runs)))


def _trainers_of(runs: Sequence[PlannedRun]) -> dict[str, str]:
    """By the runs that take over a training, the one of these that does it."""
    by_identity = {run.run_id.rpartition("-")[2]: run.run_id for run in runs}
    trainers = {}
    for run in runs:
        like = run.trained_like if isinstance(run, PlannedEncoderRun) else None
        if like is not None and (trainer := by_identity.get(like[:IDENTITY_DIGITS])) is not None:
            trainers[run.run_id] = trainer
    return trainers
