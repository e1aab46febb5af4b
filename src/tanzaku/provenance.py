"""When, with which versions and from which commit something was made: what every record says of itself."""

import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def now() -> str:
    """The time, ISO 8601 in UTC to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


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
