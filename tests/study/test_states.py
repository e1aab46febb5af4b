"""Which runs are a study's, how far they are, and what a report counts of a folder."""

import json
import shutil
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from tanzaku.errors import RecordError, TanzakuWarning
from tanzaku.report.write import write_report
from tanzaku.ship.choosing import choose_run
from tanzaku.study import states
from tanzaku.study.folders import folders_below
from tanzaku.study.listing import (
    STUDY_FILE,
    ListedRun,
    StudyList,
    read_list,
    unfinished_below,
    write_list,
)
from tanzaku.study.making import conclude
from tanzaku.study.plan import plan_study
from tanzaku.study.process import Ended
from tanzaku.study.record import FailedRun, FinishedRun, RunRecord, read_record, write_record
from tanzaku.study.runs import read_records, record_folders, stored_runs
from tanzaku.study.spec import StudySpec
from tanzaku.study.states import (
    Progress,
    arm_of,
    natural_key,
    progress_of,
    run_states,
    seconds_left,
    study_seconds_left,
)
from tests.report.page.trees import Tree
from tests.report.records import baseline, failed, finished, lora
from tests.tiny import make_dataset

_TEXTS = ("report.html", "report.md")


def _listed(*names: str, overrides: tuple[str, ...] = ()) -> StudyList:
    runs = tuple(ListedRun(name=name, method=name.split("-")[0], kind="encoder") for name in names)
    return StudyList(study="s", overrides=overrides, file={"name": "s"}, runs=runs)


def _named(name: str, *, minutes: int = 1, record: RunRecord | None = None) -> RunRecord:
    return (record or finished(lora(2), accuracy=0.9)).model_copy(
        update={"run_id": name, "started": "2026-01-01T00:00:00+00:00", "ended": f"2026-01-01T00:{minutes:02}:00+00:00"}
    )


def test_a_trial_with_overrides_does_not_replace_the_study_but_all_else_does(tmp_path: Path) -> None:
    assert read_list(tmp_path) is None
    trial, whole = _listed("lora-r2", overrides=("training.epochs=1",)), _listed("lora-r2", "lora-r4")
    assert write_list(tmp_path, trial) == trial
    assert write_list(tmp_path, whole) == read_list(tmp_path) == whole
    assert write_list(tmp_path, trial) == read_list(tmp_path) == whole
    other = whole.model_copy(update={"study": "other", "overrides": ("x=1",)})
    with pytest.warns(TanzakuWarning, match="had the runs of the study 's'. From now on it is the folder of 'other'"):
        assert write_list(tmp_path, other) == other
    assert read_list(tmp_path) == other


@pytest.mark.parametrize("content", ["", "[]", '{"version": 2}'])
def test_a_damaged_list_is_an_error_that_names_it(tmp_path: Path, content: str) -> None:
    (tmp_path / STUDY_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(RecordError, match=r"study\.json can't be read as the list of a study's runs"):
        read_list(tmp_path)
    whole = _listed("lora-r2")
    assert write_list(tmp_path, whole) == read_list(tmp_path) == whole  # as the message says


@pytest.mark.usefixtures("no_figures")
def test_records_of_other_settings_are_left_out_by_report_and_pack(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name, accuracy in (("lora-r2", 0.8), ("trial", 0.9)):
        write_record(_named(name, record=finished(lora(2), accuracy=accuracy)), runs / name)
    archived = tmp_path / "archived"
    write_record(_named("old"), archived / "old")
    assert choose_run(runs).folder == runs / "trial"
    write_list(runs, _listed("lora-r2", "lora-r4"))
    assert [run.folder for run in stored_runs(runs)] == [runs / "lora-r2"]
    with pytest.warns(TanzakuWarning, match=r"1 of 2 runs in .* have not ended"):
        assert choose_run(runs).folder == runs / "lora-r2"
    assert [record.run_id for record in read_records(tmp_path)] == ["old", "lora-r2"]
    write_list(runs, _listed("lora-r4"))
    with pytest.raises(RecordError, match=r"has 2 runs that ended, but none of the study as its file is now; --all"):
        read_records(runs)
    write_list(runs, _listed("lora-r2", "lora-r4"))
    assert record_folders(runs, every=True) == [runs / "lora-r2", runs / "trial"]
    report = write_report(runs, tmp_path / "report")
    assert [record.run_id for record in report.records] == ["lora-r2"]
    assert report.left_out == (runs / "trial",)
    left_out = "1 run in this folder is not in the study file and is left out."
    assert all(left_out in (tmp_path / "report" / name).read_text(encoding="utf-8") for name in _TEXTS)
    every = write_report(runs, tmp_path / "report", every=True)
    assert ([record.run_id for record in every.records], every.left_out) == (["lora-r2", "trial"], ())
    page, document = ((tmp_path / "report" / name).read_text(encoding="utf-8") for name in _TEXTS)
    assert "is left out" not in page + document
    assert "--language en --all" in Tree(page).words


def test_every_state_of_a_run_is_told_from_the_others(tmp_path: Path) -> None:
    names = ("done", "broken", "runs", "stopped", "todo")
    write_list(tmp_path, _listed(*names))
    write_record(_named("done"), tmp_path / "done")
    write_record(failed(lora(2), error="no memory", run_id="broken"), tmp_path / "broken")
    for name in ("runs", "stopped", "other-r10", "other-r2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.jsonl").write_text(
            '{"event": "StepDone", "epoch": 1, "step": 5, "total_steps": 1200}\n'
            '{"event": "StepDone", "epoch": 2, "step": 900, "total_steps": 1200}\n{"event": "EpochDone", "ep',
            encoding="utf-8",
        )
    with FileLock(tmp_path / "runs" / "lock"):
        states = run_states(tmp_path)
    assert [(state.name, state.state) for state in states if state.listed] == [
        ("done", "finished"),
        ("broken", "failed"),
        ("runs", "running"),
        ("stopped", "interrupted"),
        ("todo", "waiting"),
    ]
    assert str(states[2].progress) == "epoch 2, step 900 of 1,200"
    assert [state.name for state in states if not state.listed] == ["other-r2", "other-r10"]
    (tmp_path / STUDY_FILE).unlink()
    assert all(state.listed for state in run_states(tmp_path))


def test_a_lock_that_cannot_be_opened_is_not_held(tmp_path: Path) -> None:
    run = tmp_path / "lora-r2"
    run.mkdir()
    (run / "log.jsonl").touch()
    (tmp_path / "elsewhere").touch()
    (run / "lock").symlink_to(tmp_path / "elsewhere")  # filelock opens no links
    assert [state.state for state in run_states(tmp_path)] == ["interrupted"]
    # Whoever may not write it, such as a colleague, sees all the same whether it is held.
    with FileLock(tmp_path / "elsewhere"):
        assert [state.state for state in run_states(tmp_path)] == ["running"]


def test_who_looks_at_a_run_does_not_take_another_who_looks_for_its_maker(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl", reason="only taking a lock shows there whether it is held")
    (tmp_path / "lora-r2").mkdir()
    for name in ("log.jsonl", "lock"):
        (tmp_path / "lora-r2" / name).touch()
    with (tmp_path / "lora-r2" / "lock").open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        assert [state.state for state in run_states(tmp_path)] == ["interrupted"]


def test_a_run_that_died_is_recorded_as_failed_though_somebody_looks_at_it(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl", reason="only taking a lock shows there whether it is held")
    content = {"name": "s", "data": {"source": "made by the test"}, "arms": [{"method": "tfidf-svm"}]}
    dataset = make_dataset(train=8)
    (planned,) = plan_study(StudySpec.model_validate(content), dataset=dataset, out=tmp_path).runs
    planned.folder.mkdir(parents=True)
    (planned.folder / "lock").touch()
    died = Ended(-9, None)
    with (planned.folder / "lock").open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        threading.Timer(0.1, fcntl.flock, (handle.fileno(), fcntl.LOCK_UN)).start()
        assert conclude(planned, died, dataset=dataset, study="s")
    assert isinstance(read_record(planned.folder), FailedRun)
    (planned.folder / "record.json").unlink()
    with FileLock(planned.folder / "lock"):  # as by a process that continues it
        assert not conclude(planned, died, dataset=dataset, study="s")


def test_a_run_whose_folder_is_a_link_counts_everywhere(tmp_path: Path) -> None:
    write_list(tmp_path / "runs", _listed("lora-r2", "lora-r8"))
    write_record(_named("lora-r2"), tmp_path / "runs" / "lora-r2")
    write_record(_named("lora-r8"), tmp_path / "other disk" / "lora-r8")
    (tmp_path / "runs" / "lora-r8").symlink_to(tmp_path / "other disk" / "lora-r8")
    for runs in (tmp_path / "runs", tmp_path):
        assert {"lora-r2", "lora-r8"} == {record.run_id for record in read_records(runs)}
        assert unfinished_below(runs) is None
    assert [state.state for state in run_states(tmp_path / "runs")] == ["finished"] * 2


def test_folders_that_runs_write_and_remove_are_not_in_the_way(tmp_path: Path) -> None:
    for name in ("gone", "stays"):
        write_record(_named(name), tmp_path / name)
        for folder in ("checkpoints", "model", ".model.123.tmp"):
            (tmp_path / name / folder / "deeper").mkdir(parents=True)
            (tmp_path / name / folder / "record.json").touch()
    (tmp_path / "model" / "deeper").mkdir(parents=True)  # a study may be called so
    found = folders_below(tmp_path)
    assert next(found)[0] == tmp_path
    shutil.rmtree(tmp_path / "gone")
    below = {folder.relative_to(tmp_path).as_posix(): files for folder, files in found}
    assert below == {"stays": ["record.json"], "model": [], "model/deeper": []}


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="it contains no run"):
        run_states(tmp_path)
    with pytest.raises(RecordError, match="there is no such folder"):
        run_states(tmp_path / "nowhere")


def test_names_are_sorted_as_people_count() -> None:
    names = ["lora-r128-lr5e-5", "lora-r2-lr5e-4", "lora-r256-lr5e-5", "lora-r2-lr5e-5", "full", "lora"]
    assert sorted(names, key=natural_key) == [
        "full",
        "lora",
        "lora-r2-lr5e-5",
        "lora-r2-lr5e-4",
        "lora-r128-lr5e-5",
        "lora-r256-lr5e-5",
    ]


def test_the_time_left_is_that_of_runs_alike() -> None:
    ended = [
        _named("lora-r2-s1-0123456789", minutes=4),
        _named("lora-r2-s2-0123456789", minutes=6),
        _named("lora-r8-s1-0123456789", minutes=20),
    ]

    def left(*names: str) -> float | None:
        return seconds_left(ended, _listed(*names).runs)

    assert left() == 0
    assert left("lora-r2-s3-aaaaaaaaaa") == 60 * 5
    assert left("lora-r2-s3-aaaaaaaaaa", "lora-r4-s1-aaaaaaaaaa") == 60 * (5 + 10)
    assert left("full-s1-aaaaaaaaaa") == 60 * 10
    several = _listed("lora-r2-s3-aaaaaaaaaa", "lora-r4-s1-aaaaaaaaaa").runs
    assert seconds_left(ended, several, jobs=2) == seconds_left(ended, several, jobs=8) == 60 * (5 + 10) / 2
    assert seconds_left([_named("tfidf-svm-s1-0123456789", record=baseline())], _listed("full-s1-0").runs) is None


def test_the_time_left_looks_at_each_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies have thousands of runs, and it is asked for with every run that starts."""
    looked: list[str] = []

    def noted(run_id: str) -> str:
        looked.append(run_id)
        return arm_of(run_id)

    monkeypatch.setattr(states, "arm_of", noted)
    ended = [_named(f"lora-r2-s{seed}-0123456789", minutes=4) for seed in range(10)]
    waiting = [f"lora-r2-s{seed}-0123456789" for seed in range(10, 30)]
    assert seconds_left(ended, _listed(*waiting).runs) == 20 * 60 * 4
    assert len(looked) == 30


def test_the_time_left_counts_all_sessions_of_a_run_that_was_resumed() -> None:
    resumed = _named("lora-r2-s1-0123456789", minutes=1).model_copy(update={"resumptions": 1})
    assert isinstance(resumed, FinishedRun)
    costs = resumed.costs.model_copy(update={"train_seconds_with_evaluation": 500.0, "test_seconds": 40.0})
    ended = [resumed.model_copy(update={"costs": costs})]
    assert seconds_left(ended, _listed("lora-r2-s2-0123456789").runs) == 540


def test_the_time_left_follows_from_a_run_that_is_being_made_where_none_of_its_kind_has_ended() -> None:
    ended = [_named("tfidf-svm-s1-0123456789", record=baseline())]
    running = {"full-s1-0": Progress(1, 100, 400, seconds_left=300, seconds_in_all=400)}
    names = _listed("full-s1-0", "lora-r2-s1-0", "lora-r4-s1-0").runs
    assert seconds_left(ended, names, running=running) == 300 + 400 + 400
    # What has ended tells more of the runs to come, and the steps of a run tell more of itself.
    both = [*ended, _named("lora-r2-s2-0123456789", minutes=2)]
    assert seconds_left(both, names, running=running) == 300 + 120 + 120
    first_step = {"full-s1-0": Progress(1, 1, 400)}
    assert seconds_left(ended, names, running=first_step) is None
    assert seconds_left(both, names, running=first_step) == 3 * 120


def test_the_time_left_of_a_folder_is_that_of_the_runs_that_have_not_ended(tmp_path: Path) -> None:
    write_list(tmp_path, _listed("lora-r2-s1-0", "lora-r2-s2-0", "lora-r4-s1-0"))
    steps = [{"event": "StepDone", "time": 2 * step, "epoch": 1, "step": step, "total_steps": 100} for step in (10, 60)]
    (tmp_path / "lora-r2-s1-0").mkdir()
    (tmp_path / "lora-r2-s1-0" / "log.jsonl").write_text("\n".join(map(json.dumps, steps)) + "\n", encoding="utf-8")
    with FileLock(tmp_path / "lora-r2-s1-0" / "lock"):
        assert study_seconds_left(tmp_path) == 2 * 40 + 2 * 200
        # Two that are being made share what is left.
        shutil.copytree(tmp_path / "lora-r2-s1-0", tmp_path / "lora-r2-s2-0")
        with FileLock(tmp_path / "lora-r2-s2-0" / "lock"):
            assert study_seconds_left(tmp_path) == (2 * 40 + 2 * 40 + 200) / 2
            # One that has not made a step is being made as well.
            (tmp_path / "lora-r4-s1-0").mkdir()
            with FileLock(tmp_path / "lora-r4-s1-0" / "lock"):
                assert study_seconds_left(tmp_path) == (2 * 40 + 2 * 40 + 200) / 3
        shutil.rmtree(tmp_path / "lora-r2-s2-0")
    assert study_seconds_left(tmp_path) is None  # the run is interrupted, so nothing is known of its speed
    (tmp_path / STUDY_FILE).unlink()
    assert study_seconds_left(tmp_path) is None


def test_a_running_run_says_its_step_and_how_long_it_still_takes(tmp_path: Path) -> None:
    def step(number: int, time: float, *, epoch: int = 2) -> str:
        return json.dumps({"event": "StepDone", "time": time, "epoch": epoch, "step": number, "total_steps": 1300})

    log = tmp_path / "log.jsonl"
    assert progress_of(tmp_path) is None
    log.write_text(f"{step(1200, 10)}\n", encoding="utf-8")
    assert progress_of(tmp_path) == Progress(2, 1200, 1300, None)
    lines = ["half a line", step(1200, 10), step(1210, 25), '{"event": "EpochDone", "time": 26}', '{"event": "St']
    log.write_text("\n".join(lines), encoding="utf-8")
    progress = progress_of(tmp_path)
    assert progress is not None
    assert (str(progress), progress.seconds_left) == ("epoch 2, step 1,210 of 1,300", 135)
    # Steps whose features later epochs remember say nothing of those to come.
    slow = [json.dumps(json.loads(step(number, 5 * number, epoch=1)) | {"is_slow": True}) for number in (1, 2, 3)]
    log.write_text("\n".join(slow), encoding="utf-8")
    assert progress_of(tmp_path) == Progress(1, 3, 1300, None)
    log.write_text("\n".join([*slow, step(4, 16), step(5, 17)]), encoding="utf-8")
    assert progress_of(tmp_path) == Progress(2, 5, 1300, 1295, 1300)
    # What came before an interruption says nothing of the speed, nor does a clock that was set back.
    resumed = '{"event": "Resumed", "time": 900, "epoch": 2, "step": 1200}'
    log.write_text("\n".join([step(1200, 10), resumed, step(1201, 901), step(1203, 902)]), encoding="utf-8")
    assert progress_of(tmp_path) == Progress(2, 1203, 1300, 48.5, 650)
    # The validation set was classified between two epochs, in 500 seconds.
    log.write_text("\n".join([step(1200, 10), step(1210, 20), step(1220, 530, epoch=3)]), encoding="utf-8")
    assert progress_of(tmp_path) == Progress(3, 1220, 1300, 80, 1300)
    # Where every epoch has one step, that is all there is to go by.
    log.write_text("\n".join([step(1200, 10, epoch=1200), step(1201, 12, epoch=1201)]), encoding="utf-8")
    assert progress_of(tmp_path) == Progress(1201, 1201, 1300, 198, 2600)
    log.write_text("\n".join([step(1200, 900), step(1201, 10)]), encoding="utf-8")
    assert progress_of(tmp_path) == Progress(2, 1201, 1300, None)
