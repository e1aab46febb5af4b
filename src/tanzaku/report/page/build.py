"""The page: what people read, as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.classes import shown_classes
from tanzaku.analysis.confusion import confusion_of
from tanzaku.analysis.evidence import Evidence, Recommendation
from tanzaku.analysis.mistakes import mistakes_of
from tanzaku.analysis.predictions import Predictions, RunKey, run_key
from tanzaku.analysis.thesis import published_megabytes
from tanzaku.data.dataset import Dataset
from tanzaku.display import number
from tanzaku.drawing.svg import SAMPLE, draw
from tanzaku.report import formats, tables
from tanzaku.report.chart_data import ChartData
from tanzaku.report.commands import pack_command, quoted
from tanzaku.report.document import left_out_text, missing_text, section_heading, several_text
from tanzaku.report.front_charts import front_charts
from tanzaku.report.loss_charts import loss_charts
from tanzaku.report.measured import measured_facts
from tanzaku.report.names import joined, page_details, page_name
from tanzaku.report.notes import result_notes
from tanzaku.report.page.results import lines_of, strip
from tanzaku.report.rank_charts import curve_chart, rank_charts
from tanzaku.report.rank_texts import cost_sentences, separate_note
from tanzaku.report.reliability_chart import reliability_of_arms
from tanzaku.report.sentences import advice_of, badge, chosen_by
from tanzaku.report.templates import template
from tanzaku.report.terms import MEASURES, OUTCOMES
from tanzaku.study.listing import Unfinished
from tanzaku.study.record import RunRecord
from tanzaku.words import Words

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class PageInput:
    """What a page is made from."""

    sections: Sequence[Section]
    evidence: Sequence[Evidence]
    """Of each section."""
    records: Sequence[RunRecord]
    predictions: Predictions
    folders: Mapping[RunKey, Path]
    """Where each record lies."""
    runs: Path
    """The folder that was reported on, as the user named it, so that the commands shown run from where this one did."""
    margin: float
    dataset: Dataset | None
    """Data whose texts may be shown."""
    every: bool = False
    """Whether every run below the folder was asked for."""
    left_out: tuple[Path, ...] = ()
    """Folders of other records below the folder."""
    unfinished: Unfinished | None = None
    """How many of the study's runs are missing."""


def page_html(given: PageInput, *, words: Words) -> str:
    """The page in the language of `words`. Equal input gives equal bytes.

    Everything that comes from records or data is escaped.
    """
    parts = [
        _section_context(given, section, evidence, number=index, words=words)
        for index, (section, evidence) in enumerate(zip(given.sections, given.evidence, strict=True), start=1)
    ]
    studies = sorted({record.study for record in given.records})
    return template("page.html.jinja").render(
        words=words,
        text=words.text,
        plural=words.plural,
        outcomes=OUTCOMES,
        style=(_FOLDER / "page.css").read_text(encoding="utf-8"),
        study=", ".join(studies),
        records=given.records,
        parts=parts,
        margin=number(100 * given.margin),
        choose_by=given.evidence[0].choose_by,
        runs=quoted(given.runs),
        every=given.every,
        left_out=left_out_text(len(given.left_out), words=words) if given.left_out else "",
        missing=missing_text(given.unfinished, words=words) if given.unfinished else "",
        several=several_text(len(parts), words=words),
        separate_note=separate_note(words=words),
        formats=formats,
        accuracy=partial(tables.accuracy_text, words=words),
        runs_text=partial(tables.runs_text, words=words),
        separate_accuracy=partial(tables.separate_accuracy, words=words),
        curve_costs=partial(cost_sentences, words=words),
        shown_classes=shown_classes,
        thesis_megabytes=published_megabytes,
        sample=SAMPLE,
    )


def _section_context(
    given: PageInput, section: Section, evidence: Evidence, *, number: int, words: Words
) -> dict[str, Any]:
    name = partial(page_name, words=words)
    found = evidence.recommendation
    known = given.dataset is not None and given.dataset.fingerprint == section.data.fingerprint
    dataset = given.dataset if known else None
    data = ChartData(section, evidence, words)
    curves = curve_chart(data)
    drawn = partial(draw, recommended=words.text("recommended"))
    return {
        "number": number,
        "title": section_heading(section, number=number, words=words),
        "section": section,
        "evidence": evidence,
        "name": name,
        "advice": advice_of(evidence, words=words, name=name),
        "chosen_by": chosen_by(evidence, words=words),
        "measure": words.text(MEASURES[evidence.choose_by]),
        "notes": result_notes(section, evidence, words=words),
        "failed": [(str(arm.full_name(words)), record) for arm in section.arms for record in arm.failed],
        "badge": badge(found, words=words) if found else None,
        "strip": strip(found) if found else None,
        "pack": _pack_command(given, found) if found else None,
        "lines": lines_of(data),
        "heading": partial(_heading, section=section, words=words),
        "references": [_heading(arm, section=section, words=words) for arm in evidence.references],
        "majority": evidence.majorities.test if evidence.majorities else None,
        "fronts": [drawn(chart) for chart in front_charts(data)],
        "ranks": [drawn(chart) for chart in rank_charts(data)],
        "curve_charts": [drawn(curves)] if curves else [],
        "losses": [drawn(chart) for row in loss_charts(data) for chart in row],
        "classes": [confusion_of(section, arm) for arm in evidence.chosen if arm.accuracy],
        "calibration": drawn(calibration) if (calibration := reliability_of_arms(data)) else None,
        "mistakes": mistakes_of(section, evidence.chosen, given.predictions, dataset=dataset),
        "measured": measured_facts(section, words=words),
    }


def _heading(arm: Arm, *, section: Section, words: Words) -> tuple[str, str]:
    """An arm in the heading of a column: the method and its rank, and where other arms have them too, the details."""
    name = arm.full_name(words).with_rank
    shared = [one.full_name(words).with_rank for one in section.arms].count(name) > 1
    return joined(name).replace(" r=", "\u00a0r="), page_details(arm, words=words) if shared else ""


def _pack_command(given: PageInput, recommendation: Recommendation) -> str | None:
    """How to pack the recommended run, where its model is there."""
    return pack_command(given.folders[run_key(recommendation.run)])
