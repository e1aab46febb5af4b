"""What is measured in a process of its own: the processes before it leave nothing behind there."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_ROOT = Path(__file__).parents[1]


def said_by(module: str, *arguments: str) -> str:
    """The standard output of `python -m module arguments`, in the repository's root; see `output_of`."""
    return output_of([sys.executable, "-m", module, *arguments])


def output_of(command: Sequence[str], *, folder: Path = _ROOT, environment: Mapping[str, str] | None = None) -> str:
    """The standard output of a command.

    Args:
        command: The program and its arguments.
        folder: In which it runs.
        environment: Its variables; None takes those of this process.

    Raises:
        RuntimeError: The process failed; the message ends with what it said.
    """
    finished = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    if finished.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{finished.stderr[-2000:]}")
    return finished.stdout
