"""Which settings are tried next, and which trial is ended early: Optuna (Akiba et al. 2019, arXiv 1907.10902), on a
SQLite file that everything is written to at once.

Each value is drawn by a sampler of its own, seeded with the search's seed, the trial's number and the setting's name,
and so only follows from the trials before it: a search that was killed and resumed with as many jobs proposes what an
undisturbed one would have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tanzaku.errors import TanzakuError
from tanzaku.extras import require_extra
from tanzaku.processes import interrupts_held_back
from tanzaku.study.tune_settings import Range, TuneSpec

if TYPE_CHECKING:
    import optuna

_STUDY_NAME = "tuning"
_IDENTITY = "identity"


@dataclass(frozen=True)
class Proposal:
    """Values for the searched settings; `number` counts trials from 0."""

    number: int
    settings: Mapping[str, Any]


@contextmanager
def naming_storage(path: Path) -> Iterator[None]:
    """Say which file it is that a search can't read or write.

    Raises:
        TanzakuError: Optuna or the database failed.
    """
    require_extra("tune", purpose="the search")
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise TanzakuError(
            f"{path}: the search's trials can't be read or written ({reason}). If the disk is full, free some space "
            f"and run the same command again; if the file is damaged, remove {path.parent} to start over"
        ) from error


class Proposals:
    """Optuna's side of a search. Close it when done.

    Args:
        path: The SQLite file; it is made, or resumed.
        settings: How to search.
        space: Values or a range for each searched setting.
        epochs: The most that a trial takes.
        identity: Names the search; a file of another one is refused.

    Raises:
        TanzakuError: The extra `tune` is not installed, or the file is another search's.
    """

    @interrupts_held_back()
    def __init__(
        self,
        path: Path,
        *,
        settings: TuneSpec,
        space: Mapping[str, tuple[Any, ...] | Range],
        epochs: int,
        identity: str,
    ) -> None:
        require_extra("tune", purpose="the search")
        import optuna
        import sqlalchemy

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._settings = settings
        self._space = space
        self._storage = optuna.storages.RDBStorage(str(sqlalchemy.URL.create("sqlite", database=str(path))))
        self._study = optuna.create_study(
            study_name=_STUDY_NAME,
            storage=self._storage,
            direction="maximize" if settings.objective == "accuracy" else "minimize",
            pruner=_pruner(settings, epochs=epochs),
            load_if_exists=True,
        )
        found = self._study.user_attrs.get(_IDENTITY)
        if found not in (None, identity):
            self.close()
            raise TanzakuError(
                f"{path.parent} holds a search with other settings, data or encoder; choose another --out, or remove it"
            )
        self._study.set_user_attr(_IDENTITY, identity)

    @interrupts_held_back()
    def close(self) -> None:
        """Give the file back."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    @interrupts_held_back()
    def ended(self) -> list[Proposal]:
        """The trials that have ended, in the order of their numbers."""
        trials = self._study.get_trials(deepcopy=False)
        return [self._proposal(trial.number) for trial in trials if trial.state.is_finished()]

    @interrupts_held_back()
    def next(self, jobs: int = 1, *, most: int = 1) -> list[Proposal]:
        """The trials of a round: those that were begun and have not ended, with their settings, and new ones.

        Rounds end at the multiples of `jobs`, and their trials are drawn before any of them ends, so that they do not
        depend on which of them ends first. No trial of a round may be given to `end` before all of them have ended.

        Args:
            jobs: How many trials are made at the same time.
            most: How many are wanted at most, 1 or more.
        """
        from optuna.trial import TrialState

        trials = self._study.get_trials(deepcopy=False)
        begun = [trial.number for trial in trials if trial.state == TrialState.RUNNING]
        proposals = [self._proposal(number) for number in begun[: min(jobs, most)]]
        drawn = len(trials)  # their numbers are those below
        while not proposals or (drawn % jobs and len(proposals) < min(jobs, most)):
            proposals.append(self._proposal(self._study.ask().number))
            drawn += 1
        return proposals

    @interrupts_held_back()
    def report(self, number: int, epoch: int, objective: float) -> bool:
        """Take in an epoch's objective, also once more; whether the trial should be ended here."""
        trial, verdict = self._trial(number), f"ended after epoch {epoch}"
        if verdict in trial.user_attrs:  # Hyperband, asked once more, answers otherwise
            return bool(trial.user_attrs[verdict])
        if epoch not in self._study.trials[number].intermediate_values:
            trial.report(objective, step=epoch)
        ends = bool(trial.should_prune())
        trial.set_user_attr(verdict, ends)
        return ends

    @interrupts_held_back()
    def end(self, number: int, status: Literal["finished", "pruned", "failed"], objective: float | None) -> None:
        """Write down how a trial ended; a finished one with its objective."""
        from optuna.trial import TrialState

        states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        self._study.tell(number, objective if status == "finished" else None, state=states[status])

    def _trial(self, number: int) -> optuna.Trial:
        from optuna.trial import Trial

        return Trial(self._study, self._study.trials[number]._trial_id)

    def _proposal(self, number: int) -> Proposal:
        """Read back what the storage has of a trial's settings, and draw what it has not."""
        values = self._study.trials[number].params
        settings: dict[str, Any] = {}
        for name, among in self._space.items():
            value = values[name] if name in values else self._draw(number, name, among)
            settings[name] = _rounded(value, among) if isinstance(among, Range) else json.loads(str(value))
        return Proposal(number, settings)

    def _draw(self, number: int, name: str, among: tuple[Any, ...] | Range) -> Any:
        from optuna.samplers import TPESampler

        seed = int(np.random.SeedSequence([self._settings.seed, number, *name.encode()]).generate_state(1)[0])
        self._study.sampler = TPESampler(
            seed=seed,
            n_startup_trials=self._settings.startup_trials,
            multivariate=False,  # each setting is drawn for itself
        )
        trial = self._trial(number)
        if not isinstance(among, Range):
            # Optuna's storage takes plain values; as JSON a list is one as well.
            return trial.suggest_categorical(name, [json.dumps(value) for value in among])
        if among.whole:
            return trial.suggest_int(name, int(among.low), int(among.high), log=among.log)
        return trial.suggest_float(name, among.low, among.high, log=among.log)


def _rounded(value: float, among: Range) -> float:
    """Four digits of it: more would mean nothing, and make studies that nobody can read."""
    return value if among.whole else min(max(float(f"{value:.4g}"), among.low), among.high)


def _pruner(settings: TuneSpec, *, epochs: int) -> optuna.pruners.BasePruner:
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    if settings.pruner == "none":
        return NopPruner()
    if settings.pruner == "hyperband":
        return HyperbandPruner(
            min_resource=settings.unpruned_epochs, max_resource=max(epochs, settings.unpruned_epochs)
        )
    return MedianPruner(n_startup_trials=settings.startup_trials, n_warmup_steps=settings.unpruned_epochs)
