"""The race against the clock, with runs that take the seconds they are given: what is tried, dropped, brought back."""

import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tanzaku.data.dataset import Dataset, Documents
from tanzaku.fitting import finish, rounds
from tanzaku.fitting.budgets import Budgets, Costs, CostsFile
from tanzaku.fitting.candidates import Candidate
from tanzaku.fitting.clock import Clock, Speed, Speeds, final_share
from tanzaku.fitting.compare import epochs_of
from tanzaku.fitting.history import Outcome, Past
from tanzaku.fitting.race import Entry, Fold, Making, Race, has_ended, make_several, usual_jobs
from tanzaku.fitting.splits import split_for_fit
from tanzaku.machine import describe_machine
from tanzaku.study.encoder_spec import EncoderSpec
from tanzaku.study.engine import RunEnds, StudyEvent
from tanzaku.study.engines.options import RayOptions
from tanzaku.study.planned import PlannedRun
from tanzaku.study.process import DeadlineOver, StudyInterrupted
from tanzaku.study.record import RECORD_FILE, FinishedRun, RunRecord
from tests.report.records import baseline

FOLDS, DOCUMENTS = 5, 30


@dataclass(frozen=True)
class Kind:
    """A candidate: how long its runs take and were expected to take, and how many documents it gets wrong."""

    name: str
    seconds: float
    wrong: int
    expected: float | None = None


@dataclass(frozen=True)
class Planned:
    """Its run on a fold."""

    kind: Kind
    folder: Path

    @property
    def run_id(self) -> str:
        return self.folder.name

    @property
    def spec(self) -> SimpleNamespace:
        trains = not self.kind.name.startswith("cheap")
        return SimpleNamespace(kind="encoder", method=SimpleNamespace(name="lora" if trains else "head"))


class FakeClock(Clock):
    """Goes only as fast as runs are made."""

    def __init__(self, seconds: float) -> None:
        super().__init__(1)
        self.deadline, self.now = seconds, 0.0

    @property
    def left(self) -> float:
        return max(0.0, self.deadline - self.now)

    def expected(self, planned: PlannedRun, dataset: Dataset) -> float:
        del dataset
        kind = cast(Planned, planned).kind
        return kind.seconds if kind.expected is None else kind.expected

    def learn(self, planned: PlannedRun, record: FinishedRun, dataset: Dataset) -> None:
        """It knows what it is told."""


@dataclass
class World:
    """Where runs are made: it advances the clock, and stops a run at the deadline."""

    folder: Path
    clock: FakeClock = field(default_factory=lambda: FakeClock(0))
    made: list[str] = field(default_factory=list)
    time_over: bool = False
    """How the last race ended."""

    def make_run(self, planned: Planned, dataset: Dataset, **_: Any) -> Any:
        del dataset
        if not has_ended(cast(PlannedRun, planned)):
            if planned.kind.seconds > self.clock.left:
                self.clock.now = self.clock.deadline
                return None
            self.clock.now += planned.kind.seconds
            planned.folder.mkdir(parents=True)
            (planned.folder / RECORD_FILE).write_text("{}", encoding="utf-8")
            self.made.append(planned.run_id)
        return object()

    def make_several(
        self,
        runs: Sequence[Planned],
        dataset: Dataset,
        *,
        jobs: int | None,
        begins: Callable[[Planned], bool],
        ended: Callable[[Planned, object], object],
        **_: Any,
    ) -> None:
        """Runs that share the time: each begins when one of those before has ended."""
        waiting = deque(runs)
        running: list[tuple[float, Planned]] = []
        while waiting or running:
            while waiting and len(running) < (jobs or 1):
                planned = waiting.popleft()
                if has_ended(cast(PlannedRun, planned)):
                    ended(planned, object())
                elif begins(planned):
                    running.append((self.clock.now + planned.kind.seconds, planned))
            if running:
                running.sort(key=lambda one: one[0])
                end, first = running.pop(0)
                rest = replace(first.kind, seconds=end - self.clock.now)
                if self.make_run(replace(first, kind=rest), dataset) is None:
                    return
                ended(first, object())

    def race(
        self, kinds: Sequence[Kind], *, seconds: float, before: int = 0, jobs: int = 1, final_share: float = 1.25
    ) -> tuple[int, dict[str, Entry]]:
        """The whole rounds, and each candidate's entry."""
        self.clock = FakeClock(seconds)
        self.made.clear()
        candidates = [Candidate({"method": kind.name}, ("text",)) for kind in kinds]
        entries = [Entry(candidate, "text") for candidate in candidates]
        folds = [self._fold(number, kinds) for number in range(1, FOLDS + 1)]
        race = Race(
            study="race",
            candidates=candidates,
            names={id(one): {"en": cast(Any, one.arm["method"])} for one in candidates},
            entries=entries,
            folds=FOLDS,
            budgets=Budgets(),
            labels=2,
            margin=0.15,
            choose_by="accuracy",
            clock=self.clock,
            costs=CostsFile(self.folder / "costs.json"),
            final_share=final_share,
            scratch=self.folder / "scratch",
            listener=lambda _: None,
            making=Making(jobs),
            at_once=jobs,
            rounds_before=before,
        )
        raced = rounds.run_race(race, folds)
        self.time_over = raced.time_over
        return raced.rounds, {kind.name: one for kind, one in zip(kinds, entries, strict=True)}

    def _fold(self, number: int, kinds: Sequence[Kind]) -> Fold:
        documents = Documents(tuple(map(str, range(DOCUMENTS))), ("a", "b") * (DOCUMENTS // 2))
        dataset = Dataset(name="fold", train=documents, val=documents, test=documents, label_names=("a", "b"))
        runs = [Planned(kind, self.folder / str(number) / f"{kind.name}-{number}") for kind in kinds]
        return Fold(number, dataset, cast(Sequence[PlannedRun], runs))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """With runs that only take time, and bundles that cost nothing."""
    made = World(tmp_path)

    @dataclass(frozen=True)
    class Predictions:
        predicted: list[int]

    def predictions(race: Race, planned: Planned, form: str, dataset: Dataset) -> Predictions:
        del race, form
        classes = [dataset.label_names.index(label) for label in dataset.test.labels]
        return Predictions([1 - one if place < planned.kind.wrong else one for place, one in enumerate(classes)])

    monkeypatch.setattr(rounds, "make_run", made.make_run)
    monkeypatch.setattr(rounds, "make_several", made.make_several)
    monkeypatch.setattr(rounds, "weigh", lambda *_: Costs(1.0, 1.0, 1, total_bytes=1))
    monkeypatch.setattr(rounds, "predictions", predictions)
    return made


CHEAP, OTHER = Kind("cheap", 1, wrong=2), Kind("other", 1, wrong=3)


def test_more_time_never_makes_the_evidence_smaller(world: World) -> None:
    """The second call has time for a few folds of what was too expensive, but not for all."""
    expensive = Kind("expensive", 40, wrong=1)
    done, entries = world.race([CHEAP, OTHER, expensive], seconds=100)
    assert (done, entries["expensive"].reason) == (FOLDS, "time")
    done, entries = world.race([CHEAP, OTHER, expensive], seconds=200, before=FOLDS)
    assert (done, entries["expensive"].reason, world.made) == (FOLDS, "time", [])
    assert set(entries["cheap"].predicted) == set(range(1, FOLDS + 1))
    done, entries = world.race([CHEAP, OTHER, expensive], seconds=300, before=FOLDS)
    assert (done, entries["expensive"].reason) == (FOLDS, None)
    assert len(world.made) == FOLDS


def test_what_takes_longer_than_expected_drops_out_and_the_rounds_stay(world: World) -> None:
    slow = Kind("slow", 60, wrong=0, expected=30)
    world.race([CHEAP, OTHER, slow], seconds=50)
    done, entries = world.race([CHEAP, OTHER, slow], seconds=200, before=FOLDS)
    assert world.made[:1] == ["slow-1"]
    assert (done, entries["slow"].reason, entries["cheap"].reason) == (FOLDS, "time", None)


def test_without_earlier_rounds_the_best_is_not_dropped_for_being_slow(world: World) -> None:
    slow = Kind("slow", 60, wrong=0, expected=30)
    done, entries = world.race([CHEAP, OTHER, slow], seconds=200)
    assert (done, entries["slow"].reason, world.time_over) == (3, None, True)


def test_no_candidate_is_left_out_that_fits_into_the_time_that_is_left(world: World) -> None:
    """Dropping the worst first does not help as long as the larger ones do not fit either."""
    kinds = [CHEAP, Kind("head", 12, wrong=5), Kind("large", 40, wrong=3), Kind("larger", 45, wrong=1)]
    done, entries = world.race(kinds, seconds=390)
    assert done == FOLDS
    assert (entries["head"].reason, entries["larger"].reason, entries["large"].reason) == (None, None, "time")
    assert set(entries["head"].predicted) == set(range(1, FOLDS + 1))


@pytest.mark.parametrize(
    ("enough", "seconds", "rounds"), [(60, 110, 2), (30, 80, 1), (60, 80, None), (30, 60, None), (30, 500, FOLDS)]
)
def test_a_candidate_is_tried_if_the_rounds_that_fit_classify_enough_documents(
    world: World, monkeypatch: pytest.MonkeyPatch, enough: int, seconds: float, rounds: int | None
) -> None:
    """Three rounds and the final training would take 127 s."""
    monkeypatch.setattr("tanzaku.fitting.rounds._ENOUGH_DOCUMENTS", enough)
    done, entries = world.race([CHEAP, Kind("quickest", 30, wrong=1), Kind("slower", 35, wrong=1)], seconds=seconds)
    assert done == (FOLDS if rounds is None else rounds)
    assert entries["quickest"].reason == ("time" if rounds is None else None)
    assert entries["slower"].reason == ("time" if rounds != FOLDS else None)


def test_time_that_is_left_in_the_end_is_used(world: World) -> None:
    """The better one was expected to take all the time, and took little of it."""
    kinds = [CHEAP, Kind("quick", 5, wrong=1, expected=40), Kind("later", 30, wrong=3)]
    _, entries = world.race(kinds, seconds=235)
    assert all(entry.live for entry in entries.values())
    assert not world.time_over
    assert [name for name in world.made if name.startswith("later")] == [f"later-{one}" for one in range(1, 6)]


def test_how_much_time_a_candidate_would_need_is_more_than_there_was(world: World) -> None:
    _, entries = world.race([CHEAP, Kind("expensive", 40, wrong=1)], seconds=100)
    # Five runs of 40 s, and the final training on a quarter more documents.
    assert entries["expensive"].needed_seconds == pytest.approx(5 * 40 + 1.25 * 40)
    assert world.clock.left < 250


def test_candidates_that_are_trained_at_the_same_time_share_the_time(world: World) -> None:
    kinds = [CHEAP, OTHER, Kind("large", 40, wrong=3), Kind("larger", 45, wrong=1)]
    _, entries = world.race(kinds, seconds=340)
    assert entries["large"].reason == "time"
    done, entries = world.race([replace(kind, name=f"{kind.name}-2") for kind in kinds], seconds=340, jobs=2)
    assert done == FOLDS
    assert all(entry.live for entry in entries.values())
    assert world.clock.now == FOLDS * 46


@pytest.mark.parametrize("seconds", [105, 110])
def test_a_candidate_is_brought_back_only_if_it_fits_among_the_others(world: World, seconds: float) -> None:
    """It is made with its neighbours, so it may cost a pair its other half: here 20 s instead of 13."""
    kinds = [Kind("a", 10, wrong=1), Kind("b", 3, wrong=4), Kind("c", 10, wrong=1), Kind("d", 3, wrong=4)]
    done, _ = world.race(kinds, seconds=seconds, jobs=2)
    assert done == FOLDS


@pytest.mark.parametrize(
    ("threads", "gigabytes", "gpu", "jobs"),
    [(2, 24, None, 2), (1, 24, None, 1), (16, 64, None, 8), (8, 16, None, 4), (4, 2, None, 1), (16, 64, "H200", 1)],
)
def test_as_many_candidates_at_once_as_there_are_threads_and_memory(
    monkeypatch: pytest.MonkeyPatch, threads: int, gigabytes: int, gpu: str | None, jobs: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    machine = replace(describe_machine(), memory_bytes=gigabytes * 10**9, gpu=gpu)
    monkeypatch.setattr("tanzaku.fitting.race.describe_machine", lambda: machine)
    assert usual_jobs() == jobs


def test_more_jobs_than_cores_make_each_run_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    making = Making(4)
    assert (making.at_once, making.threads, making.crowding) == (4, 1, 2.0)
    assert (Making(2).crowding, Making().crowding, Making(8, RayOptions()).crowding) == (1.0, 1.0, 1.0)
    documents = Documents(("a",) * 10, ("x",) * 10)
    dataset = Dataset(name="d", train=documents, val=documents, test=documents, label_names=("x",))
    usual, short = EncoderSpec(name="e"), EncoderSpec(name="e", max_tokens=8)
    spec = SimpleNamespace(
        kind="encoder", method=SimpleNamespace(name="head"), encoder=usual, model_dump_json=lambda exclude: "arm"
    )
    planned = cast(PlannedRun, SimpleNamespace(spec=spec))
    speed = Speed(single_seconds=1.0, batch_seconds=0.5, parameters=1)
    speeds = Speeds(speed, {usual: speed, short: replace(speed, single_seconds=0.1)})
    assert Clock(1, speeds=speeds).expected(planned, dataset) == 20
    assert Clock(1, speeds=speeds, threads=1, crowding=making.crowding).expected(planned, dataset) == 40
    spec.encoder = short  # an arm that reads fewer tokens is faster
    assert Clock(1, speeds=speeds).expected(planned, dataset) == 11
    # Where features are not remembered, the encoder computes them in every epoch.
    spec.encoder, spec.training = usual, SimpleNamespace(epochs=20)
    assert Clock(1, speeds=Speeds(replace(speed, remembers=False))).expected(planned, dataset) == 0.5 * (20 * 20 + 10)


@pytest.mark.parametrize("stopped", [DeadlineOver, StudyInterrupted])
def test_ctrl_c_counts_though_the_deadline_passes_while_checkpoints_are_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: type[StudyInterrupted]
) -> None:
    def make_runs(runs: list[PlannedRun], **_: Any) -> Iterator[StudyEvent]:
        yield RunEnds(runs[0], made, found=False)
        raise stopped

    made, records = cast(RunRecord, object()), list[RunRecord]()
    planned = cast(PlannedRun, SimpleNamespace(spec=SimpleNamespace(kind="text")))
    monkeypatch.setattr("tanzaku.fitting.race.make_runs", make_runs)
    expected = contextlib.nullcontext() if stopped is DeadlineOver else pytest.raises(StudyInterrupted)
    documents = Documents(("a",) * 10, ("x",) * 10)
    dataset = Dataset(name="d", train=documents, val=documents, test=documents, label_names=("x",))
    with expected:
        make_several(
            [planned], dataset, study="s", deadline=time.monotonic() - 1, ended=lambda _, record: records.append(record)
        )
    assert records == [made]


def test_no_core_waits_while_others_are_trained(world: World) -> None:
    kinds = [CHEAP, Kind("large", 40, wrong=1), Kind("larger", 45, wrong=1), Kind("half", 20, wrong=1)]
    done, _ = world.race(kinds, seconds=1000, jobs=2)
    assert (done, world.clock.now) == (FOLDS, FOLDS * (40 + 20))  # next to the short one and the larger one


def test_a_run_is_only_begun_if_there_is_time_when_its_turn_comes(world: World) -> None:
    """The first two take longer than expected; then the third does not fit any more."""
    kinds = [Kind("a", 40, wrong=1, expected=10), Kind("b", 40, wrong=1, expected=10), Kind("c", 30, wrong=1)]
    _, entries = world.race(kinds, seconds=150, jobs=2)
    assert (entries["a"].reason, entries["c"].reason) == (None, "time")
    assert not [name for name in world.made if name.startswith("c")]


def test_the_time_to_weigh_a_candidate_is_planned_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first two tell how long it takes; the third would fit into the time but for that."""

    def weigh(race: Race, planned: PlannedRun, *_: object) -> Costs:
        world.clock.now += 30
        race.clock.learn_weighing(planned, 30.0)
        return Costs(1.0, 1.0, 1, total_bytes=1)

    monkeypatch.setattr(rounds, "weigh", weigh)
    kinds = [Kind("a", 5, wrong=1), Kind("b", 5, wrong=1), Kind("c", 5, wrong=1)]
    needed = 5 * (FOLDS + 1.25) + 30
    done, entries = world.race(kinds, seconds=2 * (5 + 30) + 50)
    assert (done, entries["c"].reason, entries["c"].needed_seconds) == (FOLDS, "time", needed)
    assert not [name for name in world.made if name.startswith("c")]
    _, entries = world.race(kinds, seconds=500)
    assert entries["c"].reason is None


def test_each_run_is_counted_from_when_there_is_a_place_for_it() -> None:
    """With two places, the third run begins after the second one, which is the shorter one."""
    race = SimpleNamespace(at_once=2, final_share=1.25)
    waiting = [[10.0, 10.0], [4.0], [2.0, 2.0], [8.0, 8.0]]
    assert rounds._needed(cast(Race, race), waiting) == (4 + 2 + 8) + (2 + 8) + 1.25 * 10
    one = SimpleNamespace(at_once=1, final_share=1.25)
    assert rounds._needed(cast(Race, one), waiting) == 24 + 20 + 12.5


def test_more_time_gives_more_epochs_unless_a_result_is_only_shown_again() -> None:
    documents = Documents(tuple(map(str, range(30_000))), ("a", "b") * 15_000)
    splits = split_for_fit(documents, range(30_000), name="made", seed=0)
    speed = Speed(single_seconds=0.02, batch_seconds=0.01, parameters=1)

    def epochs(minutes: float, past: Past, candidates: int = 1) -> int:
        job = SimpleNamespace(minutes=minutes, folds=splits.folds, whole=splits.whole)
        return epochs_of(cast(Any, job), speed, past, candidates=candidates)

    past = Past({})
    assert epochs(20, past) == 2
    past.seconds = 19 * 60
    assert epochs(20, past) == 2  # resumed with little time left
    past.outcome = Outcome(20, 1, [], epochs=2)
    assert epochs(600, past, candidates=5) == 2  # enough for more of one candidate, but all are trained again
    assert epochs(600, past) == 5
    assert (epochs(20, past), past.epochs) == (2, 5)  # the longer call was interrupted
    past.outcome = Outcome(600, 1, [], epochs=5)
    past.seconds = 600 * 60
    assert (epochs(20, past), epochs(620, past)) == (5, 5)
    assert epochs(620, Past({}, epochs=2, seconds=600 * 60)) == 2  # the other 20 minutes are too few for more


def test_a_call_that_resumes_has_the_rest_of_the_time() -> None:
    first = Clock(20)
    assert 0 <= first.used < 60
    resumed = Clock(20, used=15 * 60)
    assert 4 * 60 < resumed.left <= 5 * 60
    assert 15 * 60 <= resumed.used < 16 * 60
    resumed.restart()
    assert 19 * 60 < resumed.left <= 20 * 60
    assert resumed.used < 60
    over = Clock(20, used=25 * 60)
    assert (over.left, over.used) == (0, 25 * 60)
    over.deadline = 0  # long ago: what took longer does not count
    assert over.used == 25 * 60
    first.deadline = 0
    assert first.used == 20 * 60


def test_a_resumed_run_took_as_long_as_all_its_sessions() -> None:
    clock = Clock(1)
    documents = Documents(("a",) * 10, ("x",) * 10)
    dataset = Dataset(name="d", train=documents, val=documents, test=documents, label_names=("x",))
    spec = SimpleNamespace(kind="text", model_dump_json=lambda exclude: "arm")
    costs = baseline().costs.model_copy(update={"train_seconds_with_evaluation": 290.0, "test_seconds": 5.0})
    times: dict[str, Any] = {"started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:00:20+00:00"}
    planned = cast(PlannedRun, SimpleNamespace(spec=spec))
    for resumptions, seconds in ((1, 295), (0, 20)):
        clock.learn(planned, baseline(**times, resumptions=resumptions, costs=costs), dataset)
        assert clock.expected(planned, dataset) == pytest.approx(seconds)


@pytest.mark.parametrize(("threads", "seconds"), [(1, 60), (2, 60), (4, 120)])
def test_a_run_takes_longer_with_fewer_threads_than_before(threads: int, seconds: float) -> None:
    clock = Clock(1, threads=2)
    documents = Documents(("a",) * 10, ("x",) * 10)
    dataset = Dataset(name="d", train=documents, val=documents, test=documents, label_names=("x",))
    spec = SimpleNamespace(kind="text", model_dump_json=lambda exclude: "arm")
    times: dict[str, Any] = {"started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:01:00+00:00"}
    environment = baseline().environment.model_copy(update={"threads": threads})
    planned = cast(PlannedRun, SimpleNamespace(spec=spec))
    clock.learn(planned, baseline(**times, resumptions=0, environment=environment), dataset)
    assert clock.expected(planned, dataset) == pytest.approx(seconds)


@pytest.mark.parametrize("folds", [2, 5])
def test_the_final_training_takes_as_long_as_its_documents(world: World, folds: int) -> None:
    """With two folds, as two runs: each has half of the documents that it has."""
    documents = Documents(tuple(map(str, range(1000))), ("a", "b") * 500)
    splits = split_for_fit(documents, range(1000), name="made", seed=0, folds=folds)
    share = final_share(splits.whole, splits.folds[0])
    assert share == pytest.approx(folds / (folds - 1), abs=0.02)
    slow = Kind("slow", 20, wrong=1)
    _, entries = world.race([slow], seconds=20 * (1 + 1.5), final_share=share)
    assert entries["slow"].reason == ("time" if folds == 2 else None)


@pytest.mark.parametrize(("seconds", "made"), [(20, False), (30, True)])
def test_a_share_of_a_fold_takes_a_share_of_the_time(
    world: World, monkeypatch: pytest.MonkeyPatch, seconds: float, made: bool
) -> None:
    """The part is a quarter of the fold already: it is trained on in 25 s."""
    kind = Kind("quarter", 25, wrong=1)
    planned = cast(PlannedRun, Planned(kind, world.folder / "quarter"))
    world.clock = FakeClock(seconds)
    race = SimpleNamespace(clock=world.clock, begin=lambda *_, **__: None, study="s", making=Making())
    spec = SimpleNamespace(model_copy=lambda update: update)
    monkeypatch.setattr(finish, "plan_study", lambda *_, **__: SimpleNamespace(runs=[planned], dataset=None))
    monkeypatch.setattr(finish, "make_run", world.make_run)
    documents = Documents(("a",) * 10, ("x",) * 10)
    part = Dataset(name="part", train=documents, val=documents, test=documents, label_names=("x",))
    finish._trained_on(
        cast(Any, SimpleNamespace(folder=world.folder)),
        cast(Any, SimpleNamespace(race=race, spec=spec)),
        Candidate({"method": "quarter"}, ("text",)),
        1,
        share=0.25,
        part=part,
    )
    assert bool(world.made) is made
    assert world.clock.now == (25 if made else 0)  # it is not begun in vain


def test_what_is_surely_worse_drops_out_with_the_figures(world: World) -> None:
    done, entries = world.race([CHEAP, Kind("hopeless", 1, wrong=DOCUMENTS)], seconds=100)
    behind = entries["hopeless"].behind
    assert (done, entries["hopeless"].reason) == (FOLDS, "worse")
    assert behind is not None
    assert (behind.folds, behind.documents, behind.score) == (1, DOCUMENTS, 0.0)
    assert np.isclose(behind.best, 28 / 30)


def test_the_history_survives_a_damaged_file_with_an_error(tmp_path: Path) -> None:
    from tanzaku.errors import DataError
    from tanzaku.fitting.history import HISTORY_FILE, History

    history = History(tmp_path)
    history.call({"margin": 0.01}).rounds = 3
    history.write()
    again = History(tmp_path)
    assert (again.rounds, again.call({"margin": 0.01}).rounds, again.call({"margin": 0.02}).rounds) == (3, 3, 0)
    (tmp_path / HISTORY_FILE).write_text(json.dumps({"calls": [{"asked": {}}]}), encoding="utf-8")
    with pytest.raises(DataError, match=r"fit\.json is damaged"):
        History(tmp_path)
