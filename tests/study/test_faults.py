"""Disks that are full or can only be read, damaged files, a clock that is set: nothing is lost, and the message says
what is wrong."""

import json
import time
from datetime import datetime, timedelta, tzinfo
from itertools import count, cycle
from pathlib import Path
from typing import Any

import pytest
import torch

from tanzaku.errors import ProcessError, RecordError
from tanzaku.study.engine import RunEnds, make_runs
from tanzaku.study.plan import Plan, plan_study
from tanzaku.study.planned import PlannedEncoderRun
from tanzaku.study.process import StudyInterrupted
from tanzaku.study.progress import LogFile
from tanzaku.study.record import LOG_FILE
from tanzaku.study.run import run_encoder
from tanzaku.study.running import run_study
from tanzaku.study.runs import read_records
from tanzaku.study.spec import StudySpec
from tanzaku.study.states import progress_of
from tanzaku.training.events import Interrupted
from tests.study.compared import assert_same_runs, remount
from tests.tiny import make_dataset

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("faults")]


def _plan(encoder: Path, out: Path) -> Plan:
    content = {
        "name": "tiny",
        "data": {"source": "made by the test"},
        "encoder": {"name": str(encoder), "max_tokens": 24},
        "training": {"epochs": 4, "learning_rate": 5e-3, "checkpoint_minutes": 0.002},
        "arms": [{"method": "full"}],
    }
    return plan_study(StudySpec.model_validate(content), dataset=make_dataset(train=400), out=out)


def _make(plan: Plan, **options: Any) -> RunEnds:
    *_, ended = make_runs(plan.runs, dataset=plan.dataset, study="tiny", **options)
    assert isinstance(ended, RunEnds)
    return ended


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny_masked_encoder: Path) -> Path:
    """A study of one run, with one thread."""
    out = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        _make(_plan(tiny_masked_encoder, out))
    return out


@pytest.fixture(params=[1, 2], ids=["inline", "processes"])
def jobs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many runs are made at the same time, with one thread each."""
    monkeypatch.setenv("OMP_NUM_THREADS", str(request.param))
    return int(request.param)


def test_a_full_disk_stops_the_study_until_there_is_space(
    small_disk: Path, tiny_masked_encoder: Path, undisturbed: Path, jobs: int
) -> None:
    plan = _plan(tiny_masked_encoder, small_disk)
    with pytest.raises(ProcessError, match=r"(?s)stopped, and the study with it: .*No space left on device"):
        _make(plan, jobs=jobs)
    assert not list(small_disk.glob("*/record.json"))
    remount(small_disk, "size=64m")
    assert _make(plan, jobs=jobs).record.status == "finished"
    assert_same_runs(undisturbed, small_disk)


def test_a_folder_that_can_only_be_read_stops_the_study_until_it_can_be_written(
    small_disk: Path, tiny_masked_encoder: Path, undisturbed: Path, jobs: int
) -> None:
    plan = _plan(tiny_masked_encoder, small_disk)
    remount(small_disk, "ro")
    with pytest.raises(ProcessError, match=r"(?s)stopped, and the study with it: .*Read-only file system"):
        _make(plan, jobs=jobs)
    assert not list(small_disk.iterdir())
    study = {"name": "s", "data": {"source": "sample"}, "arms": [{"method": "tfidf-svm"}]}
    with pytest.raises(OSError, match="this folder can't be written"):
        run_study(study, out=small_disk / "other")
    remount(small_disk, "rw,size=64m")
    assert _make(plan, jobs=jobs).record.status == "finished"
    assert_same_runs(undisturbed, small_disk)


def test_a_disk_that_becomes_read_only_loses_no_run_that_has_ended(small_disk: Path, tmp_path: Path) -> None:
    content = {
        "name": "tiny",
        "data": {"source": "made by the test"},
        "arms": [{"method": "tfidf-svm", "penalty": [1.0, 2.0]}],
    }
    study, dataset = StudySpec.model_validate(content), make_dataset()
    whole = plan_study(study, dataset=dataset, out=tmp_path / "whole")
    list(make_runs(whole.runs, dataset=dataset, study="tiny"))
    remount(small_disk, "size=64m")
    plan = plan_study(study, dataset=dataset, out=small_disk)
    events = make_runs(plan.runs, dataset=dataset, study="tiny")
    first = next(event for event in events if isinstance(event, RunEnds))
    remount(small_disk, "ro")
    with pytest.raises(ProcessError, match=r"Read-only file system.* What has ended is safe"):
        list(events)
    assert read_records(small_disk) == [first.record]
    remount(small_disk, "rw")
    again = [event for event in make_runs(plan.runs, dataset=dataset, study="tiny") if isinstance(event, RunEnds)]
    assert [event.found for event in again] == [True, False]
    assert_same_runs(tmp_path / "whole", small_disk)


def test_a_clock_that_is_set_changes_no_result_and_no_duration(
    tmp_path: Path, tiny_masked_encoder: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    days = cycle([0, 2, -3, 40])
    real = time.time

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Jumping":
            return cls.fromtimestamp(time.time(), tz)

    monkeypatch.setattr(time, "time", lambda: real() + 86400 * next(days))
    monkeypatch.setattr("tanzaku.provenance.datetime", Jumping)
    plan = _plan(tiny_masked_encoder, tmp_path)
    (planned,) = plan.runs
    assert isinstance(planned, PlannedEncoderRun)
    polls = count(1)
    log = LogFile(planned.folder / LOG_FILE)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with pytest.raises(Interrupted):
            run_encoder(
                planned, dataset=plan.dataset, study="tiny", listeners=(log,), should_stop=lambda: next(polls) == 60
            )
        progress = progress_of(planned.folder)
        record = run_encoder(planned, dataset=plan.dataset, study="tiny", listeners=(log,))
    finally:
        log.close()
        torch.set_num_threads(threads)
    assert progress is not None
    assert progress.seconds_left is not None
    assert 0 < progress.seconds_left < 3600
    assert_same_runs(undisturbed, tmp_path)
    took = datetime.fromisoformat(record.ended) - datetime.fromisoformat(record.started)
    assert timedelta(0) <= took < timedelta(hours=1)
    times = [json.loads(line)["time"] for line in (planned.folder / LOG_FILE).read_text(encoding="utf-8").splitlines()]
    assert times == sorted(times)
    assert times[-1] - times[0] < 3600


def test_a_clock_that_is_set_ends_no_study_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_study(
        StudySpec.model_validate({"name": "s", "data": {"source": "x"}, "arms": [{"method": "tfidf-svm"}]}),
        dataset=make_dataset(),
        out=tmp_path,
    )
    deadline = time.monotonic() + 600
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 86400)
    assert _make(plan, deadline=deadline).record.status == "finished"


@pytest.mark.parametrize("damage", ["bit", "end"])
def test_a_run_with_a_damaged_checkpoint_resumes_from_the_one_before(
    tmp_path: Path, tiny_masked_encoder: Path, undisturbed: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    plan = _plan(tiny_masked_encoder, tmp_path)
    tensors = _tensors_of_an_interrupted_run(plan, tmp_path)
    content = bytearray(tensors.read_bytes())
    if damage == "bit":
        content[len(content) // 2] ^= 1
    else:
        del content[-100:]
    tensors.write_bytes(content)
    assert _make(plan).record.status == "finished"
    assert_same_runs(undisturbed, tmp_path)
    events = [json.loads(line) for line in (plan.runs[0].folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    (passed_over,) = (event for event in events if event["event"] == "CheckpointPassedOver")
    assert tensors.parent.name in passed_over["message"]
    (resumed,) = (event for event in events if event["event"] == "Resumed")
    assert 0 < resumed["step"] < int(tensors.parent.name.removeprefix("step-"))


def _tensors_of_an_interrupted_run(plan: Plan, out: Path) -> Path:
    """Interrupt a run that has two checkpoints, and give the file of the newer one.

    Each interruption leaves a checkpoint, from which the next try continues.
    """
    seconds = 0.5
    while len(saved := sorted(out.glob("*/checkpoints/step-*"))) < 2:
        with pytest.raises(StudyInterrupted):
            _make(plan, deadline=time.monotonic() + seconds)
        seconds += 0.25
    for path in out.glob("*/log.jsonl"):
        path.unlink()  # it tells of the tries
    return saved[-1] / "tensors.safetensors"


@pytest.mark.parametrize("damage", ["bit", "end"])
def test_a_damaged_record_is_named_and_not_made_again(
    tmp_path: Path, tiny_masked_encoder: Path, undisturbed: Path, damage: str, jobs: int
) -> None:
    plan = _plan(tiny_masked_encoder, tmp_path)
    (record,) = undisturbed.glob("*/record.json")
    content = bytearray(record.read_bytes())
    if damage == "bit":
        content[content.index(b'"train_loss": ') + len('"train_loss": 0.1')] ^= 1  # another digit
    else:
        del content[-20:]
    broken = plan.runs[0].folder / "record.json"
    broken.parent.mkdir()
    broken.write_bytes(content)
    with pytest.raises(RecordError, match=r"record\.json is damaged .*; remove its folder to make the run again"):
        _make(plan, jobs=jobs)
    assert broken.read_bytes() == content
