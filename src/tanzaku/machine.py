"""What this machine has: cores, memory, low-precision arithmetic, a GPU. Detected, never assumed."""

import ctypes
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tanzaku.threads import cgroup_folders, usable_cores

# As Linux spells them in /proc/cpuinfo: x86's AVX512-BF16 and AMX, ARM's BF16 extension.
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}
# What the speed of a matrix product depends on, from the oldest to the newest.
_VECTOR_FLAGS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
    "svebf16",
    "svei8mm",
)
_8_BIT_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}
_CPU_NAME_KEYS = ("model name", "hardware", "cpu model")
_CPUINFO = Path("/proc/cpuinfo")
_CGROUP_LIMITS = ("memory.max", "memory.limit_in_bytes")  # of version 2 and 1

# glibc's <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER_TRIM = 2**31 - 1


@dataclass(frozen=True)
class Machine:
    """The facts of a machine that speed and memory depend on."""

    platform: str  # operating system, its version and the architecture
    python: str  # such as "3.11.9"
    cpu: str  # the processor's name
    physical_cores: int
    logical_cores: int  # that this process may use, which a container or taskset may have cut
    torch_threads: int  # that PyTorch computes one operation with
    memory_bytes: int  # that this process may use, which a container may have cut
    cpu_bfloat16: bool  # bfloat16 in the processor's own instructions, not emulated
    gpu: str | None  # the first GPU's name
    gpu_memory_bytes: int | None
    gpu_bfloat16: bool | None


def describe_machine() -> Machine:
    """Look at this machine; imports PyTorch."""
    import torch

    gpu, gpu_memory_bytes, gpu_bfloat16 = _gpu()
    logical = usable_cores()
    return Machine(
        platform=platform.platform(),
        python=platform.python_version(),
        cpu=cpu_name(),
        # A virtual machine may hide which threads share a core.
        physical_cores=min(usable_cores(physical=True), logical),
        logical_cores=logical,
        torch_threads=torch.get_num_threads(),
        memory_bytes=_memory_bytes(),
        cpu_bfloat16=_cpu_bfloat16(),
        gpu=gpu,
        gpu_memory_bytes=gpu_memory_bytes,
        gpu_bfloat16=gpu_bfloat16,
    )


def keep_freed_memory() -> None:
    """Have the C library keep the memory that tensors free, where it is glibc.

    Otherwise each large tensor is mapped again, and the kernel clears every page of it at the first touch: this made
    steps of a small encoder a tenth shorter.
    """
    if (library := _glibc()) is not None:
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM)


def release_freed_memory() -> None:
    """Have the C library return the memory that tensors freed to the system, where it is glibc.

    It keeps what lies below memory that is still in use: after the larger batches of an evaluation that was a third of
    a small encoder's training.
    """
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" and platform.libc_ver()[0] == "glibc" else None


def _memory_bytes() -> int:
    """The machine's memory, or the lowest limit of this process's cgroups and of all that they are part of."""
    return min([int(psutil.virtual_memory().total), *_memory_limits()])


def _memory_limits() -> Iterator[int]:
    for folder in cgroup_folders("memory"):
        for name in _CGROUP_LIMITS:
            try:
                limit = (folder / name).read_text(encoding="ascii").strip()
            except OSError:
                continue
            if limit.isdecimal():  # "max" where there is none
                yield int(limit)


def cpu_name() -> str:
    """The processor's name, as the system has it."""
    facts = _cpuinfo()
    for key in _CPU_NAME_KEYS:
        if facts.get(key):
            return facts[key]
    return _sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine()


def cpu_vector_features() -> tuple[str, ...]:
    """The processor's vector and matrix instructions, as Linux spells them; none where the system doesn't say."""
    flags = _cpu_flags()
    return tuple(flag for flag in _VECTOR_FLAGS if flag in flags)


def multiplies_8_bits() -> bool:
    """Whether the processor has instructions for sums of products of 8-bit integers; true where nothing is known."""
    flags = _cpu_flags()
    return not flags or not _8_BIT_FLAGS.isdisjoint(flags)


def _cpu_bfloat16() -> bool:
    if flags := _cpu_flags():
        return bool(flags & _BFLOAT16_FLAGS)
    if platform.system() == "Darwin":
        return _sysctl("hw.optional.arm.FEAT_BF16") == "1"
    return platform.system() == "Windows" and _windows_bfloat16()


def _cpu_flags() -> set[str]:
    """All that Linux says of the processor's instructions; empty where the system doesn't say."""
    facts = _cpuinfo()
    return set(facts.get("flags", facts.get("features", "")).split())


def _cpuinfo() -> dict[str, str]:
    """The first processor's entries in /proc/cpuinfo, keys in lower case; empty where there is none."""
    try:
        first = _CPUINFO.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _sysctl(name: str) -> str | None:
    if platform.system() != "Darwin":
        return None
    try:
        result = subprocess.run(["sysctl", "-n", name], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip() or None


def _windows_bfloat16() -> bool:
    """Asks PyTorch, which knows x86's instructions; on ARM nobody tells, and then it counts as missing."""
    import torch

    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())


def _gpu() -> tuple[str | None, int | None, bool | None]:
    """Name, memory in bytes, and native bfloat16 of the first CUDA GPU; Tanzaku computes on no other kind."""
    import torch

    if torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(0)
        return facts.name, int(facts.total_memory), torch.cuda.is_bf16_supported(including_emulation=False)
    return None, None, None
