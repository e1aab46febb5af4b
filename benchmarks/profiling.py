"""On which kinds of operation a measurement's time goes, in a process of its own.

    python -m benchmarks.profiling SCALE MEASUREMENT ...

makes each measurement under PyTorch's profiler, once more to count the arithmetic, and prints what `kinds_of` makes of
both, as JSON.
"""

import gc
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.apart import said_by
from benchmarks.clock import CountingClock, ProfilingClock, kinds_of
from benchmarks.scale import Scale, scale_named
from benchmarks.suite import Measurement, measurements
from tanzaku.encoders.quiet import quiet_transformers


def profiles_of(chosen: Sequence[Measurement], scale: Scale, *, report: Callable[[str], None]) -> list[dict[str, Any]]:
    """The profiled measurements' names and kinds; those of a group have a process together."""
    profiles: list[dict[str, Any]] = []
    names: dict[str, list[str]] = {}
    for one in chosen:
        if one.profiled:
            names.setdefault(one.group, []).append(one.name)
    for group, members in names.items():
        profiles += json.loads(said_by("benchmarks.profiling", scale.name, *members))
        report(f"profiled  {group}")
    return profiles


def _main(scale: str, names: Sequence[str]) -> None:
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
    profiles = []
    for one in measurements(scale_named(scale), texts=None):
        if one.name in names:
            profiling, counting = ProfilingClock(), CountingClock()
            for clock in (profiling, counting):
                gc.collect()
                with quiet_transformers():
                    one.measure(clock=clock)
            profiles.append({"name": one.name, "kinds": kinds_of(profiling.own_seconds(), counting.flops())})
    print(json.dumps(profiles))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2:])
