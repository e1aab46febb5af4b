"""What is measured in a process of its own: the processes before it leave nothing behind there."""

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]


def said_by(module: str, *arguments: str) -> str:
    """The standard output of `python -m module arguments`, in the repository's root.

    Raises:
        RuntimeError: The process failed; the message ends with what it said.
    """
    command = [sys.executable, "-m", module, *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=_ROOT, check=False)
    if finished.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{finished.stderr[-2000:]}")
    return finished.stdout
