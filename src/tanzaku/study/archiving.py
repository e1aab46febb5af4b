"""From a study's folder to its archive, and back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tanzaku.data.raw import listed as in_words
from tanzaku.errors import RecordError
from tanzaku.files import atomic_folder, folder_bytes
from tanzaku.study.archive import (
    ARCHIVED_PREDICTIONS_FILE,
    ARCHIVED_RUNS_FILE,
    ARCHIVED_STUDY_FILE,
    PredictionKey,
    Split,
    archived_predictions,
    archived_record,
    check_no_archive,
    is_archive,
    read_archive,
    short_paths,
    without_folders,
)
from tanzaku.study.expansion import read_study
from tanzaku.study.listing import RUNS_FOLDER, STUDY_FILE, ListedRun, StudyList, read_list, write_list
from tanzaku.study.predictions import StoredPredictions, write_predictions
from tanzaku.study.record import LOG_FILE, RECORD_FILE, FinishedRun, RunRecord, write_record
from tanzaku.study.runs import StoredRun
from tanzaku.study.spec import IDENTITY_DIGITS, StudySpec
from tanzaku.study.states import RunState, run_states
from tanzaku.study.study_file import study_toml
from tanzaku.study.tune.record import TUNED_FILE, TUNING_FILE

RECORDS_FOLDER = Path("records")
_IDENTITY = re.compile(rf"-[0-9a-f]{{{IDENTITY_DIGITS}}}$")  # at the end of a run's name


@dataclass(frozen=True)
class Archived:
    """What an archive holds."""

    folder: Path
    finished: int
    failed: int
    left_out: tuple[RunState, ...]
    """Runs of the study that have not ended."""
    with_predictions: int
    """Runs that have predictions of the test set."""
    size_bytes: int


def archive_study(runs: Path, out: Path | None = None, *, unfinished: bool = False, replace: bool = False) -> Archived:
    """Write the archive of a study's folder, as a whole or not at all.

    Args:
        runs: The folder that `run_study` wrote. Runs in it that are none of the study's are left out.
        out: The archive's folder; None takes `records/` and the study's name.
        unfinished: Archive the runs that have ended, although others have not.
        replace: Replace an archive that lies in `out`; other files there stay.

    Raises:
        RecordError: A run has not ended, a record or predictions are damaged, `runs` is not a study's folder, or `out`
            is an archive and `replace` is not set.
        TanzakuError: Something else lies in `out`.
        OSError: `out` can't be written.
    """
    study = _study_of(runs)
    states = [state for state in run_states(runs) if state.listed]
    left_out = tuple(state for state in states if state.record is None)
    if left_out and (not unfinished or len(left_out) == len(states)):
        raise _not_ended(left_out, of=len(states), runs=runs)
    stored = [StoredRun(state.record, runs / state.name) for state in states if state.record]
    stored.sort(key=lambda run: run.folder)
    predictions = _predictions_of(stored)
    out = out if out is not None else RECORDS_FOLDER / study.study
    settings = {name: value for name, value in study.file.items() if name != "description"}
    paths = short_paths([settings, *(run.record.spec for run in stored)])
    file = study.file | without_folders(settings, paths)
    if is_archive(out) and not replace:
        raise RecordError(f"{out} is an archive already; choose another folder with --out, or replace it with --force")
    with atomic_folder(out, replace=replace and is_archive(out)) as folder:
        lines = [archived_record(run.record, paths) + "\n" for run in stored]
        (folder / ARCHIVED_STUDY_FILE).write_text(study_toml(file), encoding="utf-8")
        (folder / ARCHIVED_RUNS_FILE).write_text("".join(lines), encoding="utf-8", newline="\n")
        (folder / ARCHIVED_PREDICTIONS_FILE).write_bytes(archived_predictions(predictions))
        if is_archive(out):
            _keep_others(out, folder)
        if left_out:
            write_list(folder, study.model_copy(update={"file": file, "overrides": ()}))  # which the file has
    return Archived(
        folder=out,
        finished=sum(run.record.status == "finished" for run in stored),
        failed=sum(run.record.status == "failed" for run in stored),
        left_out=left_out,
        with_predictions=sum((run.record.run_id, "test", None) in predictions for run in stored),
        size_bytes=folder_bytes(out),
    )


def _not_ended(states: Sequence[RunState], *, of: int, runs: Path) -> RecordError:
    open_runs = in_words([f"{state.name}: {state.state}" for state in states])
    others = "" if len(states) == of else ", and --unfinished archives those that have ended"
    return RecordError(
        f"{len(states)} of {of} runs in {runs} have not ended ({open_runs}); `tanzaku study run` resumes them{others}"
    )


def _keep_others(archive: Path, folder: Path) -> None:
    """Copy what else lies in an archive, such as its report."""
    for path in archive.iterdir():
        if path.name in (ARCHIVED_STUDY_FILE, ARCHIVED_RUNS_FILE, ARCHIVED_PREDICTIONS_FILE, STUDY_FILE):
            continue
        if path.is_dir():
            shutil.copytree(path, folder / path.name)
        else:
            shutil.copy2(path, folder / path.name)


@dataclass(frozen=True)
class Restored:
    """What a study's folder got of an archive."""

    folder: Path
    restored: tuple[str, ...]
    """Names of the runs that it has now."""
    kept: tuple[str, ...]
    """Names of the archive's runs that had begun or ended in it, and are as they were."""


def restore_study(archive: Path, out: Path | None = None) -> Restored:
    """Write an archive's records and predictions as a study's folder has them, so that `run_study` continues there.

    Runs that have begun in `out`, by whatever name, are not touched. A restored run has no model.

    Args:
        archive: The folder that `archive_study` wrote.
        out: The study's folder; None takes `runs/` and the study's name.

    Raises:
        RecordError: `archive` is none, or is damaged, or `out` is an archive or another study's folder.
        SpecError: Its study file is.
        OSError: `out` can't be written.
    """
    if not is_archive(archive):
        what = f"has no {ARCHIVED_RUNS_FILE}" if archive.is_dir() else "does not exist"
        raise RecordError(f"{archive} {what}; give the folder that `tanzaku study archive` wrote")
    read = read_archive(archive)
    if not read.records:
        raise RecordError(f"{archive / ARCHIVED_RUNS_FILE} is empty; archive the study again")
    study = read_study(archive / ARCHIVED_STUDY_FILE, check_arms=False)
    out = out if out is not None else RUNS_FOLDER / study.name
    check_no_archive(out)
    listed, archived = read_list(out), read_list(archive) or _list_of(study, read.records)
    if listed is not None and listed.study != archived.study:
        raise RecordError(
            f"{out} has the runs of the study {listed.study!r}, and {archive} those of {archived.study!r}; name "
            "another folder with --out"
        )
    begun = _begun_in(out)
    missing: list[StoredRun] = []
    kept: list[str] = []
    for record in read.records:
        if _identity_of(_folder_name(record.run_id, archive)) in begun:
            kept.append(record.run_id)
        else:
            missing.append(StoredRun(record, archive / record.run_id, read))
    restored = {run.record.run_id: StoredRun(run.record, out / run.record.run_id) for run in missing}
    for (name, split, rank), predictions in _predictions_of(missing).items():
        path = restored[name].predictions_path(split, rank=rank)
        write_predictions(path.parent, **predictions._asdict(), name=path.name)
    for run in restored.values():  # last, since a run with a record counts as a whole one
        write_record(run.record, run.folder)
    identities = {_identity_of(run.name) for run in archived.runs}
    if listed is None or {_identity_of(run.name) for run in listed.runs} < identities:
        runs = (run.model_copy(update={"name": begun.get(_identity_of(run.name), run.name)}) for run in archived.runs)
        write_list(out, archived.model_copy(update={"runs": tuple(runs)}))
    return Restored(out, tuple(restored), tuple(kept))


def _folder_name(run_id: str, archive: Path) -> str:
    if Path(run_id).parts != (run_id,) or run_id == "..":
        raise RecordError(f"{archive / ARCHIVED_RUNS_FILE}: {run_id!r} can't be the name of a run's folder")
    return run_id


def _begun_in(folder: Path) -> dict[str, str]:
    """The names of the runs that a study's folder has something of, by their identities."""
    there = folder.iterdir() if folder.is_dir() else ()
    names = (path.name for path in there if any((path / file).exists() for file in (RECORD_FILE, LOG_FILE)))
    return {_identity_of(name): name for name in names}


def _identity_of(name: str) -> str:
    """The end of a run's name. What stands before it depends on the study's other arms."""
    found = _IDENTITY.search(name)
    return found[0] if found else name


def _list_of(study: StudySpec, records: Iterable[RunRecord]) -> StudyList:
    """The list of a study whose runs have all ended."""
    runs = (ListedRun(name=one.run_id, kind=one.spec["kind"], method=one.method) for one in records)
    file = study.model_dump(mode="json", exclude_unset=True)
    return StudyList(study=study.name, overrides=(), file=file, runs=tuple(runs))


def _study_of(runs: Path) -> StudyList:
    if is_archive(runs):
        raise RecordError(f"{runs} is an archive already")
    study = read_list(runs)
    if study is None and (runs / TUNING_FILE).exists():
        raise RecordError(
            f"{runs} holds a search of `tanzaku study tune`. Its record is two files, {TUNING_FILE} and {TUNED_FILE}: "
            f"copy them. To archive a study with the settings found, run {TUNED_FILE} with `tanzaku study run` and "
            "give the folder of its runs"
        )
    if study is None:
        what = "holds no study" if runs.is_dir() else "does not exist"
        raise RecordError(f"{runs} {what}; give the folder that `tanzaku study run` wrote")
    return study


def _predictions_of(stored: list[StoredRun]) -> dict[PredictionKey, StoredPredictions]:
    """Whatever predictions the runs have."""
    splits: tuple[Split, ...] = ("test", "validation")
    keys: list[tuple[StoredRun, Split, int | None]] = []
    for run in stored:
        keys += [(run, split, None) for split in splits]
        if isinstance(run.record, FinishedRun):
            keys += [(run, "test", one.rank) for one in run.record.ranks]
    known = {(run.record.run_id, split, rank): run.predictions(split, rank=rank) for run, split, rank in keys}
    return {key: pairs for key, pairs in known.items() if pairs is not None}
