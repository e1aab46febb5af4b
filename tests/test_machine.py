import os
import platform
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import psutil
import pytest
import torch

import tanzaku.threads
from tanzaku.machine import Machine, describe_machine, multiplies_8_bits

_HOLDS_FREED_MEMORY = """
import psutil
from tanzaku.machine import release_freed_memory
process = psutil.Process()
pieces = [bytearray(64_000) for _ in range(3_000)]  # too small to be mapped by themselves
last = bytearray(64_000)
del pieces
before = process.memory_info().rss
release_freed_memory()
print(before - process.memory_info().rss)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no malloc_trim")
def test_memory_that_was_freed_goes_back_to_the_system() -> None:
    """Of 192 MB below a piece that is still in use, in a process with a heap of its own."""
    done = subprocess.run([sys.executable, "-c", _HOLDS_FREED_MEMORY], check=True, capture_output=True, text=True)
    assert int(done.stdout) > 100_000_000


@pytest.fixture(scope="module")
def machine() -> Machine:
    return describe_machine()


def test_facts_are_this_machines(machine: Machine) -> None:
    assert machine.python == platform.python_version()
    assert machine.platform == platform.platform()
    assert machine.cpu
    assert 1 <= machine.physical_cores <= machine.logical_cores <= (os.cpu_count() or 1)
    assert machine.torch_threads == torch.get_num_threads()
    assert 100_000_000 < machine.memory_bytes <= psutil.virtual_memory().total
    with pytest.raises(FrozenInstanceError):
        machine.cpu = "another"  # type: ignore[misc]


def test_a_gpu_is_described_whole_or_not_at_all(machine: Machine) -> None:
    assert (machine.gpu is None) == (machine.gpu_bfloat16 is None)
    assert (machine.gpu is not None) == (torch.cuda.is_available() or torch.backends.mps.is_available())


@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="PyTorch tells this of x86 alone")
def test_bfloat16_is_what_pytorch_finds(machine: Machine) -> None:
    supported = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert machine.cpu_bfloat16 == supported


@pytest.mark.parametrize(
    ("cpuinfo", "name", "bfloat16", "integers"),
    [
        (
            "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 avx512_bf16\n\nprocessor\t: 1\n",
            "Some CPU",
            True,
            False,
        ),
        ("processor\t: 0\nmodel name\t: Old CPU\nflags\t\t: fpu sse2 avx512f avx512_vnni\n", "Old CPU", False, True),
        ("processor\t: 0\nmodel name\t: New CPU\nflags\t\t: fpu amx_tile amx_bf16\n", "New CPU", True, False),
        ("processor\t: 0\nFeatures\t: fp asimd i8mm bf16\n", None, True, True),
        ("processor\t: 0\nFeatures\t: fp asimd\n", None, False, False),
        ("processor\t: 0\nmodel name\t: Older CPU\nflags\t\t: fpu sse2\n", "Older CPU", False, False),
        ("processor\t: 0\n", None, None, True),
    ],
)
def test_proc_cpuinfo_is_read_as_it_stands(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cpuinfo: str,
    name: str | None,
    bfloat16: bool | None,
    integers: bool,
) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo, encoding="utf-8")
    monkeypatch.setattr("tanzaku.machine._CPUINFO", tmp_path / "cpuinfo")
    machine = describe_machine()
    assert multiplies_8_bits() is integers
    assert machine.cpu_bfloat16 is bfloat16 or bfloat16 is None
    assert machine.cpu == name if name else machine.cpu


@pytest.mark.parametrize(
    ("own", "limits", "memory"),
    [
        ("0::/\n", {"memory.max": "123456789\n"}, 123_456_789),
        ("0::/job/step\n", {"job/memory.max": "2000\n", "job/step/memory.max": "max\n"}, 2000),
        ("0::/job/step\n", {"memory.max": "max\n", "job/memory.max": "2000\n", "job/step/memory.max": "500\n"}, 500),
        ("0::/job/step\n", {"job/memory.max": "500\n", "job/step/memory.max": "2000\n"}, 500),
        ("0::/job\n", {"other/memory.max": "500\n"}, None),
        ("0::/host/path\n", {"memory.max": "500\n"}, 500),  # in a container only the top is there
        ("0::/\n", {"memory.max": "max\n"}, None),
        (
            "4:memory:/slurm/job\n3:cpu,cpuacct:/\n0::/\n",
            {
                "memory/memory.limit_in_bytes": "9223372036854771712\n",  # how version 1 writes that there is none
                "memory/slurm/job/memory.limit_in_bytes": "2000\n",
                "cpu,cpuacct/memory.limit_in_bytes": "500\n",
            },
            2000,
        ),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ("", {}, None),
    ],
)
def test_the_lowest_limit_of_the_processs_own_cgroups_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, limits: dict[str, str], memory: int | None
) -> None:
    (tmp_path / "own").write_text(own, encoding="ascii")
    for name, limit in limits.items():
        path = tmp_path / "cgroups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(limit, encoding="ascii")
    monkeypatch.setattr(tanzaku.threads, "_OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(tanzaku.threads, "_CGROUPS", tmp_path / "cgroups")
    assert describe_machine().memory_bytes == (memory or psutil.virtual_memory().total)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no such call on this system")
def test_cores_are_those_that_the_process_may_use() -> None:
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usable)})
    try:
        machine = describe_machine()
    finally:
        os.sched_setaffinity(0, usable)
    assert (machine.physical_cores, machine.logical_cores) == (1, 1)
