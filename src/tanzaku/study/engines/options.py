"""How Ray makes the runs of a study."""

from dataclasses import dataclass

from tanzaku.threads import settled_threads


@dataclass(frozen=True)
class RayOptions:
    """What a run takes of the machines, and where they are.

    Args:
        address: Of a Ray cluster, such as `"ray-head:6379"`, or `"auto"` for the one that this machine belongs to.
            None starts Ray on this machine for the time of the study, with as many CPUs as there are threads.
        cpus_per_run: How many CPUs a run has, and threads it computes with. None is 1; if Ray is started here and
            there is a number of jobs, these share the threads.
        gpus_per_run: How many GPUs a run has; 0.5 lets two runs share one. With 0, runs compute on the CPU.
        memory_per_run: Bytes that are reserved for a run, so that no more runs start on a machine than fit. None
            reserves nothing.
    """

    address: str | None = None
    cpus_per_run: int | None = None
    gpus_per_run: float = 0.0
    memory_per_run: int | None = None

    def threads_per_run(self, jobs: int | None) -> int:
        """How many threads a run computes with, and CPUs it takes, if so many runs are made at the same time."""
        share = max(1, settled_threads() // jobs) if jobs and self.address is None else 1
        return self.cpus_per_run or share
