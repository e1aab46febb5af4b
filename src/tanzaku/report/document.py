"""The report as one Markdown document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tanzaku.analysis import thesis
from tanzaku.analysis.arms import Section
from tanzaku.analysis.evidence import Evidence
from tanzaku.markdown import one_line
from tanzaku.report import tables
from tanzaku.report.measured import measured_facts
from tanzaku.report.notes import result_notes
from tanzaku.report.rank_texts import cost_sentences, separate_note
from tanzaku.report.sentences import advice_of, chosen_by
from tanzaku.report.templates import template
from tanzaku.report.thesis_table import thesis_table
from tanzaku.study.listing import Unfinished
from tanzaku.study.record import RunRecord
from tanzaku.words import Words


@dataclass(frozen=True)
class FigureFile:
    """A figure that was written."""

    path: str
    """Of the SVG, from the report's folder."""
    caption: str


def markdown_document(
    sections: Sequence[Section],
    evidence: Sequence[Evidence],
    *,
    records: Sequence[RunRecord],
    figures: Mapping[int, Sequence[FigureFile]],
    packs: Mapping[int, str],
    words: Words,
    left_out: int = 0,
    unfinished: Unfinished | None = None,
) -> str:
    """The whole report in the language of `words`.

    Args:
        sections: What belongs side by side.
        evidence: What is inferred of each section, in the same order.
        records: All records.
        figures: By a section's number from 1.
        packs: By a section's number, the command that packs the recommended run, where its model is there.
        words: Of the language.
        left_out: How many other records lie in the folder.
        unfinished: How many of the study's runs are missing.
    """
    parts = [
        _section_context(section, found, words)
        | {
            "heading": section_heading(section, number=number, words=words),
            "pack": packs.get(number),
            "figures": figures.get(number, ()),
        }
        for number, (section, found) in enumerate(zip(sections, evidence, strict=True), start=1)
    ]
    document = template("report.md.jinja").render(
        words=words,
        text=words.text,
        study=", ".join(sorted({record.study for record in records})),
        count=count_text(records, words=words),
        left_out=left_out_text(left_out, words=words) if left_out else "",
        missing=missing_text(unfinished, words=words) if unfinished else "",
        several=several_text(len(sections), words=words),
        no_model=no_model_text(words=words),
        separate_note=separate_note(words=words),
        parts=parts,
    )
    return document.rstrip("\n") + "\n"


def section_heading(section: Section, *, number: int, words: Words) -> str:
    """What distinguishes a section from the others; two may have equal names of data and encoder."""
    encoder = one_line(section.encoder_name or words.text("no encoder"))
    data = one_line(section.data.name)
    return words.text("Group {number}: {data}, {encoder}", number=number, data=data, encoder=encoder)


def count_text(records: Sequence[RunRecord], *, words: Words) -> str:
    """How many runs there are, finished, failed and resumed."""
    return words.text(
        "{runs}: {finished} finished, {failed} failed, {resumed} resumed from a checkpoint.",
        runs=words.plural("{n} run", "{n} runs", len(records)),
        finished=sum(record.status == "finished" for record in records),
        failed=sum(record.status == "failed" for record in records),
        resumed=sum(record.resumptions > 0 for record in records),
    )


def left_out_text(count: int, *, words: Words) -> str:
    """That some of the folder's runs are not in the report."""
    return words.plural(
        "{n} run in this folder is not in the study file and is left out. tanzaku study report --all counts every run.",
        "{n} runs in this folder are not in the study file and are left out. tanzaku study report --all counts every "
        "run.",
        count,
    )


def missing_text(unfinished: Unfinished, *, words: Words) -> str:
    """That some of the study's runs have not ended."""
    return words.plural(
        "{n} of {total} runs is missing, because it has not ended; the recommendation may change.",
        "{n} of {total} runs are missing, because they have not ended; the recommendation may change.",
        unfinished.missing,
        total=unfinished.total,
    )


def several_text(sections: int, *, words: Words) -> str:
    """Why there are several sections."""
    return words.text(
        "These records hold {sections} groups of runs that can't be compared with each other, because their documents "
        "or encoders differ. Each group has its own part of this report.",
        sections=sections,
    )


def no_model_text(*, words: Words) -> str:
    """Why no command packs the recommended run."""
    return words.text(
        "The models are not stored with these records, so the recommended run can't be packed. Run it again to pack it."
    )


def _section_context(section: Section, evidence: Evidence, words: Words) -> dict[str, Any]:
    return {
        "advice": advice_of(evidence, words=words),
        "chosen_by": chosen_by(evidence, words=words),
        "recommended": evidence.recommendation,
        "results": tables.results_table(section, evidence, words=words),
        "notes": result_notes(section, evidence, words=words),
        "over_groups": evidence.groups is not None,
        "compared": [tables.comparison_table(section, evidence, one, words=words) for one in evidence.references],
        "front": tables.front_table(section, evidence, words=words),
        "curves": [
            (tables.rank_table(curve, words=words), cost_sentences(curve, words=words)) for curve in evidence.curves
        ],
        "separate": any(curve.separate for curve in evidence.curves),
        "classes": [tables.class_table(section, arm, words=words) for arm in tables.class_arms(evidence)],
        "failed": [(str(arm.full_name(words)), record) for arm in section.arms for record in arm.failed],
        "thesis": thesis_table(section, words=words) if thesis.is_thesis_data(section.data) else None,
        "data": tables.data_table(section, words=words),
        "measured": measured_facts(section, words=words),
    }
