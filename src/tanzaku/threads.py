"""How many threads compute, and how they wait for each other: settled before PyTorch is loaded, which imports nothing.

OpenMP reads both from the environment when it is loaded, and processes that are started later inherit them.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Threads that spin while they wait for each other make a step many times slower as soon as another program wants a core
# too: the one that is waited for can't run while the others spin.
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_SIBLINGS = "/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list"
_OWN_CGROUPS = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")


def settle_threads(threads: int | None = None) -> None:
    """Have the threads of this process, and of those that it starts, wait passively, and settle how many they are.

    The user's own OMP_WAIT_POLICY is left as it is, and OMP_NUM_THREADS too where `threads` is not given.

    Args:
        threads: How many; None takes one for each core that this process may use.
    """
    for name, value in _WAITING.items():
        os.environ.setdefault(name, value)
    if threads is None:
        os.environ.setdefault(_COUNTS[0], str(usable_cores(physical=True)))
        return
    for name in _COUNTS:
        os.environ[name] = str(threads)
    if "torch" in sys.modules:  # has read the environment already
        sys.modules["torch"].set_num_threads(threads)


def settled_threads() -> int:
    """How many threads compute, as the environment says; one for each usable core where it says nothing."""
    given = os.environ.get(_COUNTS[0], "").split(",")[0].strip()  # further numbers are for nested regions
    return int(given) if given.isdecimal() and int(given) > 0 else usable_cores(physical=True)


def threads_of_each(jobs: int | None) -> int | None:
    """How many threads each of so many jobs computes with, which are done at the same time and share those that
    `settled_threads` has. None where one has all of them."""
    return max(1, settled_threads() // jobs) if jobs and jobs > 1 else None


def usable_cores(*, physical: bool = False) -> int:
    """The cores that this process may use: those of its affinity, and no more than its cgroups have processor time for.

    Args:
        physical: Count logical cores that share a physical one once, where the system says which these are.
    """
    cores = _allowed_cores(physical=physical)
    return max(1, min([cores, *(int(quota) for quota in _quotas())]))


def _allowed_cores(*, physical: bool) -> int:
    if not hasattr(os, "sched_getaffinity"):
        logical = os.cpu_count() or 1
        return min(logical, _physical_cores() or logical) if physical else logical
    numbers = os.sched_getaffinity(0)
    if not physical:
        return len(numbers)
    return len({_read(Path(_SIBLINGS.format(number=number))) or str(number) for number in numbers})


def _physical_cores() -> int | None:
    import psutil

    cores: int | None = psutil.cpu_count(logical=False)
    return cores


def _quotas() -> Iterator[float]:
    """The limits in cores of this process's cgroups, of version 1 and 2, and of all that they are part of."""
    for folder in cgroup_folders("cpu"):
        period = _read(folder / "cpu.cfs_period_us")
        limit = _read(folder / "cpu.max") or f"{_read(folder / 'cpu.cfs_quota_us')} {period}"
        quota, _, period = limit.partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:  # "max" or -1 where there is none
            yield int(quota) / int(period)


def cgroup_folders(controller: str) -> Iterator[Path]:
    """The folders of this process's cgroups and of all that they are part of, with the limits of a controller.

    Args:
        controller: As version 1 of cgroups names it, such as "cpu" or "memory". In version 2, all have one folder.
    """
    for line in _read(_OWN_CGROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):  # version 2 names none
            continue
        top = _CGROUPS / controllers
        own = top / path.lstrip("/")
        # In a container the path may be the host's, of which only the top is there.
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(top))


def _read(path: Path) -> str:
    """A small file of the system without white space at its ends; "" where it can't be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
