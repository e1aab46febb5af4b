"""Disks that are full, and files that are damaged: nothing is lost, and the message says what is wrong."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tanzaku.errors import ProcessError, RecordError
from tanzaku.study.engine import RunEnds, make_runs
from tanzaku.study.plan import Plan, plan_study
from tanzaku.study.process import StudyInterrupted
from tanzaku.study.spec import StudySpec
from tests.study.compared import assert_same_runs
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


def _make(plan: Plan, *, deadline: float | None = None) -> RunEnds:
    *_, ended = make_runs(plan.runs, dataset=plan.dataset, study="tiny", deadline=deadline)
    assert isinstance(ended, RunEnds)
    return ended


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny_masked_encoder: Path) -> Path:
    """A study of one run."""
    out = tmp_path_factory.mktemp("undisturbed")
    _make(_plan(tiny_masked_encoder, out))
    return out


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for the log, but for no checkpoint."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"needs to mount a file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_stops_the_study_until_there_is_space(
    small_disk: Path, tiny_masked_encoder: Path, undisturbed: Path
) -> None:
    plan = _plan(tiny_masked_encoder, small_disk)
    with pytest.raises(ProcessError, match=r"(?s)stopped, and the study with it: .*No space left on device"):
        _make(plan)
    assert not list(small_disk.glob("*/record.json"))
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    assert _make(plan).record.status == "finished"
    assert_same_runs(undisturbed, small_disk)


@pytest.mark.parametrize("damage", ["bit", "end"])
def test_a_run_with_a_damaged_checkpoint_resumes_from_the_one_before(
    tmp_path: Path, tiny_masked_encoder: Path, undisturbed: Path, damage: str
) -> None:
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
            _make(plan, deadline=time.time() + seconds)
        seconds += 0.25
    for path in out.glob("*/log.jsonl"):
        path.unlink()  # it tells of the tries
    return saved[-1] / "tensors.safetensors"


def test_a_damaged_record_is_named_and_not_made_again(
    tmp_path: Path, tiny_masked_encoder: Path, undisturbed: Path
) -> None:
    plan = _plan(tiny_masked_encoder, tmp_path)
    (record,) = undisturbed.glob("*/record.json")
    broken = plan.runs[0].folder / "record.json"
    broken.parent.mkdir()
    broken.write_bytes(record.read_bytes()[:-20])
    with pytest.raises(RecordError, match=r"record\.json"):
        _make(plan)
    assert broken.read_bytes() == record.read_bytes()[:-20]
