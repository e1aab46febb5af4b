"""What every tracker offers, and how a destination such as `mlflow:http://host:5000` names one."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tanzaku.errors import TrackingError
from tanzaku.extras import require_extra
from tanzaku.study.tracking.content import TrackedRun

TENSORBOARD_FOLDER = "tensorboard"  # in the folder of the runs, where none is given


class Tracker(Protocol):
    """Keeps runs where people compare them. Everything may be sent again: nothing is kept twice."""

    destination: str
    """As the user names it."""

    def send(self, run: TrackedRun) -> bool:
        """Keep the run as it is now; False if it was there already, and nothing was sent.

        Raises:
            TrackingError: The tracker can't be reached, or refuses the run.
        """

    def send_folders(self, study: str, folders: Mapping[str, Path]) -> None:
        """Keep folders, such as the report, that belong to a whole study.

        Raises:
            TrackingError: The tracker can't be reached, or keeps no files.
        """


def open_trackers(destinations: Sequence[str], *, runs: Path) -> list[Tracker]:
    """The trackers of `--track` and `--to`; none is contacted yet.

    Args:
        destinations: `tensorboard`, `tensorboard:FOLDER`, `mlflow` or `mlflow:URI`.
        runs: The study's folder; TensorBoard's is below it where none is given.

    Raises:
        TrackingError: A destination is none of these.
        TanzakuError: The package that it needs is not installed.
    """
    return [_open(destination, runs) for destination in dict.fromkeys(destinations)]


def _open(destination: str, runs: Path) -> Tracker:
    kind, _, place = destination.partition(":")
    match kind:
        case "tensorboard":
            require_extra("tensorboard", purpose="writing for TensorBoard")
            from tanzaku.study.tracking.tensorboard import TensorBoardTracker

            return TensorBoardTracker(destination, Path(place) if place else runs / TENSORBOARD_FOLDER)
        case "mlflow":
            uri = place or os.environ.get("MLFLOW_TRACKING_URI", "")
            if not uri:
                raise TrackingError(
                    f"{destination!r} says no address: give it as in mlflow:http://localhost:5000 or "
                    "mlflow:sqlite:///mlflow.db, or set MLFLOW_TRACKING_URI"
                )
            from tanzaku.study.tracking.mlflow import MlflowTracker

            return MlflowTracker(destination, uri)
    raise TrackingError(
        f"there is no tracker {kind!r} (in {destination!r}); valid: tensorboard, tensorboard:FOLDER, mlflow:URI, or "
        "mlflow with MLFLOW_TRACKING_URI"
    )
