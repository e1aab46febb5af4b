"""The report as one Markdown document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tanzaku.analysis.arms import Section
from tanzaku.analysis.evidence import Evidence
from tanzaku.report import tables, thesis
from tanzaku.report.class_tables import class_arms, class_table
from tanzaku.report.comparisons import front_table, reference_tables
from tanzaku.report.measured import measured_facts
from tanzaku.report.notes import result_notes
from tanzaku.report.rank_tables import cost_sentences, rank_tables, separate_note
from tanzaku.report.render import Table, escape_markdown, markdown_table, one_line
from tanzaku.report.sentences import advice_of, chosen_by
from tanzaku.report.words import Words
from tanzaku.study.record import RunRecord


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
    """
    studies = ", ".join(sorted({record.study for record in records}))
    lines = _heading(words.text("Study report: {study}", study=studies), level=1)
    lines += [count_text(records, words=words), ""]
    if left_out:
        lines += [escape_markdown(left_out_text(left_out, words=words)), ""]
    if len(sections) > 1:
        lines += [several_text(len(sections), words=words), ""]
    for number, (section, found) in enumerate(zip(sections, evidence, strict=True), start=1):
        lines += _heading(section_heading(section, number=number, words=words), level=2)
        lines += _recommendation_lines(found, packs.get(number), words)
        lines += _section_lines(section, found, words)
        if shown := figures.get(number):
            lines += [*_heading(words.text("Figures")), *_figure_lines(shown)]
    return "\n".join(lines).rstrip("\n") + "\n"


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


def several_text(sections: int, *, words: Words) -> str:
    """Why there are several sections."""
    return words.text(
        "These records hold {sections} groups of runs that can't be compared with each other, because their documents "
        "or encoders differ. Each group has its own part of this report.",
        sections=sections,
    )


def failure_lines(section: Section, *, words: Words) -> list[str]:
    """One line a failed run, with its error."""
    return [
        words.text(
            "`{run_id}` ({arm}, seed {seed}): {error}",
            run_id=one_line(record.run_id).replace("`", "'"),
            arm=escape_markdown(str(arm.full_name(words))),
            seed=record.spec["seed"],
            error=escape_markdown(record.error),
        )
        for arm in section.arms
        for record in arm.failed
    ]


def _section_lines(section: Section, evidence: Evidence, words: Words) -> list[str]:
    lines = [*_heading(words.text("Results")), markdown_table(tables.results_table(section, evidence, words=words))]
    lines += _bullets(map(escape_markdown, result_notes(section, evidence, words=words)))
    lines += [*_comparison_lines(section, evidence, words), *_rank_lines(evidence, words)]
    classes = [class_table(section, arm, name=str(arm.full_name(words)), words=words) for arm in class_arms(evidence)]
    lines += _with_heading(words.text("Results by class"), _table_lines(classes))
    lines += _with_heading(words.text("Failed runs"), _bullets(failure_lines(section, words=words)))
    if thesis.is_thesis_data(section.data):
        table = tables.comparison_table(section, words=words)
        lines += [*_heading(table.caption), markdown_table(table)]
    if data := tables.data_table(section, words=words):
        lines += [*_heading(data.caption), markdown_table(data)]
    facts = [
        words.text("{name}: {value}", name=f"**{term}**", value=escape_markdown(value))
        for term, values in measured_facts(section, words=words)
        for value in values
    ]
    return [*lines, *_heading(words.text("How it was measured")), *_bullets(facts)]


def _recommendation_lines(evidence: Evidence, pack: str | None, words: Words) -> list[str]:
    """What to take, first of all arms and then, where that is none, of those that adapt the encoder."""
    paragraphs = []
    for advice in advice_of(evidence, words=words):
        take, *rest = map(escape_markdown, advice.sentences)
        paragraphs.append(words.joined([f"**{take}**", *rest]))
    if not paragraphs:
        return []
    paragraphs.append(escape_markdown(chosen_by(evidence, words=words)))
    if evidence.recommendation:
        paragraphs.append(
            words.joined([words.text("Pack its run:"), f"`{one_line(pack)}`"]) if pack else no_model_text(words=words)
        )
    return [*_heading(words.text("Recommendation")), *(line for text in paragraphs for line in (text, ""))]


def no_model_text(*, words: Words) -> str:
    """Why no command packs the recommended run."""
    return words.text(
        "The models are not stored with these records, so the recommended run can't be packed. Run it again to pack it."
    )


def _comparison_lines(section: Section, evidence: Evidence, words: Words) -> list[str]:
    lines = []
    if compared := reference_tables(evidence, words=words):
        notes = (
            words.text(
                "An arm is better or worse where Holm's corrected p is below 0.05, over all pairs of these tables, "
                "each counted once: with 95 % probability none of them is a false alarm. Macro-F1 has its own "
                "correction."
            ),
            words.text(
                "One run each: McNemar's exact test, about other test documents with these two models. Several runs: a "
                "t test over seeds and documents together, which treats the seeds of two arms as independent."
            ),
            words.text("The intervals of the differences hold for one comparison each and are not corrected."),
        )
        lines += [*_heading(words.text("Which arms differ")), *_table_lines(compared), *_bullets(notes)]
    if front := front_table(section, evidence, words=words):
        note = words.text(
            "No other arm is as accurate on the test set for less. The front describes the results and is not a "
            "choice: it also counts differences that are not distinguishable."
        )
        lines += [*_heading(front.caption), markdown_table(front), note, ""]
    return lines


def _rank_lines(evidence: Evidence, words: Words) -> list[str]:
    """One adapter at several ranks, where some arm was measured so."""
    lines = []
    for curve, table in zip(evidence.curves, rank_tables(evidence, words=words), strict=True):
        costs = escape_markdown(words.joined(cost_sentences(curve, words=words)))
        lines += [*_table_lines([table]), costs, ""]
    if any(curve.separate for curve in evidence.curves):
        lines += [separate_note(words=words), ""]
    return _with_heading(words.text("One adapter at several ranks"), lines)


def _heading(text: str, *, level: int = 3) -> list[str]:
    return [f"{'#' * level} {escape_markdown(text)}", ""]


def _with_heading(heading: str, lines: list[str]) -> list[str]:
    """Nothing where there are no lines."""
    return [*_heading(heading), *lines] if any(lines) else []


def _table_lines(shown: Iterable[Table]) -> list[str]:
    """Each table below its caption."""
    return [line for table in shown for line in (f"{escape_markdown(table.caption)}:", "", markdown_table(table))]


def _bullets(lines: Iterable[str]) -> list[str]:
    return [*(f"- {line}" for line in lines), ""]


def _figure_lines(figures: Sequence[FigureFile]) -> list[str]:
    captions = [escape_markdown(figure.caption) for figure in figures]
    return [
        line
        for figure, caption in zip(figures, captions, strict=True)
        for line in (f"![{caption}]({figure.path})", "", caption, "")
    ]
