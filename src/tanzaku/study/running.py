"""A whole study from one call, as `tanzaku study run` makes it."""

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tanzaku.data.loading import load_dataset
from tanzaku.errors import SpecError
from tanzaku.files import check_writable
from tanzaku.study.archive import check_no_archive
from tanzaku.study.engine import RunEnds, StudyEvent, make_runs
from tanzaku.study.engines.options import RayOptions
from tanzaku.study.expansion import expand, parse_study, read_study
from tanzaku.study.listing import RUNS_FOLDER, ListedRun, StudyList, write_list
from tanzaku.study.making import Shown
from tanzaku.study.planned import PlannedRun
from tanzaku.study.record import RunRecord
from tanzaku.study.spec import StudySpec
from tanzaku.study.study_file import has_none, study_toml
from tanzaku.study.tracking.following import Following
from tanzaku.study.tracking.tracker import open_trackers

if TYPE_CHECKING:
    from tanzaku.study.plan import Plan


@dataclass(frozen=True)
class StudyStarts:
    """The study can be made: encoder and documents are there."""

    runs: tuple[ListedRun, ...]
    """Of this call, in their order."""
    listed: StudyList
    """The study's list in the folder, which is another one where overrides only try something out."""


def run_study(
    study: str | Path | Mapping[str, Any] | StudySpec,
    *,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    retry_failed: bool = False,
    jobs: int | None = None,
    ray: RayOptions | None = None,
    shown: Shown | None = None,
    processes_per_run: int = 1,
    track: Sequence[str] = (),
    listener: Callable[[StudyStarts | StudyEvent], None] = lambda _: None,
) -> list[RunRecord]:
    """Make the runs of a study, each in a process of its own; what is finished already is not made again.

    The same call resumes an interrupted study. A failed run does not stop the others: look at `RunRecord.status`.

    Args:
        study: The path of a study file, a dictionary with the same keys, or what `read_study` returned.
        out: Folder for the runs; None takes `runs/` and the study's name.
        overrides: Changes to the study, such as `"training.epochs=2"`, in the order in which they are applied.
        retry_failed: Make runs again that failed before.
        jobs: How many runs at the same time; see `make_runs`.
        ray: Makes the runs on Ray; see `make_runs`.
        shown: What the runs print; see `make_runs`.
        processes_per_run: How many processes train each run with an encoder together, each on a share of every batch.
        track: Where to send the runs while they are made: `"tensorboard"`, `"tensorboard:FOLDER"` or `"mlflow:URI"`.
        listener: Called with each event: the study starts; a run starts, ends, or is being made by another process.

    Returns:
        The records, in the order of the study's arms and seeds.

    Raises:
        TanzakuError: The study, its data, its encoder or a destination can't be used, or a number is too small.
        ProcessError: Nothing more can be written to `out`, or Ray can't be used; what has ended is safe.
        OSError: `out` can't be written.
        StudyInterrupted: Ctrl-C asked the runs or a pretraining to stop; their checkpoints are saved.
    """
    spec = _read(study, overrides)
    folder = Path(out) if out is not None else RUNS_FOLDER / spec.name
    trackers = open_trackers(track, runs=folder)
    _check(folder, jobs=jobs, processes_per_run=processes_per_run)
    plan = _plan(spec, folder, processes_per_run)
    runs = _listed(plan.runs)
    listener(StudyStarts(runs, _write_list(folder, spec, overrides, runs)))
    options: dict[str, Any] = {"retry_failed": retry_failed, "jobs": jobs, "ray": ray, "shown": shown}
    with Following(trackers, folder=folder, study=spec.name) as follow:
        events = make_runs(plan.runs, dataset=plan.dataset, study=spec.name, **options)
        records = _hear(events, follow, listener)
    return [records[run.name] for run in runs]


def _check(folder: Path, **numbers: int | None) -> None:
    check_writable(folder)
    check_no_archive(folder)
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise SpecError(f"{name} = {number}; give 1 or more")


def _plan(spec: StudySpec, folder: Path, processes: int) -> "Plan":
    dataset = load_dataset(spec.data.source)
    from tanzaku.study.plan import plan_study  # imports PyTorch: after the cheap checks

    return plan_study(spec, dataset=dataset, out=folder, progress=True, processes=processes)


def _hear(events: Iterable[StudyEvent], *listeners: Callable[[StudyEvent], None]) -> dict[str, RunRecord]:
    """Tell each event to the listeners, in their order; gives the records by the runs' names."""
    records: dict[str, RunRecord] = {}
    for event in events:
        for listener in listeners:
            listener(event)
        if isinstance(event, RunEnds):
            records[event.run.run_id] = event.record
    return records


def _listed(runs: Sequence[PlannedRun]) -> tuple[ListedRun, ...]:
    return tuple(ListedRun(name=run.run_id, kind=run.spec.kind, method=run.spec.method_name) for run in runs)


def _write_list(folder: Path, spec: StudySpec, overrides: Sequence[str], runs: tuple[ListedRun, ...]) -> StudyList:
    file = spec.model_dump(mode="json", exclude_unset=True)
    return write_list(folder, StudyList(study=spec.name, overrides=tuple(overrides), file=file, runs=runs))


def _read(study: str | Path | Mapping[str, Any] | StudySpec, overrides: Sequence[str]) -> StudySpec:
    match study:
        case StudySpec():
            return _parsed(study.model_dump(mode="json", exclude_unset=True), overrides)
        case str() | Path():
            return read_study(study, overrides=overrides)
    return _parsed(study, overrides)


def _parsed(content: Mapping[str, Any], overrides: Sequence[str]) -> StudySpec:
    """A study from Python, in which None may stand where a study file has no word for it.

    Raises:
        SpecError: A study file can't say the same.
    """
    spec = parse_study(content, overrides=overrides)
    if not has_none(content):
        return spec
    written = tomllib.loads(study_toml(spec.model_dump(mode="json", exclude_unset=True)))
    if {run.model_dump_json() for run in expand(parse_study(written))} != {
        run.model_dump_json() for run in expand(spec)
    }:
        raise SpecError(
            "the study: a study file can't say None for a setting that is not None by default, or that the recipe "
            "sets, so the study could not be archived; give another value, such as patience = epochs"
        )
    return spec
