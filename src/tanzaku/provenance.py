"""When, with which versions and from which commit something was made: what every record says of itself."""

import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def now() -> str:
    """The time, ISO 8601 in UTC to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Stopwatch:
    """When something started and ended, ISO 8601 in UTC to the second, so that the difference is what it took even if
    the machine's clock is set meanwhile."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._at = steady_seconds()

    @property
    def started(self) -> str:
        """When the stopwatch was made."""
        return self._started.isoformat(timespec="seconds")

    @property
    def now(self) -> str:
        """The time by the stopwatch."""
        elapsed = timedelta(seconds=steady_seconds() - self._at)
        return (self._started + elapsed).isoformat(timespec="seconds")


def steady_seconds() -> float:
    """Seconds of a clock that is never set, and counts while the machine sleeps if the system has such a one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Python's version and those of `packages`."""
    return {"python": platform.python_version()} | {name: _version(name) for name in packages}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _git_state() -> tuple[str | None, bool | None]:
    package = Path(__file__).parent
    try:
        # The package is a checkout's own only where git tracks it: an installed copy inside somebody's repository is
        # not.
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        # What is not tracked (a prepared corpus, runs) changes no result.
        dirty = bool(_git(package, "status", "--porcelain", "--untracked-files=no", "--", "."))
        return _git(package, "rev-parse", "HEAD"), dirty
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return result.stdout.strip()


# Commit, and whether the package was changed since; (None, None) where Tanzaku runs from no checkout of its own. Read
# when the code is imported, not when a record is written: what is committed meanwhile is not what ran.
GIT_STATE = _git_state()
