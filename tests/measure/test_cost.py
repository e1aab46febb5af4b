"""Peak memory is this process's own."""

import subprocess
import sys

import pytest

from tanzaku.measure.cost import peak_memory_bytes

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
