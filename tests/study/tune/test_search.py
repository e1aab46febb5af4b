"""A search: what it leaves behind, killed and taken up again, and blind to the test set."""

import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tanzaku.data.dataset import Dataset
from tanzaku.encoders.load import resolve_encoder
from tanzaku.errors import RecordError, SpecError, TanzakuError
from tanzaku.study.expansion import expand, read_study
from tanzaku.study.plan import plan_study
from tanzaku.study.planned import PlannedEncoderRun
from tanzaku.study.process import FINISHED, Ended, StartedChild, StudyInterrupted
from tanzaku.study.record import EpochRecord
from tanzaku.study.run import run
from tanzaku.study.runs import read_records
from tanzaku.study.spec import EncoderRunSpec, StudySpec
from tanzaku.study.tune.record import TrialRecord, TuningRecord
from tanzaku.study.tune.search import SearchEnds, SearchStarts, TrialEnds, TrialStarts, _Search, search
from tanzaku.study.tune.space import search_space
from tanzaku.study.tune.trial import PlannedTrial, TrialResult, Verdict, _run_and_record, make_trials, read_result
from tanzaku.training.stopping import BestBy
from tests.forked import Forked, call
from tests.study.made import blind_dataset, make_search
from tests.tiny import make_dataset


def _study(encoder: Path, *, tune: dict[str, Any] | None = None, **changes: Any) -> StudySpec:
    content: dict[str, Any] = {
        "name": "tiny",
        "data": {"source": "made by the test"},
        "encoder": {"name": str(encoder), "max_tokens": 24},
        "training": {"epochs": 3, "precision": "float32", "checkpoint_minutes": 0.001},
        "arms": [{"method": "tfidf-svm"}, {"method": "lora", "rank": [1, 2]}],
        "tune": {"trials": 7, "startup_trials": 2, "unpruned_epochs": 1, "objective": "loss"}
        | {"space": {"learning_rate": {"low": 1e-5, "high": 3e-2, "log": True}, "schedule": ["linear", "cosine"]}}
        | (tune or {}),
    }
    return StudySpec.model_validate(content | changes)


def _search(study: StudySpec, dataset: Dataset, out: Path) -> list[Any]:
    return list(search(study, dataset=dataset, out=out))


def _record(out: Path) -> TuningRecord:
    return TuningRecord.model_validate_json((out / "tuning.json").read_text(encoding="utf-8"))


def _comparable(record: TuningRecord) -> list[dict[str, Any]]:
    """All of the trials but the clock."""
    trials: list[dict[str, Any]] = record.model_dump(mode="json")["trials"]
    for trial in trials:
        del trial["seconds"]
        for epoch in trial["history"]:
            del epoch["train_seconds"], epoch["eval_seconds"]
    return trials


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny_masked_encoder: Path) -> tuple[Path, list[Any]]:
    """A search that ran without a disturbance in the encoder's own folder, and its events."""
    out = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tiny_masked_encoder.parent)
        return out, _search(_study(Path(tiny_masked_encoder.name)), blind_dataset(), out)


def test_every_trial_is_recorded_and_ranked(undisturbed: tuple[Path, list[Any]], tiny_masked_encoder: Path) -> None:
    out, events = undisturbed
    kinds = [type(event) for event in events]
    assert kinds == [SearchStarts, *[TrialStarts, TrialEnds] * 7, SearchEnds]
    record = _record(out)
    assert record == events[-1].record
    assert record.data.test_documents == 0
    assert [trial.number for trial in record.trials] == list(range(1, 8))
    statuses = [trial.status for trial in record.ranking]
    assert statuses == sorted(statuses, key=["finished", "pruned", "failed"].index)
    assert statuses.count("pruned") >= 1, "the rates are meant to be so different that some trial is ended early"
    finished = [trial for trial in record.ranking if trial.status == "finished"]
    losses = [trial.val_loss for trial in finished if trial.val_loss is not None]
    assert losses == sorted(losses)
    assert record.best == finished[0]
    for trial in record.trials:
        assert set(trial.settings) == {"rank", "learning_rate", "schedule"}
        assert trial.spec is not None
        assert trial.spec["training"]["learning_rate"] == trial.settings["learning_rate"]
        assert trial.spec["method"]["rank"] == trial.settings["rank"]
        assert trial.val_loss == min(epoch.val_loss for epoch in trial.history)
        assert len(trial.history) == 3 or trial.status == "pruned"
        assert sorted(path.name for path in (out / "trials" / str(trial.run_id)).iterdir()) == [
            "lock",
            "log.jsonl",
            "trial.json",
        ]
    bests = [event.best for event in events if isinstance(event, TrialEnds)]
    assert bests[-1] == record.best


def test_the_tuned_study_has_the_best_settings_and_several_seeds(
    undisturbed: tuple[Path, list[Any]], tiny_masked_encoder: Path, tmp_path: Path
) -> None:
    out, events = undisturbed
    tuned = read_study(out / "tuned.toml")
    assert events[-1].tuned == out / "tuned.toml"
    assert tuned.seeds == (1, 2, 3)
    best = _record(out).best
    assert best is not None
    assert best.spec is not None
    runs = expand(tuned.model_copy(update={"seeds": (42,)}))
    assert [run.method_name for run in runs] == ["tfidf-svm", "lora"]
    assert runs[1].model_dump(mode="json") == best.spec
    # A run of it trains what the trial trained.
    assert isinstance(runs[1], EncoderRunSpec)
    planned = PlannedEncoderRun(runs[1], tmp_path, resolve_encoder(str(tiny_masked_encoder)))
    made = run(planned, dataset=make_dataset(), study="t")
    assert [epoch.val_loss for epoch in made.history] == [epoch.val_loss for epoch in best.history]
    assert made.val.accuracy == best.val_accuracy
    assert plan_study(tuned, dataset=make_dataset(), out=tmp_path).runs


def test_a_trial_s_result_is_not_lost_with_its_folder(
    undisturbed: tuple[Path, list[Any]], tiny_masked_encoder: Path, tmp_path: Path
) -> None:
    out, events = undisturbed
    study, copy = _study(tiny_masked_encoder), tmp_path / "copy"
    shutil.copytree(out, copy, ignore=shutil.ignore_patterns("trials"))
    assert _search(study, blind_dataset(), copy)[-1].record.trials == events[-1].record.trials
    (copy / "tuning.json").unlink()
    with pytest.raises(RecordError, match=r"trial 1 has ended, but neither .* nor .*tuning\.json has its result"):
        _search(study, blind_dataset(), copy)


def test_a_search_that_has_ended_makes_nothing_again_and_goes_on_for_more(
    undisturbed: tuple[Path, list[Any]], tiny_masked_encoder: Path
) -> None:
    out, events = undisturbed
    study = _study(tiny_masked_encoder)
    again = _search(study, blind_dataset(), out)
    assert [type(event) for event in again] == [SearchStarts, SearchEnds]
    assert again[0].ended == 7
    assert again[1].record.trials == events[-1].record.trials
    with pytest.raises(TanzakuError, match="holds a search with other settings, data or encoder"):
        _search(study, blind_dataset(train=45), out)
    with pytest.raises(TanzakuError, match="holds a search with other settings"):
        _search(_study(tiny_masked_encoder, tune={"objective": "accuracy"}), blind_dataset(), out)
    with FileLock(out / "lock"), pytest.raises(TanzakuError, match="another process is tuning in"):
        _search(study, blind_dataset(), out)


@pytest.mark.parametrize(
    ("searched", "table", "fixed"),
    [
        ({"schedule": ["linear", "wsd"]}, "training", {"decay": (0.3, 0.1)}),
        ({"schedule": ["linear", "plateau"]}, "training", {"plateau_patience": (1, 2)}),
        ({"long_text": ["head", "windows"]}, "encoder", {"max_windows": (2, 3)}),
    ],
)
def test_settings_that_count_at_some_points_alone_make_another_search(
    tiny_masked_encoder: Path, tmp_path: Path, searched: dict[str, Any], table: str, fixed: dict[str, Any]
) -> None:
    def study(place: int) -> StudySpec:
        study = _study(tiny_masked_encoder, tune={"minutes": 1e-9, "space": {"learning_rate": [1e-3]} | searched})
        told = {name: values[place] for name, values in fixed.items()}
        return study.model_copy(update={table: getattr(study, table) | told})

    _search(study(0), blind_dataset(), tmp_path)
    _search(study(0), blind_dataset(), tmp_path)
    with pytest.raises(TanzakuError, match="holds a search with other settings"):
        _search(study(1), blind_dataset(), tmp_path)


def test_another_pretrained_encoder_makes_another_search(tiny_masked_encoder: Path, tmp_path: Path) -> None:
    settings = {"learning_rate": [1e-3], "pretrain": [False, {"steps": 2}]}
    study = _study(tiny_masked_encoder, tune={"space": settings})
    tune = study.tune
    assert tune is not None
    space = search_space(study)
    corners = space.corners(seed=1)
    reading = corners[-1].encoder
    assert reading is not None
    assert reading.pretrain is not None
    encoder = resolve_encoder(str(tiny_masked_encoder))

    def identity(fingerprint: str) -> str:
        encoders = {None: encoder, reading.pretrain: replace(encoder, fingerprint=fingerprint)}
        return _Search(study, tune, space, corners, blind_dataset(), encoders, tmp_path).identity

    assert identity("one") == identity("one") != identity("other")


def test_a_search_refuses_to_see_the_test_set(tiny_masked_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(TanzakuError, match="must not see the test set"):
        _search(_study(tiny_masked_encoder), make_dataset(), tmp_path)


def test_failed_trials_are_recorded_and_the_others_go_on(tiny_masked_encoder: Path, tmp_path: Path) -> None:
    # Each value is possible, but the larger two together are more than all steps: no corner shows that.
    space = {"learning_rate": [1e-3, 1e30], "warmup": [0.1, 0.9], "decay": [0.05, 0.2]}
    study = _study(
        tiny_masked_encoder,
        tune={"trials": 10, "startup_trials": 10, "space": space},
        arms=[{"method": "full", "schedule": "wsd"}],
        training={"epochs": 2},
    )
    record = _search(study, blind_dataset(train=16, val=6), tmp_path)[-1].record
    errors: dict[str, set[str | None]] = {"none": set(), "rate": set(), "parts": set()}
    for trial in record.trials:
        parts = trial.settings["warmup"] + trial.settings["decay"] > 1
        rate = trial.settings["learning_rate"] > 1
        errors["parts" if parts else "rate" if rate else "none"].add(trial.error)
        assert (trial.status == "finished") == (not parts and not rate)
        assert (trial.spec is None) == parts
    assert errors["none"] == {None}
    assert all("loss is nan" in str(error) for error in errors["rate"])
    assert all("warmup = 0.9 and decay = 0.2" in str(error) for error in errors["parts"])
    assert all(errors.values()), "each kind is meant to be drawn"
    assert record.best is not None
    # They are read back as they were.
    assert _search(study, blind_dataset(train=16, val=6), tmp_path)[-1].record.trials == record.trials


def test_without_time_nothing_is_recommended(tiny_masked_encoder: Path, tmp_path: Path) -> None:
    study = _study(tiny_masked_encoder, tune={"minutes": 1e-9})
    ended = _search(study, blind_dataset(), tmp_path)[-1]
    assert isinstance(ended, SearchEnds)
    assert ended.record.trials == ()
    assert ended.tuned is None
    assert not (tmp_path / "tuned.toml").exists()


def _planned(encoder: Path, folder: Path, **changes: Any) -> PlannedTrial:
    study = _study(encoder, **changes)
    spec = search_space(study).corners(seed=1)[0]
    return PlannedTrial(spec, folder, resolve_encoder(str(encoder)))


def _made(trial: PlannedTrial, verdict: Verdict) -> TrialResult | None:
    (result,) = make_trials([trial], dataset=blind_dataset(), verdicts=[verdict], jobs=1)
    return result


def test_a_trial_ends_where_the_verdict_says_and_its_result_is_read_back(
    tiny_masked_encoder: Path, tmp_path: Path
) -> None:
    asked: list[int] = []

    def after_two(epochs: Any) -> bool:
        asked.extend(epoch.epoch for epoch in epochs)
        return asked[-1] == 2

    trial = _planned(tiny_masked_encoder, tmp_path)
    result = _made(trial, after_two)
    assert result is not None
    assert result.status == "pruned"
    assert asked == [epoch.epoch for epoch in result.history] == [1, 2]
    assert _made(trial, after_two) == result
    assert asked == [1, 2, 1, 2]


def test_a_trial_is_not_ended_early_after_its_last_epoch(tiny_masked_encoder: Path, tmp_path: Path) -> None:
    asked: list[int] = []

    def after_the_last(epochs: Any) -> bool:
        asked.extend(epoch.epoch for epoch in epochs)
        return asked[-1] == 3

    result = _made(_planned(tiny_masked_encoder, tmp_path), after_the_last)
    assert result is not None
    assert (result.status, asked) == ("finished", [1, 2, 3])


def test_a_trial_whose_patience_is_used_up_is_not_ended_early(tiny_masked_encoder: Path, tmp_path: Path) -> None:
    # No fall of the loss is large enough, so the second epoch is the last one.
    trial = _planned(tiny_masked_encoder, tmp_path, training={"epochs": 5, "patience": 1, "threshold": 100.0})
    result = _made(trial, lambda epochs: epochs[-1].epoch == 2)
    assert result is not None
    assert (result.status, [epoch.epoch for epoch in result.history]) == ("finished", [1, 2])


def test_a_trial_that_fails_keeps_the_epochs_that_it_has_trained(tiny_masked_encoder: Path, tmp_path: Path) -> None:

    def broken(epochs: Any) -> bool:
        if epochs[-1].epoch == 2:
            raise FloatingPointError("the loss is not a number")
        return False

    assert _run_and_record(_planned(tiny_masked_encoder, tmp_path), blind_dataset(), broken, lambda: False) == FINISHED
    result = read_result(tmp_path)
    assert (result.status, result.error) == ("failed", "the loss is not a number")
    assert [epoch.epoch for epoch in result.history] == [1, 2]
    assert result.seconds > 0


def test_a_trial_whose_process_is_killed_has_failed(tiny_masked_encoder: Path, tmp_path: Path) -> None:
    def kill(epochs: Any) -> bool:
        (child,) = [one for one in multiprocessing.active_children() if one.name == tmp_path.name]
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        return False

    result = _made(_planned(tiny_masked_encoder, tmp_path), kill)
    assert isinstance(result, TrialResult)
    assert result.status == "failed"
    assert "SIGKILL" in str(result.error)
    assert not (tmp_path / "checkpoints").exists()


def test_a_trial_killed_before_its_result_is_written_trains_nothing_again(
    tiny_masked_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise SystemExit

    trial = _planned(tiny_masked_encoder, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("tanzaku.study.tune.trial._write_result", killed)
        with pytest.raises(SystemExit):
            _run_and_record(trial, blind_dataset(), lambda _: False, lambda: False)
    done = _epochs_done(tmp_path)
    result = _made(trial, lambda _: False)
    assert result is not None
    assert result.status == "finished"
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3]
    assert _epochs_done(tmp_path) == done == 3, "it has trained again"
    assert not (tmp_path / "checkpoints").exists()


def test_checkpoints_that_a_kill_left_beside_the_result_are_cleared(tiny_masked_encoder: Path, tmp_path: Path) -> None:
    trial = _planned(tiny_masked_encoder, tmp_path)
    (tmp_path / "trial.json").write_text(TrialResult(status="finished").model_dump_json(), encoding="utf-8")
    (tmp_path / "checkpoints" / "step-000000001").mkdir(parents=True)
    assert _made(trial, lambda _: False) == TrialResult(status="finished")
    assert not (tmp_path / "checkpoints").exists()


def _epochs_done(folder: Path) -> int:
    """How many epochs the trial's log has seen the end of."""
    return (folder / "log.jsonl").read_text(encoding="utf-8").count('"event": "EpochDone"')


def test_a_trial_stops_at_the_deadline_and_goes_on_later(tiny_masked_encoder: Path, tmp_path: Path) -> None:
    trial = _planned(tiny_masked_encoder, tmp_path)
    stopped = replace(trial, deadline=time.monotonic() - 1)
    assert _made(stopped, lambda _: False) is None
    assert list((tmp_path / "checkpoints").glob("step-*"))
    result = _made(trial, lambda _: False)
    assert result is not None
    assert result.status == "finished"
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in log if line["event"] == "Resumed"] == [1]


def test_ctrl_c_is_not_lost_when_the_last_trial_has_just_ended(
    tiny_masked_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    join = StartedChild.join

    def join_and_ctrl_c(child: StartedChild) -> Ended:
        ended = join(child)
        signal.raise_signal(signal.SIGINT)
        return ended

    study = _study(tiny_masked_encoder, tune={"trials": 1}, training={"epochs": 1})
    with monkeypatch.context() as patched:
        patched.setattr(StartedChild, "join", join_and_ctrl_c)
        with pytest.raises(StudyInterrupted):
            _search(study, blind_dataset(), tmp_path)
    assert len(list(tmp_path.glob("trials/*/trial.json"))) == 1
    assert not (tmp_path / "tuned.toml").exists()
    assert [type(event) for event in _search(study, blind_dataset(), tmp_path)] == [
        SearchStarts,
        TrialStarts,
        TrialEnds,
        SearchEnds,
    ]


class _Trainless:
    """Makes trials whose loss follows from the learning rate.

    Args:
        stopped: So many, the first of the first round, are not made, since the time is over.
    """

    def __init__(self, stopped: int = 0) -> None:
        self._stopped = stopped
        self.time_is_over = False

    def __call__(self, pairs: Sequence[tuple[PlannedTrial, Verdict]], dataset: Dataset) -> None:
        for trial, verdict in pairs[self._stopped :]:
            loss = abs(math.log10(trial.spec.training.learning_rate / 1e-3))
            result = TrialResult(status="finished", history=(_epoch(1, loss), _epoch(2, loss / 2)))
            ends = [verdict([epoch]) for epoch in result.history]
            trial.folder.mkdir(parents=True)
            if ends[0]:
                result = TrialResult(status="pruned", history=result.history[:1])
            (trial.folder / "trial.json").write_text(result.model_dump_json(), encoding="utf-8")
        self.time_is_over = self._stopped > 0


def _epoch(number: int, loss: float, accuracy: float = 0.5) -> EpochRecord:
    return EpochRecord(
        epoch=number,
        steps=number,
        train_loss=loss,
        val_loss=loss,
        val_accuracy=accuracy,
        learning_rate=1e-3,
        train_seconds=1,
        eval_seconds=1,
    )


def test_a_trial_is_judged_by_the_epoch_that_a_run_would_keep() -> None:
    history = (_epoch(1, 0.7, 0.6), _epoch(2, 0.9, 0.8), _epoch(3, 0.8, 0.77), _epoch(4, 1.0, 0.7))

    def kept(best_by: BestBy) -> EpochRecord | None:
        return TrialResult(status="finished", history=history, best_by=best_by, val_documents=100).best

    assert kept("loss") == history[0]
    assert kept("accuracy") == history[2]  # within the 4 points of a standard error
    assert TrialResult(status="failed").best is None


def test_a_search_whose_time_is_over_amid_a_round_ends_as_an_undisturbed_one(
    tiny_masked_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _study(tiny_masked_encoder, tune={"trials": 6})
    space = search_space(study)

    def searched(name: str, making: _Trainless) -> list[TrialRecord]:
        assert study.tune is not None
        monkeypatch.setattr("tanzaku.study.tune.search._over", lambda _: making.time_is_over)
        (tmp_path / name).mkdir(exist_ok=True)
        corners, encoder = space.corners(seed=42), resolve_encoder(str(tiny_masked_encoder))
        search = _Search(study, study.tune, space, corners, blind_dataset(), {None: encoder}, tmp_path / name, jobs=3)
        search.elsewhere = making  # type: ignore[assignment]
        *_, ended = search.run()
        assert isinstance(ended, SearchEnds)
        return list(ended.record.trials)

    undisturbed = searched("undisturbed", _Trainless())
    assert {trial.status for trial in undisturbed} == {"finished", "pruned"}
    for stopped, there in ((1, [2, 3]), (2, [3])):
        assert [trial.number for trial in searched(f"cut-{stopped}", _Trainless(stopped))] == there
        assert searched(f"cut-{stopped}", _Trainless()) == undisturbed


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_search_killed_again_and_again_ends_as_an_undisturbed_one(
    undisturbed: tuple[Path, list[Any]], tiny_masked_encoder: Path, tmp_path: Path
) -> None:
    study, out, moments = _study(tiny_masked_encoder), tmp_path / "killed", random.Random(0)
    for _ in range(3):
        process = Forked(make_search, study.model_dump_json(), out, folder=tmp_path)
        _wait_for_a_trial(process, out)
        time.sleep(moments.uniform(0, 0.5))
        # Only the search's own process: the trial's must see that it is gone and end itself.
        process.kill()
    call(make_search, study.model_dump_json(), out, folder=tmp_path)
    assert _comparable(_record(out)) == _comparable(_record(undisturbed[0]))
    assert (out / "tuned.toml").read_bytes() == (undisturbed[0] / "tuned.toml").read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_search_with_two_jobs_that_is_killed_ends_as_an_undisturbed_one(
    tiny_masked_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    study, out = _study(tiny_masked_encoder, tune={"trials": 5}), tmp_path / "killed"
    events = list(search(study, dataset=blind_dataset(), out=tmp_path / "undisturbed", jobs=2))
    numbers = [
        event.proposal.number if isinstance(event, TrialStarts) else event.trial.number - 1
        for event in events
        if isinstance(event, TrialStarts | TrialEnds)
    ]
    assert numbers == [0, 1, 0, 1, 2, 3, 2, 3, 4, 4]  # two at the same time, and the last by itself
    process = Forked(make_search, study.model_dump_json(), out, 2, folder=tmp_path)
    _wait_for_a_trial(process, out)
    time.sleep(0.3)
    process.kill()
    call(make_search, study.model_dump_json(), out, 2, folder=tmp_path)
    assert _comparable(_record(out)) == _comparable(_record(tmp_path / "undisturbed"))
    with pytest.raises(SpecError, match="hyperband"):
        list(
            search(_study(tiny_masked_encoder, tune={"pruner": "hyperband"}), dataset=blind_dataset(), out=out, jobs=2)
        )


def _wait_for_a_trial(process: Forked, out: Path) -> None:
    """Wait until the search, started again, works on a trial: until some log grows."""
    sizes = {path: path.stat().st_size for path in out.glob("trials/*/log.jsonl")}
    while process.poll() is None:
        if any(path.stat().st_size > sizes.get(path, 0) for path in out.glob("trials/*/log.jsonl")):
            return
        time.sleep(0.02)


def test_no_run_record_is_among_what_a_search_leaves(undisturbed: tuple[Path, list[Any]]) -> None:
    with pytest.raises(TanzakuError, match=r"no record\.json"):
        read_records(undisturbed[0])


def _trial(number: int, status: str, accuracy: float | None, loss: float | None) -> TrialRecord:
    content: dict[str, Any] = {"number": number, "run_id": None, "status": status, "settings": {}}
    return TrialRecord.model_validate(content | {"val_accuracy": accuracy, "val_loss": loss})


def test_equal_accuracies_are_ranked_by_the_loss(undisturbed: tuple[Path, list[Any]]) -> None:
    trials = (
        _trial(0, "failed", None, None),
        _trial(1, "pruned", 0.99, 0.1),
        _trial(2, "finished", 0.9, 0.5),
        _trial(3, "finished", 0.9, 0.4),
        _trial(4, "finished", 0.95, 0.6),
    )
    record = _record(undisturbed[0]).model_copy(update={"trials": trials})
    by_accuracy = record.model_copy(update={"settings": record.settings | {"objective": "accuracy"}})
    assert [trial.number for trial in by_accuracy.ranking] == [4, 3, 2, 1, 0]
    assert [trial.number for trial in record.ranking] == [3, 2, 4, 1, 0]
