"""Peak memory is this process's own."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tanzaku.measure import cost
from tanzaku.measure.cost import peak_gpu_memory_bytes, peak_memory_bytes

_HELD = 300_000_000


def _in_new_process(script: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", f"from tanzaku.measure.cost import peak_memory_bytes as peak\n{script}"],
        check=True,
        capture_output=True,
        text=True,
    )
    return [int(line) for line in done.stdout.split()]


@pytest.mark.skipif(peak_memory_bytes() is None, reason="this system does not tell a process's peak memory")
def test_what_was_held_is_in_the_peak_after_it_is_freed() -> None:
    before, after = _in_new_process(f"print(peak())\nheld = bytearray({_HELD})\ndel held\nprint(peak())")
    assert 0.95 * _HELD < after - before < 1.05 * _HELD  # the system counts in steps of some pages


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system counts the parent's memory too")
def test_what_the_parent_holds_is_not_counted() -> None:
    held = bytearray(_HELD)
    (peak,) = _in_new_process("print(peak())")
    assert peak < _HELD == len(held)


def _use_status(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(cost, "_LINUX_STATUS", path)
    monkeypatch.setattr(sys, "platform", "linux")


def test_linuxs_own_figure_is_in_kib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_bytes("Name:\tpython\nOldVmHWM:\t7 kB\nVmHWM:\t  1234 kB\nVmRSS:\t  99 kB\nNext:\t空\n".encode())
    _use_status(monkeypatch, status)
    assert peak_memory_bytes() == 1234 * 1024


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1), ("freebsd14", 1024)])
def test_else_it_is_what_the_system_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, unit: int
) -> None:
    resource = pytest.importorskip("resource")
    asked = []

    def usage(who: int) -> SimpleNamespace:
        asked.append(who)
        return SimpleNamespace(ru_maxrss=777)

    monkeypatch.setattr(resource, "getrusage", usage)
    _use_status(monkeypatch, tmp_path / "missing")
    monkeypatch.setattr(sys, "platform", platform)
    assert peak_memory_bytes() == 777 * unit
    assert asked == [resource.RUSAGE_SELF]


def test_where_the_system_does_not_say_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "resource", None)  # importing it fails, as on Windows
    assert peak_memory_bytes() is None


def test_gpu_memory_is_what_pytorch_has_held(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert peak_gpu_memory_bytes() is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 4321.0)
    assert peak_gpu_memory_bytes() == 4321
