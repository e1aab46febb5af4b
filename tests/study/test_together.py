"""A run that several processes train is the run that one process trains."""

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tanzaku.errors import ProcessError, SpecError
from tanzaku.study.expansion import parse_study
from tanzaku.study.plan import plan_study
from tanzaku.study.planned import PlannedEncoderRun
from tanzaku.study.record import FinishedEncoderRun
from tanzaku.study.run import LOGITS_FILE, run
from tanzaku.training.events import Event, Interrupted, StepDone
from tests.tiny import make_dataset

DATASET = make_dataset()
# A padded batch of a share is narrower than that of the whole, and sums have another order.
TOLERANCE = 1e-5


def _planned(encoder: Path, out: Path, *, processes: int, **arm: Any) -> PlannedEncoderRun:
    study = parse_study(
        {
            "name": "together",
            "seeds": [1],
            "data": {"source": "tiny"},
            "encoder": {"name": str(encoder), "max_tokens": 24},
            "training": {"epochs": 2, "batch_size": 8, "precision": "float32", "learning_rate": 0.01},
            "arms": [{"method": "lora", **arm}],
        }
    )
    (planned,) = plan_study(study, dataset=DATASET, out=out, processes=processes).runs
    assert isinstance(planned, PlannedEncoderRun)
    assert planned.processes == processes
    return planned


def _make(planned: PlannedEncoderRun, **options: Any) -> FinishedEncoderRun:
    record = run(planned, dataset=DATASET, study="together", **options)
    assert isinstance(record, FinishedEncoderRun)
    return record


def _logits(planned: PlannedEncoderRun) -> np.ndarray:
    logits: np.ndarray = np.load(planned.folder / LOGITS_FILE, allow_pickle=False)
    return logits


def test_two_processes_make_the_run_of_one(tiny_encoder: Path, tmp_path: Path) -> None:
    planned = [_planned(tiny_encoder, tmp_path / str(count), processes=count, dropout=0.0) for count in (1, 2)]
    assert planned[0].run_id == planned[1].run_id
    one, two = (_make(each) for each in planned)
    assert (one.compute.processes, two.compute.processes) == (1, 2)
    for name in ("train_loss", "val_loss"):
        losses = [[getattr(epoch, name) for epoch in record.history] for record in (one, two)]
        np.testing.assert_allclose(losses[0], losses[1], atol=TOLERANCE)
    np.testing.assert_allclose(_logits(planned[0]), _logits(planned[1]), atol=100 * TOLERANCE)
    assert not [child for child in multiprocessing.active_children() if planned[1].run_id in child.name]


def test_a_stopped_run_resumes_with_all_processes_bit_by_bit(tiny_masked_encoder: Path, tmp_path: Path) -> None:
    whole, parts = (_planned(tiny_masked_encoder, tmp_path / name, processes=2) for name in ("whole", "parts"))
    undisturbed = _make(whole)
    steps: list[int] = []

    def listen(event: Event) -> None:
        if isinstance(event, StepDone):
            steps.append(event.step)

    with pytest.raises(Interrupted):
        _make(parts, listeners=(listen,), should_stop=lambda: steps[-1:] == [8])
    resumed = _make(parts, listeners=(listen,))
    assert (resumed.resumptions, steps) == (1, list(range(1, 13)))
    assert np.array_equal(_logits(parts), _logits(whole))
    assert [epoch.val_loss for epoch in resumed.history] == [epoch.val_loss for epoch in undisturbed.history]


def test_a_process_that_dies_ends_the_run_with_its_reason(tiny_encoder: Path, tmp_path: Path) -> None:
    planned = _planned(tiny_encoder, tmp_path, processes=2)

    def kill_the_other(event: Event) -> None:
        if isinstance(event, StepDone):
            (other,) = [child for child in multiprocessing.active_children() if child.name == f"{planned.run_id}-1"]
            other.kill()

    with pytest.raises(ProcessError, match=r"trained the run with others failed: .*SIGKILL"):
        _make(planned, listeners=(kill_the_other,))


def test_what_several_processes_can_not_train_is_refused_before_anything_starts(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match="leaves no document for some of 9 processes"):
        _planned(tiny_encoder, tmp_path, processes=9)
    with pytest.raises(SpecError, match="lora-nested draws something at each step"):
        _planned(tiny_encoder, tmp_path, processes=2, method="lora-nested")
