"""Studies as a whole: killed and resumed, run twice at once, with runs that fail."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from scipy.special import softmax

from tanzaku.data.dataset import Dataset
from tanzaku.encoders.cache import tokens_folder
from tanzaku.errors import EncoderError, SpecError, TanzakuWarning
from tanzaku.report.write import write_report
from tanzaku.study.engine import RunBusy, RunEnds, RunStarts, make_runs
from tanzaku.study.plan import plan_study
from tanzaku.study.planned import PlannedRun
from tanzaku.study.predictions import read_predictions
from tanzaku.study.process import DeadlineOver, Ended, StartedChild
from tanzaku.study.record import FailedRun, FinishedEncoderRun, RunRecord, read_record
from tanzaku.study.runs import read_records
from tanzaku.study.spec import StudySpec
from tests.forked import Forked
from tests.study.compared import assert_same_runs, clock_that_jumps, training_process, wait_for_a_lock, wait_for_a_run
from tests.study.made import make_study
from tests.tiny import make_dataset, make_encoder

ROOT = Path(__file__).parents[2]
KILLS = 5  # of each engine: 10 in all


# Nothing counts as an improvement: the rate is reduced after every epoch from the second on.
_FULL_ON_A_PLATEAU = {"method": "full", "schedule": "plateau", "plateau_patience": 0, "threshold": 1e9}


def _study(encoder: Path, **changes: object) -> StudySpec:
    content: dict[str, object] = {
        "name": "tiny",
        "data": {"source": "made by the test"},
        "encoder": {"name": str(encoder), "max_tokens": 24},
        "training": {"epochs": 3, "learning_rate": 5e-3, "checkpoint_minutes": 0.002},
        "arms": [{"method": "tfidf-svm"}, {"method": "head"}, {"method": "lora", "rank": 2}, {"method": "full"}],
    }
    return StudySpec.model_validate(content | changes)


def test_a_data_set_from_python_is_read_as_an_imported_one(tmp_path: Path) -> None:
    clean = make_dataset(train=12)
    odd = replace(clean, train=replace(clean.train, texts=tuple(f"\ufeff{text}" for text in clean.train.texts)))
    study = _study(tmp_path, arms=[{"method": "tfidf-svm"}])

    def records() -> list[RunRecord]:
        plan = plan_study(study, dataset=odd, out=tmp_path / "runs")
        assert plan.dataset == clean
        events = make_runs(plan.runs, dataset=odd, study=study.name)
        return [event.record for event in events if isinstance(event, RunEnds)]

    with pytest.warns(TanzakuWarning, match="12 of .* texts hold control or invisible characters"):
        (record,) = records()
    assert record.status == "finished"
    assert record.data.fingerprint == clean.fingerprint


def test_what_belongs_to_a_new_head_is_no_target_of_an_arm(tmp_path: Path, tiny_masked_encoder: Path) -> None:
    study = _study(tiny_masked_encoder, arms=[{"method": "lora", "pooler": True}])
    with pytest.raises(SpecError, match=r"do not go together: .*pooler"):
        plan_study(study, dataset=make_dataset(train=12), out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_pooler_that_pretraining_leaves_out_is_missed_before_it(tmp_path: Path, tiny_encoder: Path) -> None:
    study = _study(tiny_encoder, arms=[{"method": "lora", "pooler": True, "pretrain": {"steps": 2}}])
    with pytest.raises(SpecError, match=r"do not go together: .*pooler"):
        plan_study(study, dataset=make_dataset(train=12), out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_whether_a_target_is_there_does_not_depend_on_the_other_arms(tmp_path: Path) -> None:
    encoder = make_encoder(tmp_path / "encoder", pooler=True)
    arms: list[dict[str, object]] = [
        {"method": "lora", "pooling": "mean"},
        {"method": "lora", "pooling": "cls", "long_text": "windows", "pooler": True},
    ]
    for order in (arms, arms[::-1]):
        plan = plan_study(_study(encoder, arms=order), dataset=make_dataset(train=12), out=tmp_path / "runs")
        assert len(plan.runs) == 2


def _start(
    tmp_path: Path, study: StudySpec, out: Path, *, train: int = 48, retry_failed: bool = False, jobs: int = 1
) -> Forked:
    return Forked(make_study, study.model_dump_json(), out, train, retry_failed, jobs, folder=tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("jobs", [1, 2], ids=["inline", "processes"])
def test_a_study_killed_again_and_again_ends_as_an_undisturbed_one(
    tmp_path: Path, tiny_masked_encoder: Path, jobs: int
) -> None:
    study = _study(
        tiny_masked_encoder, arms=[{"method": "tfidf-svm"}, {"method": "lora", "rank": 2}, _FULL_ON_A_PLATEAU]
    )
    _make(study, tmp_path / "undisturbed", make_dataset(train=400), jobs=jobs)
    kills, studies, resumptions, moments = 0, 0, 0, random.Random(0)
    # On a fast machine a study ends before it was killed so often: then another is killed as well.
    while kills < KILLS:
        out = tmp_path / f"killed-{studies}"
        kills += _kill_until_it_ends(tmp_path, study, out, jobs=jobs, moments=moments, most=KILLS - kills)
        studies += 1
        assert_same_runs(tmp_path / "undisturbed", out)
        resumptions += sum(record.resumptions for record in read_records(out))
    assert resumptions > 0, "no kill hit a training"


def _kill_until_it_ends(
    tmp_path: Path, study: StudySpec, out: Path, *, jobs: int, moments: random.Random, most: int
) -> int:
    """Kill a study at random moments, at most so often, and let it end; how often it was killed."""
    for kills in range(most):
        process = _start(tmp_path, study, out, train=400, jobs=jobs)
        wait_for_a_run(process, out)
        time.sleep(moments.uniform(0, 1.2))
        if process.poll() is not None:
            process.finish()
            return kills
        # Only the study's own process: its children must see that it is gone and end themselves.
        process.kill()
    _start(tmp_path, study, out, train=400, jobs=jobs).finish()
    return most


def _make(study: StudySpec, out: Path, dataset: Dataset, **options: Any) -> list[RunStarts | RunEnds | RunBusy]:
    plan = plan_study(study, dataset=dataset, out=out)
    return list(make_runs(plan.runs, dataset=dataset, study=study.name, **options))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_records_hold_what_reports_need_and_finished_runs_are_not_made_again(
    tmp_path: Path, tiny_masked_encoder: Path
) -> None:
    study, dataset = _study(tiny_masked_encoder), make_dataset()
    events = _make(study, tmp_path, dataset)
    records = {event.record.method: event.record for event in events if isinstance(event, RunEnds)}
    assert list(records) == ["tfidf-svm", "head", "lora", "full"]
    for method, record in records.items():
        assert record.status == "finished"
        classes, predicted, probabilities, _ = read_predictions(tmp_path / record.run_id)
        assert record.test.accuracy == np.mean(np.array(classes) == np.array(predicted))
        assert [dataset.label_names[index] for index in classes] == list(dataset.test.labels)
        assert record.calibration is not None
        assert record.calibration.documents == len(dataset.val)
        logits = np.load(tmp_path / record.run_id / "test-logits.npy")
        expected = softmax(logits / record.calibration.temperature, axis=1).max(axis=1)
        np.testing.assert_allclose(np.array(probabilities) + 0.5e-4, expected, rtol=0, atol=0.6e-4)
        classes, predicted, probabilities, _ = read_predictions(tmp_path / record.run_id, name="val-predictions.csv")
        assert record.val.accuracy == np.mean(np.array(classes) == np.array(predicted))
        assert [dataset.label_names[index] for index in classes] == list(dataset.val.labels)
        assert probabilities is not None
        assert len(probabilities) == len(dataset.val)
        saved = sum(path.stat().st_size for path in (tmp_path / record.run_id / "model").rglob("*"))
        assert record.costs.saved_bytes == saved
        assert record.costs.peak_memory_bytes is not None
        assert record.costs.train_seconds_with_evaluation >= record.costs.train_seconds > 0
        assert not (tmp_path / record.run_id / "checkpoints").exists()
        if method == "tfidf-svm":
            continue
        assert isinstance(record, FinishedEncoderRun)
        assert record.encoder.head == ("bert.pooler", "classifier")
        assert [epoch.epoch for epoch in record.history] == [1, 2, 3]
        best = min(record.history, key=lambda epoch: epoch.val_loss)
        assert record.best_epoch == best.epoch
        assert record.val.accuracy == pytest.approx(best.val_accuracy)
    assert records["lora"].method_details == {"scale": 1.0}
    again = _make(study, tmp_path, dataset)
    assert all(isinstance(event, RunEnds) and event.found for event in again)
    assert [event.record for event in again if isinstance(event, RunEnds)] == list(records.values())


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("no_figures")
def test_arms_that_read_documents_otherwise_run_and_are_told_apart(
    tmp_path: Path, tiny_masked_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANZAKU_CACHE", str(tmp_path / "cache"))
    arms = [
        {"method": "tfidf-svm"},
        {
            "method": "lora",
            "rank": 2,
            "pooling": ["cls", "mean+max"],
            "long_text": ["head", "windows"],
            "max_tokens": 12,
        },
        {"method": "head", "long_text": "head+tail", "max_tokens": 10},
    ]
    training = {"epochs": 1, "learning_rate": 5e-3}
    study, dataset = _study(tiny_masked_encoder, arms=arms, training=training), make_dataset(train=16)
    plan = plan_study(study, dataset=dataset, out=tmp_path / "out")
    # Three splits, truncated for "head" at 12 tokens, and whole for all else.
    assert len([path for path in tokens_folder().iterdir() if path.is_dir()]) == 6
    events = _make(study, tmp_path / "out", dataset)
    records = [event.record for event in events if isinstance(event, RunEnds)]
    assert [record.status for record in records] == ["finished"] * 6
    names = [re.sub(r"(-s42)?-[0-9a-f]{10}$", "", record.run_id) for record in records]
    assert (
        names
        == [re.sub(r"(-s42)?-[0-9a-f]{10}$", "", run.run_id) for run in plan.runs]
        == [
            "tfidf-svm",
            "lora-cls-head",
            "lora-cls-windows",
            "lora-mean+max-head",
            "lora-mean+max-windows",
            "head",
        ]
    )
    heads = {record.run_id: record.encoder.head for record in records if isinstance(record, FinishedEncoderRun)}
    assert {name for name, head in heads.items() if head == ("classifier",)} == {
        name for name in heads if "mean" in name
    }
    report = write_report(tmp_path / "out", tmp_path / "report")
    assert len(report.sections) == 1
    assert len({arm.name for arm in report.sections[0].arms}) == 6


def test_what_an_encoder_can_not_read_is_found_before_anything_runs(tmp_path: Path, tiny_encoder: Path) -> None:
    arms = [{"method": "head"}, {"method": "head", "long_text": "windows", "max_tokens": [32, 65]}]
    with pytest.raises(EncoderError, match="max_tokens = 65 is more than the encoder's 64 positions"):
        plan_study(_study(tiny_encoder, arms=arms), dataset=make_dataset(train=6), out=tmp_path)


def test_a_run_keeps_the_folder_that_has_its_identity(tmp_path: Path, tiny_encoder: Path) -> None:
    study, dataset = _study(tiny_encoder, arms=[{"method": "head"}]), make_dataset(train=6)
    (planned,) = plan_study(study, dataset=dataset, out=tmp_path).runs
    assert planned.run_id.startswith("head-s42-")
    planned.folder.mkdir()
    study = _study(tiny_encoder, arms=[{"method": "head", "learning_rate": [5e-3, 1e-3]}])
    again, other = plan_study(study, dataset=dataset, out=tmp_path).runs
    assert again.folder == planned.folder
    assert other.run_id.startswith("head-lr1e-3-s42-")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_failed_run_is_kept_and_the_others_go_on(tmp_path: Path, tiny_encoder: Path) -> None:
    arms = [{"method": "full", "learning_rate": 1e30}, {"method": "tfidf-svm"}]
    study, dataset = _study(tiny_encoder, arms=arms), make_dataset()
    failed, finished = (event.record for event in _make(study, tmp_path, dataset) if isinstance(event, RunEnds))
    assert isinstance(failed, FailedRun)
    assert "smaller learning rate" in failed.error
    assert finished.status == "finished"
    again = _make(study, tmp_path, dataset)
    assert [event.found for event in again if isinstance(event, RunEnds)] == [True, True]
    retried = _make(study, tmp_path, dataset, retry_failed=True)
    assert [event.found for event in retried if isinstance(event, RunEnds)] == [False, True]


def test_a_process_that_dies_after_its_record_does_not_undo_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = _study(tmp_path, arms=[{"method": "tfidf-svm"}])

    class DiesLate(StartedChild):
        def join(self) -> Ended:
            super().join()
            return Ended(-signal.SIGSEGV, None)

    monkeypatch.setattr("tanzaku.study.engines.processes.StartedChild", DiesLate)
    *_, ended = _make(study, tmp_path / "out", make_dataset(train=48))
    assert isinstance(ended, RunEnds)
    assert ended.record.status == "finished"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_whose_process_is_killed_is_recorded_as_failed(tmp_path: Path, tiny_encoder: Path) -> None:
    study, out = _study(tiny_encoder, arms=[{"method": "full"}, {"method": "tfidf-svm"}]), tmp_path / "out"
    process = _start(tmp_path, study, out, train=400)
    wait_for_a_run(process, out)
    os.kill(training_process(out), signal.SIGKILL)
    assert [line.split()[2] for line in process.finish().splitlines()] == ["failed", "finished"]
    (record,) = (record for record in read_records(out) if record.status == "failed")
    assert record.error is not None
    assert "SIGKILL" in record.error
    # The retry goes on from the checkpoint.
    lines = _start(tmp_path, study, out, train=400, retry_failed=True).finish().splitlines()
    assert [line.split()[::2] for line in lines] == [["made", "finished"], ["found", "finished"]]
    assert read_record(out / record.run_id).status == "finished"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_on_one_study_make_each_run_once(tmp_path: Path, tiny_encoder: Path) -> None:
    study, out = _study(tiny_encoder), tmp_path / "out"
    # One after the other, and two at the same time.
    processes = [_start(tmp_path, study, out, train=300, jobs=jobs) for jobs in (1, 2)]
    lines = [line.split() for process in processes for line in process.finish().splitlines()]
    made = sorted(words[1] for words in lines if words[0] == "made")
    runs = sorted(path.parent.name for path in out.glob("*/record.json"))
    assert len(runs) == 4
    for run in runs:
        starts = [json.loads(line) for line in (out / run / "log.jsonl").read_text().splitlines()]
        ended = [entry for entry in starts if entry["event"] == "TrainingDone"]
        assert len(ended) == (0 if run.startswith("tfidf") else 1), "a run was made twice"
    assert set(made) == set(runs)
    # Both processes end with the records of all runs.
    assert len([words for words in lines if words[0] in ("made", "found")]) == 8


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_asked_to_stop_it_saves_and_the_same_command_goes_on(tmp_path: Path, tiny_masked_encoder: Path) -> None:
    study = _study(
        tiny_masked_encoder,
        arms=[{"method": "full"}],
        training={"epochs": 3, "learning_rate": 5e-3, "checkpoint_minutes": 60},
    )
    out = tmp_path / "stopped"
    _make(study, tmp_path / "undisturbed", make_dataset(train=400))

    run_asked = _start(tmp_path, study, out, train=400)
    wait_for_a_run(run_asked, out)
    os.kill(training_process(out), signal.SIGTERM)
    run_asked.finish(status=1)
    first = _assert_stopped(out, run_asked.errors)

    # All at once, as a service manager does, or a cluster's scheduler: with the server that the runs are forked from.
    all_asked = _start_in_a_group(study, out)
    wait_for_a_run(all_asked, out)
    os.killpg(all_asked.pid, signal.SIGTERM)
    assert _assert_stopped(out, all_asked.communicate(timeout=900)[1]) > first

    _start(tmp_path, study, out, train=400).finish()
    assert_same_runs(tmp_path / "undisturbed", out)


@pytest.mark.timeout(300)
def test_asked_to_stop_a_run_without_an_encoder_ends_at_once(tmp_path: Path, tiny_encoder: Path) -> None:
    """It has no checkpoint to save. The signal goes to the study, which passes it on, or to the process of the run."""
    arm = {"method": "tfidf-svm", "analyzer": "character", "longest_ngram": 5}
    study = _study(tiny_encoder, arms=[arm])
    for name in ("the study", "the run"):
        process = _start(tmp_path, study, out := tmp_path / name, train=8_000)
        wait_for_a_lock(process, out)
        assert process.poll() is None, process.errors
        os.kill(process.pid if name == "the study" else training_process(out), signal.SIGTERM)
        process.finish(status=1)
        assert "StudyInterrupted" in process.errors
        assert not list(out.glob("*/record.json"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_jobs_are_made_at_the_same_time_and_share_the_threads(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    arms = [{"method": "full", "learning_rate": 1e30}, {"method": "head"}, {"method": "full"}, {"method": "lora"}]
    events = _make(_study(tiny_encoder, arms=arms), tmp_path, make_dataset(train=400), jobs=2)
    # Two runs are made at the same time, and a third starts when one of them has ended, here with a failure.
    assert [type(event) for event in events[:4]] == [RunStarts, RunStarts, RunEnds, RunStarts]
    records = {event.run.run_id: event.record for event in events if isinstance(event, RunEnds)}
    assert sorted(record.status for record in records.values()) == ["failed", "finished", "finished", "finished"]
    finished = [record for record in records.values() if record.status == "finished"]
    assert {record.environment.threads for record in finished} == {1}


def test_a_run_is_asked_for_when_its_turn_comes_and_left_out_if_it_is_refused(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    study = _study(tiny_encoder, arms=[{"method": "tfidf-svm", "penalty": [0.5, 1.0, 5.0]}])
    plan = plan_study(study, dataset=make_dataset(), out=tmp_path)
    ended: list[str] = []
    asked: list[tuple[str, int]] = []

    def begins(run: PlannedRun) -> bool:
        asked.append((run.run_id, len(ended)))
        return run is not plan.runs[1]

    for event in make_runs(plan.runs, dataset=plan.dataset, study=study.name, begins=begins):
        if isinstance(event, RunEnds):
            ended.append(event.run.run_id)
    first, second, third = (run.run_id for run in plan.runs)
    assert ended == [first, third]
    assert asked == [(first, 0), (second, 1), (third, 1)]
    assert not plan.runs[1].folder.exists()
    _make(study, tmp_path, make_dataset(), begins=lambda run: asked.append((run.run_id, 0)))
    assert asked[3:] == [(second, 0)]  # those that have a record are not begun


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_jobs_save_a_checkpoint_when_the_study_is_asked_to_stop(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _study(
        tiny_encoder,
        arms=[{"method": "full"}, {"method": "lora"}],
        training={"epochs": 500, "learning_rate": 5e-3, "checkpoint_minutes": 60},
    )
    plan = plan_study(study, dataset=make_dataset(train=400), out=tmp_path)
    monkeypatch.setattr("tanzaku.study.process._LONGEST_WAIT", 0.1)
    clock = clock_that_jumps(lambda: len(list(tmp_path.glob("*/log.jsonl"))) == 2)
    monkeypatch.setattr("tanzaku.study.process.time", clock)
    deadline = time.monotonic() + 1800
    with pytest.raises(DeadlineOver):
        list(make_runs(plan.runs, dataset=plan.dataset, study=study.name, jobs=2, deadline=deadline))
    assert {path.parts[-3] for path in tmp_path.glob("*/checkpoints/step-*")} == {run.run_id for run in plan.runs}


def _start_in_a_group(study: StudySpec, out: Path) -> subprocess.Popen[str]:
    """A study in a new interpreter, which starts a server of its own; both are in one process group."""
    script = (
        "import pathlib, sys\nfrom tests.study.made import make_study\n"
        "make_study(sys.argv[1], pathlib.Path(sys.argv[2]), 400)"
    )
    # Both this checkout's package and its tests.
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", script, study.model_dump_json(), str(out)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)


def _assert_stopped(out: Path, errors: str) -> int:
    """The study says that it was interrupted; the step that it has saved."""
    assert "StudyInterrupted" in errors
    assert not list(out.glob("*/record.json"))
    return max(int(checkpoint.name.removeprefix("step-")) for checkpoint in out.glob("*/checkpoints/step-*"))


def test_a_run_that_another_process_left_starts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever shows or tracks the runs hears of it, as of every run that starts, and of nothing while it waits."""
    content = {"name": "s", "data": {"source": "sample"}, "arms": [{"method": "tfidf-svm"}]}
    plan = plan_study(StudySpec.model_validate(content), dataset=make_dataset(), out=tmp_path)
    (planned,) = plan.runs
    planned.folder.mkdir()
    heard: list[type] = []
    other = FileLock(planned.folder / "lock")
    polls = iter([False, False, True])

    def wait(_: float) -> None:
        if next(polls):
            other.release()

    monkeypatch.setattr("tanzaku.study.engine.time", SimpleNamespace(sleep=wait))
    with other:
        heard += [type(event) for event in make_runs(plan.runs, dataset=plan.dataset, study="s")]
    assert heard == [RunStarts, RunBusy, RunStarts, RunEnds]
    monkeypatch.undo()
    (planned.folder / "record.json").unlink()
    waiting = make_runs(plan.runs, dataset=plan.dataset, study="s", deadline=time.monotonic() + 5)
    with FileLock(planned.folder / "lock"), pytest.raises(DeadlineOver):
        list(waiting)
