"""How far the runs of a study are, and how long those to come will take."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from tanzaku.errors import RecordError
from tanzaku.study.archive import is_archive, read_archive
from tanzaku.study.listing import ListedRun, read_list
from tanzaku.study.record import LOG_FILE, RECORD_FILE, FinishedRun, RunRecord, read_record
from tanzaku.study.runs import record_folders

LOCK_FILE = "lock"
_TAIL_BYTES = 4096  # of a log: its last line is shorter

State = Literal["finished", "failed", "running", "interrupted", "waiting"]


@dataclass(frozen=True)
class Progress:
    """How far a run is that is being made; its text is such as "epoch 2, step 120 of 300"."""

    epoch: int
    step: int
    total_steps: int
    seconds_left: float | None = None
    """Until the last step, at the speed of the last steps and without validation; None after only one step, and where
    the last steps say nothing of those to come."""
    seconds_in_all: float | None = None
    """From the first step to the last, at the same speed."""

    def __str__(self) -> str:
        return f"epoch {self.epoch}, step {self.step:,} of {self.total_steps:,}"


@dataclass(frozen=True)
class RunState:
    """How far a run is."""

    name: str
    state: State
    record: RunRecord | None = None
    progress: Progress | None = None
    """Of a running one that has made a step."""
    listed: bool = True
    """Whether it is one of the study's, as opposed to one that other settings made in the same folder."""


def run_states(folder: Path) -> list[RunState]:
    """How far each run in a study's folder is: the study's runs in their order, then others by name.

    A run that an archive lacks is waiting.

    Raises:
        RecordError: A record is damaged, or there is no run.
    """
    study = read_list(folder)
    if is_archive(folder):
        records = {record.run_id: record for record in read_archive(folder).records}
        names = [run.name for run in study.runs] if study else list(records)
        found = [(name, records.get(name)) for name in names]
        return [RunState(name, record.status if record else "waiting", record) for name, record in found]
    listed = {run.name: folder / run.name for run in study.runs} if study else {}
    begun = {path.parent for path in folder.glob(f"*/{LOG_FILE}")}
    there = {path.name: path for path in (*begun, *record_folders(folder, every=True)) if path.name not in listed}
    others = dict(sorted(there.items(), key=lambda item: natural_key(item[0])))
    states = [_state(path, listed=True) for path in listed.values()]
    states += [_state(path, listed=study is None) for path in others.values()]
    if not states:
        what = "it contains no run" if folder.is_dir() else "there is no such folder"
        raise RecordError(f"{folder}: {what}; give the folder that `tanzaku study run` wrote")
    return states


def natural_key(name: str) -> list[tuple[int, float, str]]:
    """Sorts r2 before r128, and lr5e-5 before lr5e-4."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e-?\d+)?)", name)
    return [(1, float(part), "") if place % 2 else (0, 0.0, part) for place, part in enumerate(parts)]


def _state(folder: Path, *, listed: bool) -> RunState:
    if (folder / RECORD_FILE).is_file():
        record = read_record(folder)
        return RunState(folder.name, record.status, record, listed=listed)
    if _is_locked(folder / LOCK_FILE):
        return RunState(folder.name, "running", progress=progress_of(folder), listed=listed)
    return RunState(folder.name, "interrupted" if (folder / LOG_FILE).is_file() else "waiting", listed=listed)


def _is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a run; a process that dies lets it go.

    Two that look at the same time do not take each other for the holder.
    """
    if not path.is_file():
        return False
    try:
        import fcntl
    except ImportError:
        return _is_refused(path)
    try:
        with path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _is_refused(path: Path) -> bool:
    """As `_is_locked` on Windows, where only taking a lock shows whether it is held."""
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def progress_of(folder: Path) -> Progress | None:
    """What the last steps in a run's log say; None where there is none yet."""
    log = folder / LOG_FILE
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - _TAIL_BYTES), os.SEEK_SET)
            lines = handle.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    steps: list[dict[str, Any]] = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:  # it is being written, or begins before the part that was read
            continue
        if not isinstance(event, dict) or event.get("event") not in ("StepDone", "Resumed"):
            continue
        steps = [*steps, event] if event["event"] == "StepDone" else []
    if not steps:
        return None
    last = steps[-1]
    # Between the last step of an epoch and the first of the next one, the validation set is classified.
    pairs = [(one, other) for one, other in pairwise(steps) if not other.get("is_slow")]
    pairs = [(one, other) for one, other in pairs if one["epoch"] == other["epoch"]] or pairs
    made = sum(other["step"] - one["step"] for one, other in pairs)
    took = sum(other.get("time", 0.0) - one.get("time", 0.0) for one, other in pairs)
    step = took / made if made > 0 and took > 0 else None  # a clock may jump
    left, in_all = ((last["total_steps"] - done) * step if step else None for done in (last["step"], 0))
    return Progress(last["epoch"], last["step"], last["total_steps"], left, in_all)


def study_seconds_left(folder: Path) -> float | None:
    """How long the runs of the study in a folder will take that have not ended; see `seconds_left`.

    Raises:
        RecordError: A record or the study's list is damaged, or there is no run.
    """
    study = read_list(folder)
    if study is None:
        return None
    states = {state.name: state for state in run_states(folder) if state.listed}
    records = [state.record for state in states.values() if state.record]
    running = {name: state.progress for name, state in states.items() if state.progress}
    waiting = [run for run in study.runs if not states[run.name].record]
    jobs = sum(state.state == "running" for state in states.values())
    return seconds_left(records, waiting, running=running, jobs=max(1, jobs))


def seconds_left(
    ended: Iterable[RunRecord],
    waiting: Sequence[ListedRun],
    *,
    jobs: int = 1,
    running: Mapping[str, Progress] | None = None,
) -> float | None:
    """How long the runs will take that have not ended.

    A run that is being made takes as long as its steps need at their speed. One that is waiting takes as long as those
    of its arm did, else of its method, else of its kind; if none of its kind has finished, as long as those of its kind
    will take that are being made.

    Args:
        ended: The study's records.
        waiting: The runs that have none, also those that are being made.
        jobs: How many of them are made at the same time.
        running: By name, how far those are that are being made.

    Returns:
        Seconds, or None where nothing is known of the kind of a waiting one (with an encoder, or without).
    """
    finished = [record for record in ended if isinstance(record, FinishedRun)]
    progress = dict(running or {})
    of_arm = _means((arm_of(record.run_id), record.seconds) for record in finished)
    of_method = _means((record.method, record.seconds) for record in finished)
    of_kind = _means((str(record.spec["kind"]), record.seconds) for record in finished)
    being_made = [(run.kind, progress[run.name].seconds_in_all) for run in waiting if run.name in progress]
    of_those = _means((kind, seconds) for kind, seconds in being_made if seconds is not None)
    total = 0.0
    for run in waiting:
        left = progress[run.name].seconds_left if run.name in progress else None
        if left is None:
            like_it = of_kind.get(run.kind, of_those.get(run.kind))
            left = of_arm.get(arm_of(run.name), of_method.get(run.method, like_it))
        if left is None:
            return None
        total += left
    return total / min(jobs, max(1, len(waiting)))


def _means(values: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The mean of the values of each key."""
    of_key: defaultdict[str, list[float]] = defaultdict(list)
    for key, value in values:
        of_key[key].append(value)
    return {key: sum(found) / len(found) for key, found in of_key.items()}


def arm_of(run_id: str) -> str:
    """A run's name without its seed and identity."""
    return re.sub(r"(-s\d+)?-[0-9a-f]+$", "", run_id)
