"""Studies that Ray makes: equal to those of this machine's processes, whatever dies on the way."""

import errno
import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from filelock import FileLock

from benchmarks.inquiries import write_inquiries
from tanzaku.data.dataset import Dataset
from tanzaku.encoders.source import resolve_encoder
from tanzaku.errors import ProcessError
from tanzaku.fitting.race import Making
from tanzaku.fitting.run import fit
from tanzaku.study.engine import RunEnds, RunStarts, StudyEvent, make_runs
from tanzaku.study.engines.cluster import Cluster, result_of
from tanzaku.study.engines.options import RayOptions
from tanzaku.study.engines.ray import RayEngine
from tanzaku.study.engines.ray_worker import Begins, Board, Shared, pack_encoder, place_encoder
from tanzaku.study.plan import plan_study
from tanzaku.study.planned import PlannedRun
from tanzaku.study.process import FINISHED, INTERRUPTED, UNWRITABLE, DeadlineOver, Ended, StudyInterrupted
from tanzaku.study.record import FinishedEncoderRun, read_record
from tanzaku.study.runs import read_records
from tanzaku.study.spec import StudySpec
from tanzaku.study.tune.on_ray import _Round
from tanzaku.study.tune.on_ray import work as make_on_worker
from tanzaku.study.tune.search import SearchEnds, search
from tanzaku.study.tune.trial import PlannedTrial, read_result
from tests.forked import Forked
from tests.study.compared import assert_same_runs, clock_that_jumps, remount, training_process, wait_for_a_run
from tests.study.made import blind_dataset, make_study
from tests.tiny import make_dataset

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("ray"),  # so that Ray is started once
]


ONE_CPU = RayOptions(cpus_per_run=1)


def _study(encoder: Path, *, arms: list[dict[str, object]], **training: object) -> StudySpec:
    settings = {"epochs": 3, "learning_rate": 5e-3, "checkpoint_minutes": 0.002} | training
    content = {"name": "tiny", "data": {"source": "made by the test"}, "training": settings, "arms": arms}
    return StudySpec.model_validate(content | {"encoder": {"name": str(encoder), "max_tokens": 24}})


def _make(study: StudySpec, out: Path, dataset: Dataset, **options: Any) -> list[StudyEvent]:
    plan = plan_study(study, dataset=dataset, out=out)
    return list(make_runs(plan.runs, dataset=dataset, study=study.name, **options))


@pytest.fixture
def unshared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's workers do not see the study's folder."""
    share = RayEngine._share
    hidden = Path("/nowhere/.ray-mark")
    monkeypatch.setattr(RayEngine, "_share", lambda self, folder: replace(share(self, folder), mark=hidden))


@pytest.fixture(scope="module")
def made_by_processes(tmp_path_factory: pytest.TempPathFactory, tiny_masked_encoder: Path) -> tuple[StudySpec, Path]:
    """A study with a run that fails, each with one thread."""
    arms: list[dict[str, object]] = [
        {"method": "tfidf-svm"},
        {"method": "lora", "rank": 2},
        {"method": "full", "learning_rate": 1e30},
        {"method": "full"},
    ]
    study, out = _study(tiny_masked_encoder, arms=arms), tmp_path_factory.mktemp("processes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "2")
        _make(study, out, make_dataset(), jobs=2)
    return study, out


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("sees_folder", [True, False])
def test_ray_makes_the_same_runs_as_processes(
    tmp_path: Path,
    made_by_processes: tuple[StudySpec, Path],
    sees_folder: bool,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not sees_folder:
        request.getfixturevalue("unshared")
    study, expected = made_by_processes
    monkeypatch.chdir(tmp_path)  # in which no worker of Ray is
    events = _make(study, Path("runs"), make_dataset(), ray=RayOptions(cpus_per_run=1))
    assert sorted(type(event).__name__ for event in events) == ["RunEnds"] * 4 + ["RunStarts"] * 4
    assert isinstance(events[0], RunStarts)
    ended = [event for event in events if isinstance(event, RunEnds)]
    assert sorted(event.record.status for event in ended) == ["failed", "finished", "finished", "finished"]
    assert not any(event.found for event in ended)
    (failed,) = (event.record for event in ended if event.record.status == "failed")
    assert "smaller learning rate" in str(failed.model_dump()["error"])
    assert_same_runs(expected, tmp_path / "runs")
    logs = {path.parent.name for path in tmp_path.glob("runs/*/log.jsonl")}
    assert logs == {path.parent.name for path in expected.glob("*/log.jsonl")}
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()], "marks or unfinished files are left"
    again = _make(study, Path("runs"), make_dataset(), ray=RayOptions(cpus_per_run=1))
    assert all(isinstance(event, RunEnds) and event.found for event in again)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny_masked_encoder: Path) -> tuple[StudySpec, Path]:
    """A longer study of one run."""
    study, out = _study(tiny_masked_encoder, arms=[{"method": "full"}]), tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "2")
        _make(study, out, make_dataset(train=800), jobs=2)
    return study, out


def _kill_worker(out: Path) -> None:
    """Kill the worker of Ray that makes a run, once the run has saved a checkpoint."""
    while not list(out.glob("*/checkpoints/step-*")):
        time.sleep(0.02)
    made_by = psutil.Process(training_process(out)).parents()
    next(process for process in made_by if "ray::" in " ".join(process.cmdline())).kill()


@pytest.mark.usefixtures("ray_cluster")
def test_a_run_whose_worker_is_killed_resumes_elsewhere(tmp_path: Path, undisturbed: tuple[StudySpec, Path]) -> None:
    study, expected = undisturbed
    killer = threading.Thread(target=_kill_worker, args=(tmp_path,))
    killer.start()
    events = _make(study, tmp_path, make_dataset(train=800), ray=RayOptions())
    killer.join()
    assert [type(event) for event in events] == [RunStarts, RunEnds]
    assert_same_runs(expected, tmp_path)
    (record,) = read_records(tmp_path)
    assert isinstance(record, FinishedEncoderRun)
    assert record.resumptions >= 1


@pytest.mark.usefixtures("ray_cluster")  # as far as it is installed; the study starts another
def test_a_study_whose_process_is_killed_is_resumed_by_the_next(
    tmp_path: Path, undisturbed: tuple[StudySpec, Path]
) -> None:
    study, expected = undisturbed
    out = tmp_path / "out"

    def start() -> Forked:
        return Forked(
            make_study, study.model_dump_json(), out, 800, False, 1, RayOptions(cpus_per_run=1), folder=tmp_path
        )

    process = start()
    wait_for_a_run(process, out)
    process.kill()
    start().finish()
    assert_same_runs(expected, out)
    assert not list(out.glob("*/checkpoints"))


@pytest.mark.usefixtures("ray_cluster")
def test_two_studies_of_ray_make_each_run_once(tmp_path: Path, made_by_processes: tuple[StudySpec, Path]) -> None:
    import ray

    study, expected = made_by_processes
    out, options = tmp_path / "out", replace(ONE_CPU, address=ray.get_runtime_context().gcs_address)
    both = [Forked(make_study, study.model_dump_json(), out, 48, False, 1, options, folder=tmp_path) for _ in range(2)]
    lines = [line.split() for process in both for line in process.finish().splitlines()]
    assert_same_runs(expected, out)
    runs = sorted(path.parent.name for path in out.glob("*/record.json"))
    for run in runs:
        log = [json.loads(line) for line in (out / run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        assert sum(entry["event"] == "TrainingDone" for entry in log) <= 1, "a run was made twice"
    # Both end with the records of all runs.
    assert sorted(words[1] for words in lines if words[0] in ("made", "found")) == sorted(2 * runs)


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("sees_folder", [True, False])
def test_a_disk_that_is_full_or_can_only_be_read_stops_a_study_of_ray(
    small_disk: Path, undisturbed: tuple[StudySpec, Path], sees_folder: bool, request: pytest.FixtureRequest
) -> None:
    if not sees_folder:
        request.getfixturevalue("unshared")
    study, expected = undisturbed
    dataset = make_dataset(train=800)
    with pytest.raises(ProcessError, match=r"(?s)stopped, and the study with it: .*No space left on device"):
        _make(study, small_disk, dataset, ray=ONE_CPU)
    assert not list(small_disk.glob("*/record.json"))
    remount(small_disk, "ro")
    with pytest.raises(ProcessError, match=r"(?s)stopped, and the study with it: .*Read-only file system"):
        _make(study, small_disk, dataset, ray=ONE_CPU)
    remount(small_disk, "rw,size=64m")
    *_, ended = _make(study, small_disk, dataset, ray=ONE_CPU)
    assert isinstance(ended, RunEnds)
    assert_same_runs(expected, small_disk)


@pytest.mark.usefixtures("ray_cluster")
def test_asked_to_stop_all_runs_save_a_checkpoint(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms: list[dict[str, object]] = [{"method": "full"}, {"method": "lora"}, {"method": "head"}]
    study = _study(tiny_encoder, arms=arms, epochs=500, checkpoint_minutes=60)
    plan = plan_study(study, dataset=make_dataset(train=400), out=tmp_path)
    # There is room for two.
    clock = clock_that_jumps(lambda: len(list(tmp_path.glob("*/log.jsonl"))) == 2)
    monkeypatch.setattr("tanzaku.study.engines.ray.time", clock)
    deadline = time.monotonic() + 1800
    with pytest.raises(DeadlineOver):
        list(make_runs(plan.runs, dataset=plan.dataset, study=study.name, ray=RayOptions(), deadline=deadline))
    begun = {path.parent.name for path in tmp_path.glob("*/log.jsonl")}
    assert len(begun) == 2
    assert {path.parts[-3] for path in tmp_path.glob("*/checkpoints/step-*")} == begun


@pytest.mark.usefixtures("ray_cluster")
def test_what_no_machine_has_room_for_is_said_at_once(tmp_path: Path) -> None:
    study = _study(tmp_path, arms=[{"method": "tfidf-svm"}])
    with pytest.raises(ProcessError, match="no machine of the Ray cluster has room for 64 CPUs, 0 GPUs"):
        _make(study, tmp_path, make_dataset(), ray=RayOptions(cpus_per_run=64))


def test_an_encoder_is_placed_on_a_machine_that_does_not_have_it(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANZAKU_CACHE", str(tmp_path / "cache"))
    source = resolve_encoder(str(tiny_encoder))
    assert place_encoder(source, pack_encoder(source)) == source
    elsewhere = replace(source, folder=tmp_path / "not-here" / tiny_encoder.name)
    placed = place_encoder(elsewhere, pack_encoder(source))
    assert (placed.name, placed.folder.name) == (source.name, tiny_encoder.name)
    assert resolve_encoder(str(placed.folder)).fingerprint == source.fingerprint
    assert place_encoder(elsewhere, {}) == placed


def test_an_encoder_that_a_full_disk_has_no_space_for_is_an_error_with_a_path(
    small_disk: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANZAKU_CACHE", str(small_disk))
    source = resolve_encoder(str(tiny_encoder))
    elsewhere = replace(source, folder=small_disk / "not-here" / tiny_encoder.name)
    with pytest.raises(OSError, match="No space left on device") as caught:
        place_encoder(elsewhere, pack_encoder(source))
    assert caught.value.errno == errno.ENOSPC
    named = Path(caught.value.filename)
    assert (named.parent.parent, named.name) == (small_disk / "encoders", tiny_encoder.name)
    remount(small_disk, "size=64m")
    placed = place_encoder(elsewhere, pack_encoder(source))
    assert resolve_encoder(str(placed.folder)).fingerprint == source.fingerprint


@pytest.mark.usefixtures("ray_cluster")
def test_an_error_of_the_system_in_a_worker_is_reported_as_on_this_machine() -> None:
    import ray

    def fails(error: Exception) -> None:
        raise error

    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/cache/model.safetensors")
    ended = result_of(ray.remote(fails).remote(full), name="a run")
    assert isinstance(ended, Ended)
    assert ended.status == UNWRITABLE
    assert str(ended.complaint).startswith("/cache/model.safetensors: No space left on device; free some space")
    with pytest.raises(ProcessError, match=r"can't make a run: .*no such field.* needs the same versions of Python"):
        result_of(ray.remote(fails).remote(AttributeError("no such field")), name="a run")


def test_a_run_whose_worker_dies_again_and_again_is_given_up(tmp_path: Path) -> None:
    study = _study(tmp_path, arms=[{"method": "tfidf-svm"}])
    plan = plan_study(study, dataset=make_dataset(), out=tmp_path)
    (planned,), engine = plan.runs, RayEngine(RayOptions(), jobs=None, dataset=plan.dataset, study=study.name)
    # The workers are on machines that see the study's folder and on others, in turn.
    answers = [engine._answer(Begins(str(number), planned.run_id, number % 2 == 0), planned) for number in range(5)]
    assert answers == [*["make"] * 4, "over"]
    record = read_record(planned.folder)
    assert record.status == "failed"
    assert "its worker or its machine died 4 times" in str(record.model_dump()["error"])
    with FileLock(planned.folder / "lock", timeout=0):
        pass  # nobody holds it any more


def _trial(folder: Path) -> PlannedTrial:
    return PlannedTrial(spec=cast(Any, None), folder=folder, encoder=cast(Any, None))


def test_a_trial_whose_worker_dies_again_and_again_is_given_up(tmp_path: Path) -> None:
    made = _Round({"task": _trial(tmp_path)}, {}, board=None)
    answers = [made._answer(Begins(str(number), tmp_path.name, shared=True)) for number in range(5)]
    assert answers == [*["make"] * 4, "over"]
    result = read_result(tmp_path)
    assert result.status == "failed"
    assert "its worker or its machine died 4 times" in str(result.error)


@pytest.mark.usefixtures("ray_cluster")
def test_a_trial_asks_before_it_begins(tmp_path: Path) -> None:
    import ray

    (tmp_path / "mark").write_text("token", encoding="ascii")
    board, shared = Cluster.actor_here(Board), Shared("tiny", 1, False, tmp_path / "mark", "token")
    ray.get(board.stop.remote())
    ended = ray.get(ray.remote(make_on_worker).remote(_trial(tmp_path), make_dataset(), {}, shared, board))
    assert ended == Ended(INTERRUPTED, None)


@pytest.mark.usefixtures("ray_cluster")
def test_ctrl_c_is_not_lost_when_the_last_trial_has_just_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def ends_at_once() -> Ended:
        return Ended(FINISHED, None)

    def result_and_ctrl_c(task: Any, *, name: str) -> Any:
        ended = result_of(task, name=name)
        signal.raise_signal(signal.SIGINT)
        return ended

    monkeypatch.setattr("tanzaku.study.tune.on_ray.result_of", result_and_ctrl_c)
    task = ray.remote(ends_at_once).remote()
    with pytest.raises(StudyInterrupted):
        _Round({task: _trial(tmp_path)}, {}, Cluster.actor_here(Board)).attend()


@pytest.mark.usefixtures("ray_cluster")
def test_so_many_runs_have_room_on_a_cluster() -> None:
    assert [Making(jobs, ONE_CPU).at_once for jobs in (None, 1, 2, 3)] == [2, 1, 2, 2]
    assert Making(None, RayOptions(cpus_per_run=2)).at_once == 1
    assert Making(None, RayOptions(memory_per_run=10**15)).at_once == 1  # such a machine may come


@pytest.mark.usefixtures("ray_cluster")
def test_a_fit_trains_its_candidates_with_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    start = RayEngine.start

    def starts(engine: RayEngine, planned: PlannedRun) -> None:
        given.append(str(planned.folder.relative_to(tmp_path / "mine-study").parent))
        start(engine, planned)

    monkeypatch.setattr(RayEngine, "start", starts)
    arm = {"method": "tfidf-svm", "max_terms": 200}
    result = fit(
        write_inquiries(tmp_path / "inquiries.csv"),
        text="本文",
        label="分類",
        encoder=None,
        candidates=[arm, {**arm, "weight_bits": 8}],
        folds=2,
        margin=0.5,  # so that none drops out
        out=tmp_path / "mine",
        ray=ONE_CPU,
    )
    assert given[:5] == ["folds/1", "folds/1", "folds/2", "folds/2", "runs"]
    assert result.report.findings.folds == 2
    assert result.classifier.label_names


@pytest.mark.usefixtures("ray_cluster")
def test_a_search_makes_its_trials_with_ray(
    tmp_path: Path, tiny_masked_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    content = _study(tiny_masked_encoder, arms=[{"method": "lora", "rank": 2}]).model_dump(
        mode="json", exclude_unset=True
    )
    space = {"learning_rate": {"low": 1e-5, "high": 3e-2, "log": True}}
    content["tune"] = {"trials": 4, "startup_trials": 1, "unpruned_epochs": 1, "objective": "loss", "space": space}
    study = StudySpec.model_validate(content)
    monkeypatch.chdir(tmp_path)  # in which no worker of Ray is
    found = []
    for name, ray in (("here", None), ("there", ONE_CPU)):
        *_, ended = search(study, dataset=blind_dataset(), out=Path(name), jobs=2, ray=ray)
        assert isinstance(ended, SearchEnds)
        trials = ended.record.model_dump(mode="json")["trials"]
        found.append([(trial["settings"], trial["status"], trial["val_loss"], trial["best_epoch"]) for trial in trials])
    assert len(found[0]) == 4
    assert found[0] == found[1]
