"""The quickstart's training by `tanzaku study run`: on an idle machine, and beside processes that want its cores."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.apart import output_of

QUICKSTART = Path(__file__).parents[1] / "studies" / "quickstart.toml"
# One arm of the study, and few epochs of it.
ARM = (
    'arms=[{method = "lora", rank = 8, targets = "all-linear", learning_rate = 5e-4, head_learning_rate = 2e-3}]',
    "training.epochs=2",
)
# What spins as long as it waits: OpenMP's own word for it.
SPINNING = {"OMP_WAIT_POLICY": "ACTIVE"}
_OURS_TO_SET = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def training_seconds(overrides: Sequence[str] = ARM, *, environment: Mapping[str, str] | None = None) -> float:
    """The seconds that the training took, without evaluation, of the study's one run.

    Args:
        overrides: Of the quickstart's values, as `--set` takes them.
        environment: Variables to set; none of OpenMP's is taken over from this process.

    Raises:
        RuntimeError: The run failed; the message ends with what it said.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _OURS_TO_SET}
    with TemporaryDirectory() as folder:
        sets = [part for override in overrides for part in ("--set", override)]
        command = [sys.executable, "-m", "tanzaku", "study", "run", str(QUICKSTART), "--out", folder, *sets]
        output_of(command, environment=kept | dict(environment or {}))
        (record,) = Path(folder).glob("*/record.json")
        return float(json.loads(record.read_text(encoding="utf-8"))["costs"]["train_seconds"])


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """So many processes that compute on one thread without end, as long as this lasts."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
