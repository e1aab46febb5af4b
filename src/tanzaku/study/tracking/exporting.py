"""Sends the runs of a folder or an archive to a tracker, whenever they were made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tanzaku.errors import RecordError, TrackingError
from tanzaku.study.runs import StoredRun, stored_runs
from tanzaku.study.tracking.content import ended_run
from tanzaku.study.tracking.following import MOST_IN_A_ROW
from tanzaku.study.tracking.tracker import Tracker, open_trackers


@dataclass(frozen=True)
class Exported:
    """How many runs a tracker got."""

    sent: int
    already_there: int
    """It had them, and they were not sent again."""


def export_runs(
    runs: Path,
    to: str,
    *,
    every: bool = False,
    folders: Mapping[str, Path] | None = None,
) -> Exported:
    """Send every run that has ended; what the tracker has already is not sent again.

    Args:
        runs: A study's folder, an archive, or a folder above several.
        to: The tracker, as in `open_trackers`.
        every: Also runs that are none of their study's as it is specified; see `stored_runs`.
        folders: The report and the bundle, by the names that they get in the tracker.

    Raises:
        RecordError: There is no run, or a record is damaged.
        TrackingError: The tracker can't be reached or refuses something, the predictions of a run are damaged (all
            others are sent before), or the folders belong to no one study.
    """
    (tracker,) = open_trackers([to], runs=runs)
    stored = stored_runs(runs, every=every)
    studies = sorted({run.record.study for run in stored})
    if folders and len(studies) > 1:
        raise TrackingError(
            f"{runs} has the runs of several studies ({', '.join(studies)}), and a report or a bundle belongs to one; "
            "give the folder of one study"
        )
    for missing in (folder for folder in (folders or {}).values() if not folder.is_dir()):
        raise TrackingError(f"{missing}: there is no such folder to send")
    if folders:
        tracker.send_folders(studies[0], folders)
    return _send(stored, tracker)


def _send(stored: Sequence[StoredRun], tracker: Tracker) -> Exported:
    """Send what can be sent, and then say what could not."""
    sent: list[bool] = []
    damaged: list[Exception] = []
    failures: list[Exception] = []
    in_a_row = 0
    for run in stored:
        try:
            sent.append(tracker.send(ended_run(run)))
            in_a_row = 0
        except RecordError as error:
            damaged.append(error)
        except TrackingError as error:
            failures.append(error)
            in_a_row += 1
            if in_a_row == MOST_IN_A_ROW:
                break
    done = Exported(sum(sent), already_there=len(sent) - sum(sent))
    if failures or damaged:
        reasons = ". ".join(map(str, [*failures[:1], *damaged[:1]]))
        raise TrackingError(
            f"{reasons}. Of {len(stored)} runs, {done.sent} were sent and {done.already_there} were there already; "
            "once the cause is gone, the same command sends the others"
        )
    return done
