"""Which run of a study to pack: one of the arm that its report recommends."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tanzaku.analysis.arms import Section, sections_of
from tanzaku.analysis.choice import choose_arm, what_chooses
from tanzaku.analysis.predictions import run_key
from tanzaku.analysis.recommendation import DEFAULT_MARGIN
from tanzaku.errors import BundleError, TanzakuWarning
from tanzaku.measure.metrics import ChooseBy
from tanzaku.study.listing import unfinished_below
from tanzaku.study.record import RECORD_FILE, FailedRun, FinishedRun, read_record
from tanzaku.study.runs import runs_below


@dataclass(frozen=True)
class ChosenRun:
    """A finished run and its folder."""

    folder: Path
    record: FinishedRun


def choose_run(source: Path, *, margin: float = DEFAULT_MARGIN, choose_by: ChooseBy | None = None) -> ChosenRun:
    """The run itself; of a study's folder or archive, the recommended arm's run that is best on the validation set.

    The recommended arm is the report's: the smallest whose mean validation accuracy (or macro-F1) is within `margin` of
    the best arm's. The test set chooses nothing.

    Args:
        source: The folder of a finished run, or one with finished runs below.
        margin: A share; 0 takes the best arm.
        choose_by: What of the validation set arms are chosen by; without it, what the study file said.

    Raises:
        BundleError: No finished run lies there, the runs are of different data or encoders, which can't be compared, or
            no arm is better than always answering the most frequent class.
        RecordError: A record is damaged, or the runs were made with several values of choose_by.
    """
    if (source / RECORD_FILE).is_file():
        record = read_record(source)
        if isinstance(record, FailedRun):
            raise BundleError(f"the run {source} failed ({record.error}); pack a run that is finished")
        return ChosenRun(source, record)
    runs = [ChosenRun(run.folder, run.record) for run in runs_below(source) if not isinstance(run.record, FailedRun)]
    finished = [run.record for run in runs]
    if not finished:
        what = "contains no finished run" if source.is_dir() else "there is no such folder"
        raise BundleError(f"{source}: {what}; give the folder that `tanzaku study run` wrote, or one run's in it")
    section = _only_section(finished, source)
    measure = what_chooses(finished, asked=choose_by)
    choice = choose_arm(section.arms, choose_by=measure, margin=margin)
    assert choice is not None  # every finished run has what a candidate needs
    if choice.recommended is None:
        raise BundleError(
            f"none of the runs in {source} is recommended: no arm is better on the validation set than always "
            "answering the most frequent class; give the folder of one run to pack it all the same"
        )
    best = choice.recommended.best_run(measure)
    assert best is not None
    if unfinished := unfinished_below(source):
        warnings.warn(
            f"{unfinished.missing} of {unfinished.total} runs in {source} have not ended; when they have, another "
            "one may be recommended",
            TanzakuWarning,
            stacklevel=2,
        )
    return next(run for run in runs if run_key(run.record) == run_key(best))


def _only_section(finished: Sequence[FinishedRun], source: Path) -> Section:
    """The runs, which must be of one data set and one encoder to be compared."""
    if len({record.data.fingerprint for record in finished}) > 1:
        names = sorted({record.data.name for record in finished})
        raise BundleError(
            f"the runs in {source} are of different data ({', '.join(names)}), so none of them is recommended; "
            "give the folder of one run, or for a study of `tanzaku fit`, use the classifier that it wrote"
        )
    sections = sections_of(finished)
    if len(sections) > 1:
        encoders = ", ".join(str(section.encoder_name) for section in sections)
        raise BundleError(
            f"the runs in {source} are of {len(sections)} encoders ({encoders}), which are not compared, so none is "
            "recommended; give the folder of one run"
        )
    return sections[0]
