"""Checkpoints are whole or absent."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from tanzaku.training.checkpoint import Checkpoints, random_state, random_tensors, restore_random


def _save(checkpoints: Checkpoints, step: int) -> None:
    checkpoints.save(step, tensors={"weight": torch.full((3,), float(step))}, state={"step": step, "loss": 0.1 + 0.2})


def test_round_trip_is_exact(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", identity="run")
    tensors = {
        "half": torch.randn(4).bfloat16(),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "scalar": torch.tensor(3.0),
    }
    checkpoints.save(7, tensors=tensors, state={"loss": 0.1 + 0.2})
    found, complaints = Checkpoints(tmp_path / "c", identity="run").newest()
    assert found is not None
    assert complaints == []
    assert (found.step, found.state) == (7, {"loss": 0.1 + 0.2})
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in tensors.items())
    assert all(found.tensors[name].dtype == tensor.dtype for name, tensor in tensors.items())


def test_keeps_the_newest_two_and_clears(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", identity="run")
    for step in (1, 2, 10):
        _save(checkpoints, step)
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["step-000000002", "step-000000010"]
    checkpoints.clear()
    assert checkpoints.newest() == (None, [])


def test_what_a_killed_process_left_is_removed_by_the_next_save(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, identity="run")
    left = tmp_path / ".step-000000001.99999.tmp"
    left.mkdir()
    (left / "tensors.safetensors").write_bytes(b"half")
    _save(checkpoints, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000002"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "no manifest", "bad json", "other version"])
def test_a_damaged_one_is_reported_and_passed_over(tmp_path: Path, damage: str) -> None:
    checkpoints = Checkpoints(tmp_path, identity="run")
    _save(checkpoints, 1)
    _save(checkpoints, 2)
    newest = tmp_path / "step-000000002"
    tensors, manifest = newest / "tensors.safetensors", newest / "manifest.json"
    match damage:
        case "flip":
            content = bytearray(tensors.read_bytes())
            content[-1] ^= 1
            tensors.write_bytes(content)
        case "truncate":
            tensors.write_bytes(tensors.read_bytes()[:-4])
        case "no manifest":
            manifest.unlink()
        case "bad json":
            manifest.write_text("{", encoding="utf-8")
        case "other version":
            manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": 99}), encoding="utf-8")
    found, complaints = checkpoints.newest()
    assert found is not None
    assert found.step == 1
    assert len(complaints) == 1
    assert "step-000000002" in complaints[0]


def test_after_damaged_ones_the_new_ones_of_earlier_steps_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, identity="run")
    for step in (400, 402):
        _save(checkpoints, step)
        (tmp_path / f"step-{step:09d}" / "manifest.json").write_text("{", encoding="utf-8")
    assert checkpoints.newest()[0] is None
    for step in (2, 4, 6):
        _save(checkpoints, step)
        found, complaints = checkpoints.newest()
        assert found is not None
        assert (found.step, complaints) == (step, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000004", "step-000000006"]


def test_a_half_written_one_does_not_count(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, identity="run")
    _save(checkpoints, 1)
    (tmp_path / "step-000000001").rename(tmp_path / ".step-000000001.tmp")
    assert checkpoints.newest() == (None, [])


def test_another_runs_checkpoint_is_not_taken(tmp_path: Path) -> None:
    _save(Checkpoints(tmp_path, identity="one"), 1)
    found, complaints = Checkpoints(tmp_path, identity="other").newest()
    assert found is None
    assert "belongs to one" in complaints[0]


def test_random_states_go_on_where_they_were() -> None:
    torch.randn(3), np.random.rand(3), random.gauss(0, 1)
    tensors = {name: tensor.clone() for name, tensor in random_tensors().items()}
    state = json.loads(json.dumps(random_state()))
    expected = (torch.randn(5), np.random.standard_normal(5), random.gauss(0, 1), random.random())
    restore_random(tensors, state)
    found = (torch.randn(5), np.random.standard_normal(5), random.gauss(0, 1), random.random())
    assert torch.equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])
    assert found[2:] == expected[2:]


@pytest.mark.gpu
def test_the_gpus_random_state_resumes_where_it_was() -> None:
    torch.randn(3, device="cuda")
    tensors, state = random_tensors(), random_state()
    expected = torch.randn(5, device="cuda")
    torch.randn(7, device="cuda")
    restore_random(tensors, state)
    assert torch.equal(torch.randn(5, device="cuda"), expected)


@pytest.mark.gpu
def test_tensors_of_the_gpu_are_saved_as_they_are(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, identity="run")
    tensors = {"a": torch.randn(3, 4, device="cuda"), "b": torch.randn(5, device="cuda").bfloat16()}
    checkpoints.save(1, tensors=tensors, state={})
    found, _ = checkpoints.newest()
    assert found is not None
    for name, tensor in tensors.items():
        assert torch.equal(found.tensors[name], tensor.cpu())
