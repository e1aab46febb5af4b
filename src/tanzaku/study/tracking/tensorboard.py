"""TensorBoard: a folder of event files for each run."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tanzaku.errors import TrackingError, describe_os_error
from tanzaku.study.tracking.content import TrackedRun

_STATE_FILE = "tanzaku.json"  # TensorBoard only reads files with "tfevents" in their names


class TensorBoardTracker:
    """Writes `<folder>/<run's name>/`. What other processes wrote there of the run is replaced, not continued.

    Values are stored as float32, which is all that TensorBoard's scalars hold.
    """

    def __init__(self, destination: str, folder: Path) -> None:
        self.destination = destination
        self._folder = folder
        self._writing: dict[str, tuple[_EventFile, set[tuple[str, int]]]] = {}

    def send(self, run: TrackedRun) -> bool:
        """Add what the run's folder lacks; write a folder that this process did not begin again as a whole.

        Returns:
            Whether anything was written: False if the folder has the whole run, which has ended.

        Raises:
            TrackingError: The folder can't be written, or holds something other than what a tracker wrote.
        """
        from tensorboardX.summary import scalar

        folder = self._folder / run.run_id
        try:
            if run.run_id not in self._writing:
                if _state(folder) == run.digest:
                    return False
                _clear(folder)
                self._writing[run.run_id] = (_begin(folder, run), set())
            writer, written = self._writing[run.run_id]
            for point in run.points:
                if (point.name, point.step) not in written:
                    writer.write(scalar(point.name, point.value), time=point.time, step=point.step)
            written.update((point.name, point.step) for point in run.points)
            writer.flush()
            if run.state != "running":
                self._end(folder, run)
        except OSError as error:
            self._writing.pop(run.run_id, None)
            raise TrackingError(f"TensorBoard's folder {describe_os_error(error)}") from error
        return True

    def send_folders(self, study: str, folders: Mapping[str, Path]) -> None:
        """TensorBoard keeps none.

        Raises:
            TrackingError: There are folders.
        """
        if folders:
            raise TrackingError(f"TensorBoard keeps no files such as {', '.join(folders)}; send them to mlflow:URI")

    def _end(self, folder: Path, run: TrackedRun) -> None:
        from tensorboardX.summary import text as as_text

        writer, _ = self._writing.pop(run.run_id)
        writer.write(as_text("run", _table({**run.tags, "state": run.state})), time=run.ended or time.time())
        writer.close()
        if run.ended is not None:  # an interrupted run will be another one
            (folder / _STATE_FILE).write_text(json.dumps({"digest": run.digest}) + "\n", encoding="utf-8")


class _EventFile:
    """An event file in a folder. Other than tensorboardX's `SummaryWriter`, which leaves that to a thread, it has
    written everything when `flush` returns."""

    def __init__(self, folder: Path) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"))
        self.flush, self.close = self._writer.flush, self._writer.close

    def write(self, summary: Any, *, time: float, step: int = 0) -> None:
        """Append a summary at a time in Unix seconds."""
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time, step=step, summary=summary))


def _begin(folder: Path, run: TrackedRun) -> _EventFile:
    from tensorboardX.summary import hparams
    from tensorboardX.summary import text as as_text

    file, now = _EventFile(folder), run.points[0].time if run.points else time.time()
    # As `SummaryWriter.add_hparams`, which would put the run into a folder below this one.
    metrics = dict.fromkeys(("final/test/accuracy", "final/test/macro_f1", "final/costs/saved_bytes"), 0.0)
    for summary in hparams({name: _plain(value) for name, value in run.parameters.items()}, metrics):
        file.write(summary, time=now)
    file.write(as_text("parameters", _table(run.parameters)), time=now)
    return file


def _clear(folder: Path) -> None:
    """Remove what a tracker wrote for a run, and nothing else: FOLDER may be that of the study itself."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    ours = [path for path in files if path.is_file() and (path.name == _STATE_FILE or "tfevents" in path.name)]
    if others := [path.name for path in files if path not in ours]:
        raise TrackingError(
            f"{folder} holds files that are not TensorBoard's, such as {others[0]}; give another folder, as in "
            f"tensorboard:{folder.parent / 'tensorboard'}"
        )
    for path in ours:
        path.unlink()


def _state(folder: Path) -> str | None:
    """The checksum of what the folder holds of a run that has ended."""
    try:
        digest = json.loads((folder / _STATE_FILE).read_text(encoding="utf-8"))["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(digest)


def _plain(value: str) -> Any:
    """A number or a truth value as such: the table of parameters sorts and filters by it."""
    try:
        plain = json.loads(value)
    except ValueError:
        return value
    return plain if isinstance(plain, bool | int | float) else value


def _table(content: Mapping[str, str]) -> str:
    rows = (f"| {name} | {' '.join(value.split()).replace('|', '&#124;')} |" for name, value in content.items())
    return "\n".join(["| name | value |", "| --- | --- |", *rows])
