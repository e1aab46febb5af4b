"""The connection to Ray: a cluster that is there, or one of this machine for as long as it is needed."""

import os
import signal
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tanzaku.errors import ProcessError, TanzakuWarning, describe_os_error
from tanzaku.extras import require_extra
from tanzaku.study.engines.options import RayOptions
from tanzaku.study.process import FAILED, UNWRITABLE, Ended
from tanzaku.threads import settled_threads

# Ray reports how it is used to its makers, unless told not to; and announces what a later version does with GPUs.
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

POLL_SECONDS = 0.3
STOP_SECONDS = 120.0  # that workers have to save a checkpoint
RETRIES = 3
GIVEN_UP = Ended(FAILED, f"its worker or its machine died {RETRIES + 1} times; usually memory had run out")


class Attempts:
    """How often Ray has begun each task: it would repeat without end what it ends for lack of memory."""

    def __init__(self) -> None:
        self._begun = Counter[str]()

    def __contains__(self, name: str) -> bool:
        """Whether a task has begun."""
        return name in self._begun

    def begin(self, name: str) -> bool:
        """Take note that a task begins; False if it is to be given up instead, as `GIVEN_UP`."""
        self._begun[name] += 1
        return self._begun[name] <= RETRIES + 1

    def forget(self, name: str) -> None:
        """A task has ended."""
        self._begun.pop(name, None)


def result_of(task: Any, *, name: str) -> Any:
    """What a task that has ended gave; `Ended` if its workers or machines died, or the system gave one an error.

    Args:
        task: The task.
        name: What it made, for the error, such as "a trial".

    Raises:
        ray.exceptions.TaskCancelledError: It was cancelled.
        ProcessError: Ray can't make it.
    """
    import ray

    try:
        return ray.get(task)
    except ray.exceptions.TaskCancelledError:
        raise
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError):
        return GIVEN_UP
    except ray.exceptions.RayError as error:
        if isinstance(error, ray.exceptions.RayTaskError) and isinstance(error.cause, OSError):
            return Ended(UNWRITABLE, describe_os_error(error.cause))
        raise ProcessError(
            f"Ray can't make {name}: {str(error).strip().splitlines()[-1]}. Every machine of the cluster needs the "
            "same versions of Python, Ray and Tanzaku. What has ended is safe"
        ) from error


class Cluster:
    """A connection to Ray.

    Args:
        address: Of a cluster; None starts Ray on this machine, with a CPU for each of `settled_threads`. Where this
            process is connected already, that connection is used, and kept.
    """

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._ours = False

    def connect(self, *, cpus: int, gpus: float = 0.0, memory: int = 0) -> None:
        """Connect, and make sure that there is a machine with room for a task of this size.

        Raises:
            TanzakuError: Ray is not installed.
            ProcessError: The cluster can't be reached, or no machine has room.
        """
        require_extra("ray", purpose="--engine ray")
        import ray

        if not ray.is_initialized():
            for name, value in SETTINGS.items():
                os.environ.setdefault(name, value)
            with kept_sigterm(), _errors(self._address):
                ray.init(
                    address=self._address or "local",
                    num_cpus=settled_threads() if self._address is None else None,
                    include_dashboard=False if self._address is None else None,
                    log_to_driver=False,
                    logging_level="ERROR",
                )
            self._ours = True
        try:
            self._check_room(cpus=cpus, gpus=gpus, memory=memory)
        except BaseException:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """Leave the cluster, and end it if it was started here."""
        import ray

        if self._ours:
            ray.shutdown()
            self._ours = False

    @staticmethod
    def actor_here(kind: type) -> Any:
        """An actor on this machine, which needs no CPU."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        return ray.remote(kind).options(num_cpus=0, scheduling_strategy=here).remote()

    def _check_room(self, *, cpus: int, gpus: float, memory: int) -> None:
        machines = _machines()
        wanted = {"CPU": cpus, "GPU": gpus, "memory": memory}
        if not any(all(machine.get(name, 0) >= count for name, count in wanted.items()) for machine in machines):
            most = {name: max((machine.get(name, 0) for machine in machines), default=0) for name in wanted}
            problem = (
                f"no machine of the Ray cluster has room for {_described(wanted)}; the most that one has is "
                f"{_described(most)}"
            )
            if self._address is None:
                raise ProcessError(
                    f"{problem}. Give --cpus-per-run, --gpus-per-run or --memory-per-run a smaller value"
                )
            warnings.warn(f"{problem}. Waiting for a machine that has it", TanzakuWarning, stacklevel=4)
        if not gpus and (there := sum(machine.get("GPU", 0) for machine in machines)):
            warnings.warn(
                f"the Ray cluster has {there:g} GPUs, and nothing here uses one; give --gpus-per-run",
                TanzakuWarning,
                stacklevel=4,
            )


@contextmanager
def connected(options: RayOptions | None) -> Iterator[None]:
    """Keep one connection to Ray for several engines with these options; None needs none."""
    if options is None:
        yield
        return
    cluster = Cluster(options.address)
    cluster.connect(cpus=options.cpus_per_run or 1, gpus=options.gpus_per_run, memory=options.memory_per_run or 0)
    try:
        yield
    finally:
        cluster.disconnect()


def room(options: RayOptions, *, jobs: int | None) -> int:
    """How many runs the machines of the connected cluster can make at the same time, 1 or more.

    Args:
        options: What a run takes of the machines.
        jobs: How many at the same time were asked for, if a number was.
    """
    wanted = {
        "CPU": options.threads_per_run(jobs),
        "GPU": options.gpus_per_run,
        "memory": options.memory_per_run or 0,
    }
    taken = {name: count for name, count in wanted.items() if count}
    fit = (min(int(machine.get(name, 0) / count) for name, count in taken.items()) for machine in _machines())
    return max(1, sum(fit))


def _machines() -> list[dict[str, float]]:
    """The resources of each machine of the cluster, by their names."""
    import ray

    return [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]


def _described(resources: dict[str, float]) -> str:
    return f"{resources['CPU']:g} CPUs, {resources['GPU']:g} GPUs and {resources['memory'] / 1e9:.1f} GB of memory"


@contextmanager
def kept_sigterm() -> Iterator[None]:
    """Ray exchanges the handler, with which a study saves its checkpoints."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def _errors(address: str | None) -> Iterator[None]:
    try:
        yield
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        if address is None:
            raise ProcessError(f"Ray can't be started on this machine: {error}") from error
        raise ProcessError(
            f"the Ray cluster {address} can't be used: {error}. Give --address the host and port of its head, which "
            "`ray start --head` prints, or leave it out to use only this machine"
        ) from error
