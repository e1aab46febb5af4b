"""What trackers get of a run, the same while it is made, when it has ended, and from an archive years later."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from tanzaku.study.naming import flat_settings
from tanzaku.study.planned import PlannedRun
from tanzaku.study.predictions import PREDICTIONS_FILE, VALIDATION_PREDICTIONS_FILE, predictions_text
from tanzaku.study.record import (
    LOG_FILE,
    RECORD_FILE,
    EpochRecord,
    FailedRun,
    FinishedEncoderRun,
    FinishedRun,
    RunRecord,
)
from tanzaku.study.runs import StoredRun
from tanzaku.study.spec import IDENTITY_DIGITS

# Trackers limit what names are made of, and their length; labels may be anything.
_NOT_IN_NAMES = re.compile(r"[^\w-]+")
_LONGEST_PART = 80


@dataclass(frozen=True)
class Point:
    """One value of a metric: at an epoch or an optimiser step, at a time in Unix seconds."""

    name: str
    step: int
    value: float
    time: float


@dataclass(frozen=True)
class TrackedRun:
    """A run as trackers get it."""

    run_id: str
    study: str
    state: Literal["running", "interrupted", "finished", "failed"]
    parameters: Mapping[str, str]
    """The settings, and what the method says of itself, by names with dots."""
    tags: Mapping[str, str]
    points: tuple[Point, ...]
    ended: float | None = None
    """Unix seconds; None while it is made."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The record and the predictions, by their names."""

    @property
    def digest(self) -> str:
        """A checksum of everything, by which a tracker knows what it has already."""
        content: list[Any] = [
            self.run_id,
            self.state,
            *self.parameters.items(),
            *self.tags.items(),
            *self.files.items(),
        ]
        content += [(point.name, point.step, point.value) for point in self.points]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def ended_run(run: StoredRun) -> TrackedRun:
    """A run that has a record. Of a failed one, the epochs are those in its log.

    Raises:
        RecordError: Its predictions are damaged.
    """
    record = run.record
    logged = _logged_epochs(run.folder / LOG_FILE)
    epochs = record.history if isinstance(record, FinishedRun) else [epoch for epoch, _ in logged.values()]
    times = {number: time for number, (_, time) in logged.items()}
    points = [*_epoch_points(epochs, times, started=_seconds(record.started))]
    if isinstance(record, FinishedRun):
        points += _final_points(record, points)
    return TrackedRun(
        run_id=record.run_id,
        study=record.study,
        state=record.status,
        parameters=_parameters(record.spec, record.method_details),
        tags=_tags(record.run_id, record.study, record.spec) | _record_tags(record),
        points=tuple(points),
        ended=_seconds(record.ended),
        files={RECORD_FILE: record.model_dump_json(indent=1) + "\n", **_predictions(run)},
    )


def unfinished_run(planned: PlannedRun, *, study: str, state: Literal["running", "interrupted"]) -> TrackedRun:
    """A run without a record: its settings, and the epochs that its log has."""
    spec = planned.spec.model_dump(mode="json")
    logged = _logged_epochs(planned.folder / LOG_FILE)
    times = {number: time for number, (_, time) in logged.items()}
    return TrackedRun(
        run_id=planned.run_id,
        study=study,
        state=state,
        parameters=_parameters(spec, planned.spec.method.details()),
        tags=_tags(planned.run_id, study, spec),
        points=tuple(_epoch_points([epoch for epoch, _ in logged.values()], times, started=0.0)),
    )


def _logged_epochs(log: Path) -> dict[int, tuple[EpochRecord, float]]:
    """The epochs in a run's log, with the times of their ends; the last of each number, if one was repeated."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # it has none yet, or an archive holds the run
        return {}
    epochs: dict[int, tuple[EpochRecord, float]] = {}
    for line in lines:
        if '"EpochDone"' not in line:
            continue
        try:
            event = json.loads(line)
            epoch = EpochRecord.model_validate(event["result"])
        except (ValueError, KeyError):  # it is being written, or was cut off
            continue
        epochs[epoch.epoch] = (epoch, event["time"])
    return dict(sorted(epochs.items()))


def _epoch_points(epochs: Iterable[EpochRecord], times: Mapping[int, float], *, started: float) -> Iterator[Point]:
    """The metrics of each epoch, whose number is the step. A time that no log has is counted from the start."""
    elapsed = 0.0
    for epoch in epochs:
        elapsed += epoch.train_seconds + epoch.eval_seconds
        time = times.get(epoch.epoch, started + elapsed)
        for name, value in _numbers(epoch.model_dump(exclude={"epoch"}), "epoch"):
            yield Point(name, epoch.epoch, value, time)


def _final_points(record: FinishedRun, of_epochs: list[Point]) -> Iterator[Point]:
    """The training curve by optimiser steps, and what was measured at the end, at the best epoch."""
    ended = _seconds(record.ended)
    ends = [(epoch.steps, point.time) for epoch, point in _with_point(record, of_epochs)]
    for step, loss in record.training_curve:
        yield Point("step/train_loss", step, loss, next((time for last, time in ends if step <= last), ended))
    content = record.model_dump(
        include={"val", "test", "calibration", "costs", "best_epoch", "stopped_early", "partly_read"}
    )
    content["resumptions"] = record.resumptions
    content["rank"] = {str(one.rank): one.model_dump(exclude={"rank"}) for one in record.ranks}
    if isinstance(record, FinishedEncoderRun) and record.encoder.pretraining:
        content["pretraining"] = record.encoder.pretraining.model_dump()
    best = getattr(record, "best_epoch", 0)
    for name, value in _numbers(content, "final"):
        yield Point(name, best, value, ended)


def _with_point(record: FinishedRun, of_epochs: list[Point]) -> Iterator[tuple[EpochRecord, Point]]:
    for epoch in record.history:
        yield epoch, next(point for point in of_epochs if point.step == epoch.epoch)


def _numbers(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    """Every number in nested tables by its path; of an interval, its ends. The confusion matrix is in the record."""
    for part, (key, value) in zip(_parts(content), content.items(), strict=True):
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}/{part}")
        elif key == "accuracy_interval":
            yield from zip((f"{prefix}/accuracy_low", f"{prefix}/accuracy_high"), map(float, value), strict=True)
        elif isinstance(value, int | float):
            yield f"{prefix}/{part}", float(value)


def _parts(keys: Iterable[str]) -> list[str]:
    """The keys as parts of metrics' names, which stay different."""
    parts: list[str] = []
    for number, key in enumerate(keys, start=1):
        part = _NOT_IN_NAMES.sub("_", key)[:_LONGEST_PART]
        parts.append(part if part.strip("_") and part not in parts else f"{part}_{number}")
    return parts


def _parameters(spec: Mapping[str, Any], details: Mapping[str, Any]) -> dict[str, str]:
    return dict(_flat(spec, "")) | dict(_flat(details, "details."))


def _flat(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _tags(run_id: str, study: str, spec: Mapping[str, Any]) -> dict[str, str]:
    return {
        "tanzaku.run_id": run_id,
        "tanzaku.study": study,
        "tanzaku.arm": _arm(spec),
        "tanzaku.method": spec["method"]["name"],
    }


def _arm(spec: Mapping[str, Any]) -> str:
    """The same for all seeds of an arm, and whatever its runs are called: a checksum of the settings."""
    settings = {key: value for key, value in flat_settings(spec).items() if value is not None}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:IDENTITY_DIGITS]


def _record_tags(record: RunRecord) -> dict[str, str]:
    environment = record.environment
    tags = {f"version.{name}": version for name, version in environment.versions.items()}
    tags |= {"platform": environment.platform, "cpu": environment.cpu, "data.fingerprint": record.data.fingerprint}
    if environment.gpu:
        tags["gpu"] = environment.gpu
    if environment.git_commit:
        tags["git.commit"] = environment.git_commit + (" (changed)" if environment.git_dirty else "")
    if isinstance(record, FailedRun):
        tags["error"] = record.error
    return tags


def _predictions(run: StoredRun) -> dict[str, str]:
    tables = {PREDICTIONS_FILE: run.predictions("test"), VALIDATION_PREDICTIONS_FILE: run.predictions("validation")}
    return {name: predictions_text(*table) for name, table in tables.items() if table}


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
