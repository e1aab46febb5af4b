"""Studies that are watched while they are made, and compared with others."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from tanzaku.study.predictions import read_predictions
from tanzaku.study.record import RunRecord, read_record
from tests.forked import Forked


def _comparable(record: RunRecord) -> dict[str, object]:
    """All of a record but the clock, the memory and how often the run was resumed."""
    content = record.model_dump(mode="json", exclude={"started", "ended", "resumptions", "costs", "environment"})
    for epoch in content.get("history", ()):
        del epoch["train_seconds"], epoch["eval_seconds"]
    return content


def assert_same_runs(one: Path, two: Path) -> None:
    """Two folders have the same runs, which ended in the same way and with the same bits."""
    folders = sorted(path.parent.name for path in one.glob("*/record.json"))
    assert folders == sorted(path.parent.name for path in two.glob("*/record.json"))
    for name in folders:
        assert _comparable(read_record(one / name)) == _comparable(read_record(two / name)), name
        if read_record(one / name).status == "failed":
            continue
        assert read_predictions(one / name) == read_predictions(two / name), name
        assert (one / name / "test-logits.npy").read_bytes() == (two / name / "test-logits.npy").read_bytes(), name
        for file in (one / name / "model").glob("*"):
            if file.suffix != ".md":  # PEFT's model card
                assert file.read_bytes() == (two / name / "model" / file.name).read_bytes(), f"{name}/{file.name}"


def wait_for_a_run(process: Forked | subprocess.Popen[str], out: Path) -> None:
    """Wait until the study, started again, works on a run: until some log grows."""
    sizes = {path: path.stat().st_size for path in out.glob("*/log.jsonl")}
    while process.poll() is None:
        if any(path.stat().st_size > sizes.get(path, 0) for path in out.glob("*/log.jsonl")):
            return
        time.sleep(0.02)


def clock_that_jumps(when: Callable[[], bool]) -> SimpleNamespace:
    """A stand-in for the module `time` whose clock is an hour ahead as soon as something has happened."""
    return SimpleNamespace(monotonic=lambda: time.monotonic() + (3600.0 if when() else 0.0))


def wait_for_a_lock(process: Forked, out: Path) -> None:
    """Wait until the study has begun a run, also one that logs nothing."""
    while process.poll() is None and not list(out.glob("*/lock")):
        time.sleep(0.02)


def training_process(out: Path) -> int:
    """The process that has a run's lock file open."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            opened = [str(link.readlink()) for link in (folder / "fd").iterdir()]
        except OSError:
            continue
        if any(name.startswith(str(out)) and name.endswith("/lock") for name in opened):
            return int(folder.name)
    raise AssertionError("no process has a run's lock file open")


def remount(disk: Path, options: str) -> None:
    """Change how a file system is mounted, such as its size."""
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)
