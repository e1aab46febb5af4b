"""The search: settings are proposed, trials try them on the validation set, and nothing that ended is lost.

<out>/trials.db          every proposal, every epoch's objective, every end (SQLite, by Optuna)
<out>/trials/<run>/      a trial: its log, its checkpoints while it lasts, its result
<out>/encoders/          where the study pretrains its encoder
<out>/tuning.json        all trials in one record
<out>/tuned.toml         a study with the best settings
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tanzaku.data.characters import clean_dataset
from tanzaku.data.dataset import Dataset
from tanzaku.encoders.load import EncoderSource
from tanzaku.errors import RecordError, SpecError, TanzakuError
from tanzaku.extras import require_extra
from tanzaku.files import check_writable
from tanzaku.pretraining.options import ContinuedOptions
from tanzaku.provenance import now
from tanzaku.study.engines.cluster import connected
from tanzaku.study.engines.options import RayOptions
from tanzaku.study.environment import describe_environment
from tanzaku.study.folders import RunFolders
from tanzaku.study.naming import Namer, arms_of_runs
from tanzaku.study.plan import check_encoder, prepare_encoders
from tanzaku.study.process import StudyInterrupted
from tanzaku.study.record import EpochRecord
from tanzaku.study.run import data_facts
from tanzaku.study.spec import EncoderRunSpec, StudySpec
from tanzaku.study.tune.on_ray import RayTrials
from tanzaku.study.tune.proposals import Proposal, Proposals, naming_storage
from tanzaku.study.tune.record import (
    TUNING_FILE,
    TrialRecord,
    TuningRecord,
    read_trials,
    trial_record,
    write_tuned,
    write_tuning,
)
from tanzaku.study.tune.space import SearchSpace, search_space
from tanzaku.study.tune.trial import PlannedTrial, TrialResult, Verdict, make_trials, read_result
from tanzaku.study.tune_settings import TuneSpec

STORAGE_FILE = "trials.db"
TRIALS_FOLDER = "trials"
# They may change from call to call: they say how long is searched and what is done with the result.
_NOT_IDENTITY = {"arm", "space", "trials", "minutes", "seeds"}


@dataclass(frozen=True)
class SearchStarts:
    """What will be searched, and how many trials have ended before."""

    space: Mapping[str, Any]
    ended: int


@dataclass(frozen=True)
class TrialStarts:
    """A trial is about to be made, or resumed."""

    proposal: Proposal
    total: int


@dataclass(frozen=True)
class TrialEnds:
    """A trial has a result; `best` is the best that has finished so far."""

    trial: TrialRecord
    best: TrialRecord | None


@dataclass(frozen=True)
class SearchEnds:
    """Everything is written; `tuned` is the study with the best settings, None where no trial has finished."""

    record: TuningRecord
    tuned: Path | None


SearchEvent = SearchStarts | TrialStarts | TrialEnds | SearchEnds


def search(
    study: StudySpec,
    *,
    dataset: Dataset,
    out: Path,
    progress: bool = False,
    jobs: int = 1,
    ray: RayOptions | None = None,
) -> Iterator[SearchEvent]:
    """Make trials until there are enough or the minutes are over; an interrupted search resumes.

    Args:
        study: With its `[tune]`, or without for the defaults.
        dataset: Training and validation split. Its test split is empty, so that nothing can look at it.
        out: The search's folder.
        progress: Show bars for the encoder's pretraining and the tokenisation.
        jobs: How many trials are made at the same time; they share the threads. Trials are proposed in rounds of so
            many, each from the results of the rounds before.
        ray: Make them with Ray, whose machines must share `out`.

    Raises:
        SpecError: The search space does not fit the arm or the encoder.
        StudyInterrupted: It was asked to stop (Ctrl-C or SIGTERM).
        RecordError: The result of a trial that has ended is lost.
        TanzakuError: The extra `tune` is missing, `out` holds another search, or another process is at this one.
    """
    require_extra("tune", purpose="the search")
    if len(dataset.test):
        raise TanzakuError("a search must not see the test set; load the data with test=False")
    study = study.with_absolute_encoder()
    dataset = clean_dataset(dataset)
    settings, space = study.tune or TuneSpec(), search_space(study)
    corners = space.corners(seed=settings.seed)
    _check(settings, corners, jobs=jobs)
    check_writable(out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / "lock", timeout=0):
            base = check_encoder(corners, dataset)
            encoders = prepare_encoders(corners, dataset, base, out=out, progress=progress)
            making = _Search(study, settings, space, corners, dataset, encoders, out, jobs, ray)
            with connected(ray):
                yield from making.run()
    except Timeout as error:
        raise TanzakuError(f"another process is tuning in {out}; wait for it, or choose another --out") from error


def _check(settings: TuneSpec, corners: Sequence[EncoderRunSpec], *, jobs: int) -> None:
    if any(corner.training.distill is not None for corner in corners):
        raise SpecError(
            "training.distill: settings are searched without a teacher; leave it out for the search, and add it to the "
            "arm of tuned.toml"
        )
    if jobs > 1 and settings.pruner == "hyperband":
        raise SpecError(
            'tune.pruner = "hyperband" compares trials that are being made, so that with several jobs the result would '
            'depend on which is faster; take "median" or "none", or one job'
        )


class _Search:
    def __init__(
        self,
        study: StudySpec,
        settings: TuneSpec,
        space: SearchSpace,
        corners: Sequence[EncoderRunSpec],
        dataset: Dataset,
        encoders: Mapping[ContinuedOptions | None, EncoderSource],
        out: Path,
        jobs: int = 1,
        ray: RayOptions | None = None,
    ) -> None:
        self.jobs = jobs
        self.elsewhere = RayTrials(ray, jobs=jobs, study=study.name) if ray else None
        self.study, self.settings, self.space, self.dataset, self.out = study, settings, space, dataset, out
        self.encoders = encoders
        self.namer = Namer(arms_of_runs(corners))
        self.first_encoder = self._encoder(corners[0])
        self.identity = self._identity(corners)
        self.epochs = max(corner.training.epochs for corner in corners)
        self.trials: list[TrialRecord] = []

    def run(self) -> Iterator[SearchEvent]:
        with naming_storage(self.out / STORAGE_FILE):
            yield from self._run()

    def _run(self) -> Iterator[SearchEvent]:
        minutes = self.settings.minutes
        deadline = time.monotonic() + 60 * minutes if minutes else None
        proposals = Proposals(
            self.out / STORAGE_FILE,
            settings=self.settings,
            space=self.space.searched,
            epochs=self.epochs,
            identity=self.identity,
        )
        with closing(proposals):
            written = {trial.number: trial for trial in read_trials(self.out)}
            for proposal in proposals.ended():
                self.trials.append(self._ended_before(proposal, written))
            yield SearchStarts(self.space.description(), len(self.trials))
            while len(self.trials) < self.settings.trials and not _over(deadline):
                some = proposals.next(self.jobs, most=self.settings.trials - len(self.trials))
                for proposal in some:
                    yield TrialStarts(proposal, self.settings.trials)
                results = self._make(some, proposals, deadline=deadline)
                if None in results and not _over(deadline):
                    raise StudyInterrupted
                for proposal, result in zip(some, results, strict=True):
                    if result is not None:
                        # Only of a whole round: a later call makes the rest of it, which must not know of these.
                        yield self._end(proposal, result, None if None in results else proposals)
        yield self._finish()

    def _end(self, proposal: Proposal, result: TrialResult, proposals: Proposals | None) -> TrialEnds:
        """Record how a trial ended, also for the proposals to come where they are given."""
        if proposals:
            proposals.end(proposal.number, result.status, self._objective(result.best) if result.best else None)
        self.trials.append(self._record(proposal, result))
        return TrialEnds(self.trials[-1], self._write().best)

    def _make(
        self, some: Sequence[Proposal], proposals: Proposals, *, deadline: float | None
    ) -> list[TrialResult | None]:
        """The results of a round; None for a trial that was asked to stop."""
        results: dict[int, TrialResult | None] = {}
        trials: dict[int, PlannedTrial] = {}
        for proposal in some:
            spec, error = self._spec(proposal)
            if spec is None:
                results[proposal.number] = TrialResult(status="failed", error=error)
            else:
                trials[proposal.number] = PlannedTrial(spec, self._folder(spec), self._encoder(spec), deadline)
        verdicts = [self._verdict(number, proposals) for number in trials]
        made = make_trials(
            list(trials.values()),
            dataset=self.dataset,
            verdicts=verdicts,
            jobs=self.jobs,
            elsewhere=self.elsewhere,
        )
        results |= zip(trials, made, strict=True)
        return [results[proposal.number] for proposal in some]

    def _verdict(self, number: int, proposals: Proposals) -> Verdict:
        def verdict(epochs: Sequence[EpochRecord]) -> bool:
            ends = False
            for epoch in epochs:
                ends = proposals.report(number, epoch.epoch, self._objective(epoch))
            return ends

        return verdict

    def _ended_before(self, proposal: Proposal, written: Mapping[int, TrialRecord]) -> TrialRecord:
        """The record of a trial that ended in an earlier call: from its folder, or else as it was written then.

        Raises:
            RecordError: It is in neither.
        """
        spec, error = self._spec(proposal)
        if spec is None:
            return self._record(proposal, TrialResult(status="failed", error=error))
        folder = self._folder(spec)
        try:
            return self._record(proposal, read_result(folder))
        except RecordError as missing:
            found = written.get(proposal.number + 1)
            if found is None or found.run_id != folder.name:
                raise RecordError(
                    f"trial {proposal.number + 1} has ended, but neither {folder} nor {self.out / TUNING_FILE} has its "
                    "result; put one of them back, or choose another --out to search again"
                ) from missing
            return found

    def _record(self, proposal: Proposal, result: TrialResult) -> TrialRecord:
        spec, _ = self._spec(proposal)
        run_id = self._folder(spec).name if spec else None
        return trial_record(proposal.number + 1, dict(proposal.settings), result, spec=spec, run_id=run_id)

    def _spec(self, proposal: Proposal) -> tuple[EncoderRunSpec | None, str | None]:
        """The run that a proposal stands for, or why there is none: some settings do not go together."""
        try:
            return self.space.run(proposal.settings, seed=self.settings.seed), None
        except SpecError as error:
            return None, str(error)

    def _objective(self, epoch: EpochRecord) -> float:
        return epoch.val_accuracy if self.settings.objective == "accuracy" else epoch.val_loss

    def _encoder(self, spec: EncoderRunSpec) -> EncoderSource:
        return self.encoders[spec.encoder.pretrain]

    def _folder(self, spec: EncoderRunSpec) -> Path:
        (arm,) = arms_of_runs([spec])
        identity = spec.identity(**self._fingerprints(spec))
        return RunFolders(self.out / TRIALS_FOLDER).of(spec, name=self.namer.folder(arm), identity=identity)

    def _fingerprints(self, spec: EncoderRunSpec) -> dict[str, str]:
        return {
            "data_fingerprint": self.dataset.fingerprint,
            "encoder_fingerprint": self._encoder(spec).fingerprint,
        }

    def _identity(self, corners: Sequence[EncoderRunSpec]) -> str:
        content = {
            # All of them: some settings count at some points alone, such as the decay of "wsd".
            "corners": sorted({corner.identity(**self._fingerprints(corner)) for corner in corners}),
            "space": self.space.description(),
            "settings": self.settings.model_dump(mode="json", exclude=_NOT_IDENTITY),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _write(self) -> TuningRecord:
        record = TuningRecord(
            study=self.study.name,
            written=now(),
            identity=self.identity,
            settings=self.settings.model_dump(mode="json", exclude={"space"}),
            fixed=dict(self.space.fixed),
            space=self.space.description(),
            data=data_facts(self.dataset),
            encoder=self.first_encoder.name,
            encoder_fingerprint=self.first_encoder.fingerprint,
            environment=describe_environment(),
            trials=tuple(self.trials),
        )
        write_tuning(record, self.out)
        return record

    def _finish(self) -> SearchEnds:
        record = self._write()
        if record.best is None:
            return SearchEnds(record, None)
        tuned = write_tuned(self.study, record.best, self.out, trials=len(record.trials), seeds=self.settings.seeds)
        return SearchEnds(record, tuned)


def _over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline
