"""Which runs a study has: the list that `tanzaku study run` leaves in the study's folder.

Without the list, a report could not tell the runs of the study from those of a trial with other settings that was made
in the same folder, and nothing would say which runs are still to come.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tanzaku.errors import RecordError, TanzakuWarning
from tanzaku.facts import Facts, read_facts
from tanzaku.files import write_atomically
from tanzaku.study.archive import is_archive, read_archive
from tanzaku.study.folders import folders_below
from tanzaku.study.record import RECORD_FILE

STUDY_FILE = "study.json"  # above the runs' folders
RUNS_FOLDER = Path("runs")  # where a study's folder is by default, under its name


class ListedRun(Facts):
    """One run of a study."""

    name: Annotated[str, Field(description="Of its folder.")]
    kind: Annotated[Literal["encoder", "text"], Field(description="Of its settings.")]
    method: str


class StudyList(Facts):
    """The runs of a study, in the order in which they are made: the content of `study.json`."""

    version: Literal[1] = 1
    kind: Literal["study"] = "study"
    study: str
    overrides: Annotated[tuple[str, ...], Field(description="What `--set` said when the list was written.")]
    file: Annotated[dict[str, Any], Field(description="The study file as it was run, overrides applied.")]
    runs: tuple[ListedRun, ...]


def write_list(folder: Path, listed: StudyList) -> StudyList:
    """Write the list, unless the folder has that of the same study as its file specifies it and this one has overrides.

    So a trial with `--set` does not replace the study that it tries out. A damaged list is replaced.

    Returns:
        The list that the folder has now.
    """
    try:
        earlier = read_list(folder)
    except RecordError:
        earlier = None
    if earlier and listed.overrides and not earlier.overrides and earlier.study == listed.study:
        return earlier
    if earlier and earlier.study != listed.study:
        warnings.warn(
            f"{folder} had the runs of the study {earlier.study!r}. From now on it is the folder of {listed.study!r}, "
            "and reports leave the other runs out. Name a folder for each study with --out to keep them apart.",
            TanzakuWarning,
            stacklevel=2,
        )
    write_atomically(folder / STUDY_FILE, listed.model_dump_json(indent=1) + "\n")
    return listed


@dataclass(frozen=True)
class Unfinished:
    """How many of the runs that studies list have no record yet."""

    missing: int
    total: int


def unfinished_below(runs: Path) -> Unfinished | None:
    """What is missing of the studies whose folders or archives are `runs` or below it; None if nothing is.

    Raises:
        RecordError: The list of a study is damaged.
    """
    folders = sorted(folder for folder, files in folders_below(runs) if STUDY_FILE in files)
    ended = [ran for folder in folders if (study := read_list(folder)) for ran in _have_ended(folder, study)]
    return None if all(ended) else Unfinished(ended.count(False), len(ended))


def _have_ended(folder: Path, study: StudyList) -> list[bool]:
    if is_archive(folder):
        archived = {record.run_id for record in read_archive(folder).records}
        return [run.name in archived for run in study.runs]
    return [(folder / run.name / RECORD_FILE).is_file() for run in study.runs]


def read_list(folder: Path) -> StudyList | None:
    """The list in a study's folder; None where there is none, as in an archive of a whole study.

    Raises:
        RecordError: It is damaged.
    """
    path, remedy = folder / STUDY_FILE, "`tanzaku study run` writes it again"
    return read_facts(StudyList, path, what="the list of a study's runs", remedy=remedy) if path.exists() else None
