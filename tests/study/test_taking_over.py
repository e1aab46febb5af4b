"""A run whose training is that of another, finished run: it takes over the weights instead of training again."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tanzaku.errors import MethodError
from tanzaku.study.engine import RunStarts, make_runs
from tanzaku.study.engines.waiting import Waiting
from tanzaku.study.plan import plan_study
from tanzaku.study.planned import PlannedEncoderRun
from tanzaku.study.record import FinishedEncoderRun, read_record, write_record
from tanzaku.study.run import run
from tanzaku.study.spec import StudySpec
from tanzaku.study.taking_over import trained_before
from tanzaku.training.events import EpochDone, Event, StepDone
from tests.tiny import make_dataset

DATASET = make_dataset(train=24, val=12, test=15)


def _plan(encoder: Path, out: Path, **training: Any) -> list[PlannedEncoderRun]:
    """Runs of `lora` and of `lora+tfidf`, for each of two seeds."""
    content: dict[str, Any] = {
        "name": "tiny",
        "seeds": [1, 2],
        "data": {"source": "made by the test"},
        "encoder": {"name": str(encoder), "max_tokens": 24, "pooling": "mean"},
        "training": {"epochs": 2, "learning_rate": 5e-3, "precision": "float32"} | training,
        "arms": [{"method": "lora", "rank": 2}, {"method": "lora+tfidf", "rank": 2}],
    }
    plan = plan_study(StudySpec.model_validate(content), dataset=DATASET, out=out)
    return [planned for planned in plan.runs if isinstance(planned, PlannedEncoderRun)]


def _run(planned: PlannedEncoderRun) -> tuple[FinishedEncoderRun, list[Event]]:
    events: list[Event] = []
    record = run(planned, dataset=DATASET, study="tiny", listeners=[events.append])
    assert isinstance(record, FinishedEncoderRun)
    return record, events


def _weights(planned: PlannedEncoderRun) -> bytes:
    return (planned.folder / "model" / "adapter_model.safetensors").read_bytes()


def test_it_ends_as_if_it_had_been_trained(tiny_encoder: Path, tmp_path: Path) -> None:
    lora, both, *_ = _plan(tiny_encoder, tmp_path / "together")
    trained, _ = _run(lora)
    taken, events = _run(both)
    alone = _plan(tiny_encoder, tmp_path / "alone")[1]
    itself, _ = _run(alone)
    assert (trained.trained_by, taken.trained_by, itself.trained_by) == (None, lora.run_id, None)
    assert read_record(both.folder) == taken
    assert _weights(both) == _weights(alone)
    assert taken.test == itself.test
    assert taken.best_epoch == itself.best_epoch
    assert taken.training_curve == itself.training_curve
    # What it is said to have cost is what training it costs, and the reports have the same epochs.
    assert taken.history == trained.history
    assert taken.costs.train_seconds > trained.costs.train_seconds
    assert [event.result.epoch for event in events if isinstance(event, EpochDone)] == [1, 2]
    assert not [event for event in events if isinstance(event, StepDone)]


def test_a_run_that_was_moved_is_found_by_its_identity(tiny_encoder: Path, tmp_path: Path) -> None:
    lora, both, *_ = _plan(tiny_encoder, tmp_path)
    _run(lora)
    moved = lora.folder.with_name("other-" + lora.run_id.rpartition("-")[2])
    lora.folder.rename(moved)
    assert _run(both)[0].trained_by == moved.name


@pytest.mark.parametrize("missing", ["model", "record.json"])
def test_without_its_weights_or_its_record_the_training_is_done_again(
    tiny_encoder: Path, tmp_path: Path, missing: str
) -> None:
    lora, both, *_ = _plan(tiny_encoder, tmp_path)
    _run(lora)
    path = lora.folder / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert _run(both)[0].trained_by is None


def test_only_the_same_training_counts(tiny_encoder: Path, tmp_path: Path) -> None:
    lora, _, _, of_other_seed = _plan(tiny_encoder, tmp_path)
    longer = _plan(tiny_encoder, tmp_path, epochs=3)[1]
    _run(lora)
    for planned in (of_other_seed, longer):
        assert _run(planned)[0].trained_by is None


def test_weights_that_cannot_be_read_are_an_error(tiny_encoder: Path, tmp_path: Path) -> None:
    lora, both, *_ = _plan(tiny_encoder, tmp_path)
    _run(lora)
    (lora.folder / "model" / "adapter_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(MethodError, match=rf"lora\+tfidf: .*{lora.run_id}.* can't be read as a saved LoRA"):
        _run(both)


def test_such_runs_wait_for_the_others(tiny_encoder: Path, tmp_path: Path) -> None:
    first, first_both, second, second_both = _plan(tiny_encoder, tmp_path)
    waiting = Waiting([first, first_both, second, second_both])
    assert [waiting.next(), waiting.next(), waiting.next()] == [first, second, None]
    waiting.settle(second)
    assert waiting.next() == second_both
    assert waiting.next() is None
    waiting.put_back([first])  # another process was making it, and died
    assert waiting.next() == first
    waiting.settle(first)
    assert waiting.next() == first_both
    assert not waiting
    alone = Waiting([first_both])  # of a study without the other arm
    assert alone.next() == first_both


def test_jobs_at_the_same_time_train_it_once(tiny_encoder: Path, tmp_path: Path) -> None:
    lora, both, *_ = _plan(tiny_encoder, tmp_path)
    starts = []
    for event in make_runs([both, lora], dataset=DATASET, study="tiny", jobs=2):
        if isinstance(event, RunStarts):
            starts.append(event.run.run_id)
    assert starts == [lora.run_id, both.run_id]
    record = read_record(both.folder)
    assert isinstance(record, FinishedEncoderRun)
    assert record.trained_by == lora.run_id


@pytest.mark.parametrize(
    ("key", "value"),
    [("cpu", "another one"), ("gpu", "another one"), ("threads", 1000), ("versions", {"torch": "1.0"})],
)
def test_on_another_machine_the_training_is_done_again(
    tiny_encoder: Path, tmp_path: Path, key: str, value: Any
) -> None:
    """It would round differently, and the seconds would be of neither machine."""
    lora, both, *_ = _plan(tiny_encoder, tmp_path)
    record, _ = _run(lora)
    assert trained_before(both) is not None
    assert trained_before(replace(both, processes=2)) is None
    environment = record.environment.model_copy(update={key: value})
    write_record(record.model_copy(update={"environment": environment}), lora.folder)
    assert trained_before(both) is None


def test_its_time_is_that_of_a_run_that_trains(tiny_encoder: Path, tmp_path: Path) -> None:
    """From which it follows how long others of the arm are going to take; it has not been resumed itself."""
    lora, both, *_ = _plan(tiny_encoder, tmp_path)
    record, _ = _run(lora)
    history = tuple(epoch.model_copy(update={"train_seconds": 100.0}) for epoch in record.history)
    write_record(record.model_copy(update={"history": history, "resumptions": 2}), lora.folder)
    taken, _ = _run(both)
    assert taken.seconds > 200
    assert taken.resumptions == 0


def test_only_methods_with_such_a_training_look_for_one(tiny_encoder: Path, tmp_path: Path) -> None:
    lora, both, *_ = _plan(tiny_encoder, tmp_path)
    assert lora.trained_like is None
    assert both.trained_like is not None
    assert lora.folder.name.endswith(both.trained_like[:10])
    assert _run(replace(both, trained_like=None))[0].trained_by is None
