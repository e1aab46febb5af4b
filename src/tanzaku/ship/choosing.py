"""Which run of a study to pack: one of the arm that its report recommends."""

from __future__ import annotations

from pathlib import Path

from tanzaku.errors import BundleError
from tanzaku.report.arms import sections_of
from tanzaku.report.predictions import run_key
from tanzaku.study.recommendation import DEFAULT_MARGIN, choose
from tanzaku.study.record import RECORD_FILE, read_record, record_folders


def choose_run(source: Path, *, margin: float = DEFAULT_MARGIN) -> Path:
    """The run's folder itself; of a study's folder, the recommended arm's run with the best validation accuracy.

    The recommended arm is the report's: the smallest whose mean validation accuracy is within `margin` of the best
    arm's. The test set chooses nothing.

    Args:
        source: The folder of a finished run, or one with finished runs below.
        margin: A share; 0 takes the best arm.

    Raises:
        BundleError: No finished run lies there, or the runs are of different data or encoders, which can't be compared.
        RecordError: A record is damaged.
    """
    if (source / RECORD_FILE).is_file():
        record = read_record(source)
        if record.status != "finished":
            raise BundleError(f"the run {source} failed ({record.error}); pack a run that is finished")
        return source
    records = {folder: read_record(folder) for folder in record_folders(source)}
    finished = {folder: record for folder, record in records.items() if record.status == "finished"}
    if not finished:
        raise BundleError(
            f"no finished run lies in {source}; give the folder that `tanzaku study run` wrote, or one run's in it"
        )
    if len({record.data.fingerprint for record in finished.values()}) > 1:
        names = sorted({record.data.name for record in finished.values()})
        raise BundleError(
            f"the runs in {source} are of different data ({', '.join(names)}), so none of them is recommended; "
            "give the folder of one run"
        )
    sections = sections_of(list(finished.values()))
    if len(sections) > 1:
        encoders = ", ".join(str(section.encoder_name) for section in sections)
        raise BundleError(
            f"the runs in {source} are of {len(sections)} encoders ({encoders}), which are not compared, so none is "
            "recommended; give the folder of one run"
        )
    choosable = [(arm, candidate) for arm in sections[0].arms if (candidate := arm.candidate)]
    choice = choose([candidate for _, candidate in choosable], margin=margin)
    assert choice is not None  # every finished run has what a candidate needs
    best = choosable[choice.recommended][0].best_run
    assert best is not None
    return next(folder for folder, record in finished.items() if run_key(record) == run_key(best))
