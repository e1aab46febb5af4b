"""The whole report into a folder, each file atomically."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tanzaku.analysis.arms import Section, sections_of
from tanzaku.analysis.choice import what_chooses
from tanzaku.analysis.evidence import Evidence, evidence_of
from tanzaku.analysis.predictions import RunKey, predictions_of, run_key
from tanzaku.analysis.recommendation import DEFAULT_MARGIN
from tanzaku.analysis.rows import arm_rows, comparison_rows, rank_rows, run_rows
from tanzaku.data.dataset import Dataset
from tanzaku.errors import DataError, TanzakuError
from tanzaku.extras import require_extra
from tanzaku.files import check_writable, write_atomically
from tanzaku.measure.metrics import ChooseBy
from tanzaku.report.commands import pack_command
from tanzaku.report.document import FigureFile, markdown_document
from tanzaku.report.latex_tables import latex_document
from tanzaku.report.render import csv_text
from tanzaku.study.listing import Unfinished, unfinished_below
from tanzaku.study.record import RunRecord
from tanzaku.study.runs import record_folders, stored_runs
from tanzaku.words import Language, words_of

if TYPE_CHECKING:
    from tanzaku.report.page.build import PageInput

FIGURE_FOLDER = "figures"
RANKS_FILE = "ranks.csv"
PAGE_FILE = "report.html"
_GENERATOR = b'<meta name="generator" content="Tanzaku">'


@dataclass(frozen=True)
class Report:
    """What was written, and what it was made from."""

    records: tuple[RunRecord, ...]
    sections: tuple[Section, ...]
    evidence: tuple[Evidence, ...]
    """Of each section."""
    recommended_run: Path | None
    """Folder of the recommended arm's run that is best on the validation set; None where there is no one such arm."""
    paths: tuple[Path, ...]
    left_out: tuple[Path, ...] = ()
    """Folders of records below that are of none of the study's runs."""
    unfinished: Unfinished | None = None
    """How many of the study's runs are missing."""


def write_report(
    runs: str | Path,
    folder: str | Path | None = None,
    *,
    margin: float = DEFAULT_MARGIN,
    language: Language = "en",
    dataset: Dataset | None = None,
    every: bool = False,
    choose_by: ChooseBy | None = None,
) -> Report:
    """Read the records below `runs` and write report.html, report.md, tables.tex, CSV files and figures/ to `folder`.

    Equal records give equal bytes, as long as matplotlib and the fonts are the same. Figures and a
    ranks.csv that an earlier report left in `folder` and that this one does not have are removed.

    Args:
        runs: A study's folder or archive, or a folder above several.
        folder: Made where it is missing; None takes the folder `report` in `runs`.
        margin: How much worse than the best the recommended arm may be, a share.
        language: Of report.html, report.md, tables.tex and the figures.
        choose_by: What of the validation set arms are chosen by; without it, what the study file said.
        every: Count every record below `runs`, also of runs that are none of their study's as it is specified.
        dataset: Shows in report.html how the documents begin that the best models get wrong; records hold no texts.

    Raises:
        RecordError: There is no record, one is damaged, or the runs were made with several values of choose_by.
        DataError: `dataset` is not what any of the runs was made on.
        OSError: `folder` can't be written.
        TanzakuError: The extra `report` is not installed, or `folder` contains files but no earlier report.
    """
    require_extra("report", purpose="the report")
    runs = Path(runs)
    folder = Path(folder) if folder is not None else runs / "report"
    page = read_page(runs, margin=margin, dataset=dataset, every=every, choose_by=choose_by)
    _check_folder(folder)
    figures, images = _draw_figures(page.sections, page.evidence, language=language)
    texts = report_texts(page, figures=figures, language=language)
    _write(folder, texts, images)
    return Report(
        records=tuple(page.records),
        sections=tuple(page.sections),
        evidence=tuple(page.evidence),
        recommended_run=_recommended_run(page.evidence, page.folders),
        paths=tuple(folder / name for name in (*texts, *images)),
        left_out=page.left_out,
        unfinished=page.unfinished,
    )


def _check_folder(folder: Path) -> None:
    """Make sure that only an earlier report is replaced."""
    check_writable(folder)
    page = folder / PAGE_FILE
    if folder.is_dir() and any(folder.iterdir()) and not (page.is_file() and _GENERATOR in page.read_bytes()):
        raise TanzakuError(
            f"{folder} contains files but no earlier report, which this one would replace; choose another folder, or a "
            "new one below it"
        )


def read_page(
    runs: Path,
    *,
    margin: float = DEFAULT_MARGIN,
    dataset: Dataset | None = None,
    every: bool = False,
    choose_by: ChooseBy | None = None,
) -> PageInput:
    """What the page and the other texts of a report are made from; the arguments and errors are `write_report`'s."""
    from tanzaku.report.page.build import PageInput

    stored = stored_runs(runs, every=every)
    records = [run.record for run in stored]
    predictions = predictions_of(stored)
    sections = sections_of(records)
    _check_dataset(dataset, sections)
    measure = what_chooses(records, asked=choose_by)
    counted = {run.folder for run in stored}
    return PageInput(
        sections,
        [evidence_of(section, predictions, margin=margin, choose_by=measure) for section in sections],
        records,
        predictions,
        {run_key(run.record): run.folder for run in stored},
        runs=runs,
        margin=margin,
        dataset=dataset,
        every=every,
        left_out=tuple(other for other in record_folders(runs, every=True) if other not in counted),
        unfinished=unfinished_below(runs),
    )


def report_texts(
    page: PageInput, *, figures: Mapping[int, list[FigureFile]], language: Language = "en"
) -> dict[str, str]:
    """The files of text by their names.

    Args:
        page: From `read_page`.
        figures: By a section's number, the figures that report.md shows.
        language: Of report.html and tables.tex.
    """
    from tanzaku.report.page.build import page_html

    sections, evidence = page.sections, page.evidence
    ranks = rank_rows(evidence)
    return {
        PAGE_FILE: page_html(page, words=words_of(language)),
        "report.md": markdown_document(
            sections,
            evidence,
            records=page.records,
            figures=figures,
            packs=_pack_commands(page),
            left_out=len(page.left_out),
            unfinished=page.unfinished,
            words=words_of(language),
        ),
        "tables.tex": latex_document(sections, evidence, words=words_of(language)),
        "arms.csv": csv_text(arm_rows(sections, evidence)),
        "runs.csv": csv_text(run_rows(sections)),
        "comparisons.csv": csv_text(comparison_rows(evidence)),
        **({RANKS_FILE: csv_text(ranks)} if ranks else {}),
    }


def _pack_commands(page: PageInput) -> dict[int, str]:
    """By a section's number, the command that packs its recommended run; none where the model is not there."""
    chosen = [(number, found.recommendation) for number, found in enumerate(page.evidence, start=1)]
    commands = [(number, pack_command(page.folders[run_key(one.run)])) for number, one in chosen if one]
    return {number: command for number, command in commands if command}


def _check_dataset(dataset: Dataset | None, sections: Sequence[Section]) -> None:
    known = {section.data.fingerprint: section.data.name for section in sections}
    if dataset is not None and dataset.fingerprint not in known:
        raise DataError(
            f"the data {dataset.name!r} has the fingerprint {dataset.fingerprint[:12]}, but these runs were made on "
            + ", ".join(f"{name!r} with {fingerprint[:12]}" for fingerprint, name in known.items())
            + "; give --data the folder that their study names"
        )


def _recommended_run(evidence: Sequence[Evidence], folders: Mapping[RunKey, Path]) -> Path | None:
    runs = [found.recommendation.run for found in evidence if found.recommendation]
    return folders[run_key(runs[0])] if len(runs) == 1 else None


def _draw_figures(
    sections: Sequence[Section], evidence: Sequence[Evidence], *, language: Language
) -> tuple[dict[int, list[FigureFile]], dict[str, bytes]]:
    """The figures by section, and each as SVG, PNG and PDF by its name in the report's folder."""
    from tanzaku.report.chart_data import ChartData
    from tanzaku.report.figures import figure_words, figures_of, render

    drawn: dict[int, list[FigureFile]] = {}
    images: dict[str, bytes] = {}
    for number, (section, found) in enumerate(zip(sections, evidence, strict=True), start=1):
        prefix = f"section-{number}-" if len(sections) > 1 else ""
        data = ChartData(section, found, figure_words(words_of(language)))
        for name, figure in figures_of(data).items():
            stem = f"{FIGURE_FOLDER}/{prefix}{name}"
            drawn.setdefault(number, []).append(FigureFile(f"{stem}.svg", figure.caption))
            images |= {f"{stem}.{suffix}": content for suffix, content in render(figure, data).items()}
    return drawn, images


def _write(folder: Path, texts: Mapping[str, str], images: Mapping[str, bytes]) -> None:
    """Write the files, and remove those of an earlier report that this one does not have."""
    from tanzaku.report.figures import FIGURE_NAMES, FORMATS

    # The page comes first: by it, the next report knows the folder, also if this one is interrupted.
    files: dict[str, str | bytes] = {PAGE_FILE: texts[PAGE_FILE], **texts, **images}
    for name, content in files.items():
        write_atomically(folder / name, content)
    if RANKS_FILE not in texts:
        (folder / RANKS_FILE).unlink(missing_ok=True)
    ours = re.compile(rf"(section-\d+-)?({'|'.join(FIGURE_NAMES)})\.({'|'.join(FORMATS)})")
    for path in (folder / FIGURE_FOLDER).glob("*"):
        if ours.fullmatch(path.name) and f"{FIGURE_FOLDER}/{path.name}" not in images:
            path.unlink()
