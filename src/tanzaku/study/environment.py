"""What a record says of the machine and the software it was made with."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from tanzaku.machine import describe_machine
from tanzaku.study.record import Environment

_PACKAGES = ("tanzaku", "torch", "transformers", "peft", "tokenizers", "fugashi", "ipadic", "numpy", "scikit-learn")


def now() -> str:
    """The time, ISO 8601 in UTC to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe_environment() -> Environment:
    """The machine, the packages' versions, and the state of the git checkout that the code runs from."""
    machine = describe_machine()
    commit, dirty = _GIT_STATE
    return Environment(
        versions={"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES},
        platform=machine.platform,
        cpu=machine.cpu,
        cores=machine.physical_cores,
        threads=torch.get_num_threads(),
        memory_bytes=machine.memory_bytes,
        gpu=machine.gpu,
        git_commit=commit,
        git_dirty=dirty,
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _git_state() -> tuple[str | None, bool | None]:
    """Commit and whether code in it was changed; (None, None) where Tanzaku runs from no checkout of its own."""
    folder = Path(__file__).parents[1]  # the package
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        # What is not tracked (a prepared corpus, runs) changes no result.
        return commit, bool(_git(folder, "status", "--porcelain", "--untracked-files=no", "--", "."))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _git(folder: Path, *arguments: str) -> str:
    # The package is a checkout's own only where git tracks it: an installed copy inside somebody's repository is not.
    subprocess.run(
        ["git", "-C", str(folder), "ls-files", "--error-unmatch", "__init__.py"], check=True, capture_output=True
    )
    result = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return result.stdout.strip()


# When the code is imported, not when a record is written: what is committed meanwhile is not what ran.
_GIT_STATE = _git_state()
