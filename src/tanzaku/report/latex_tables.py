"""The tables of a section for a paper: narrow enough for a text width of 14 cm, in the language of the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tanzaku.analysis import thesis
from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.classes import averaged_over
from tanzaku.analysis.evidence import Evidence
from tanzaku.analysis.rank_curves import RankCurve
from tanzaku.analysis.statistics import Interval
from tanzaku.report import formats, tables
from tanzaku.report.latex import PREAMBLE, latex_table
from tanzaku.report.names import paper_name
from tanzaku.report.render import Table
from tanzaku.report.thesis_table import thesis_table
from tanzaku.words import Words, message

_INTERVAL_NOTES = {  # by kind, and whether the interval is over groups
    ("both", False): message("95 % intervals cover seeds and documents."),
    ("both", True): message("95 % intervals cover seeds and groups of documents."),
    ("wilson", False): message("95 % intervals of single runs: Wilson's, over documents."),
    ("wilson", True): message("95 % intervals of single runs: Wilson's, over groups of documents."),
}


def latex_document(sections: Sequence[Section], evidence: Sequence[Evidence], *, words: Words) -> str:
    """Every section's tables as environments, to be read with `\\input`."""
    parts = [PREAMBLE]
    for number, (section, found) in enumerate(zip(sections, evidence, strict=True), start=1):
        parts += [
            latex_table(table, label=f"tab:tanzaku-{number}-{name}")
            for name, table in paper_tables(section, found, words=words).items()
        ]
    return "\n".join(parts)


def paper_tables(section: Section, evidence: Evidence, *, words: Words) -> dict[str, Table]:
    """The section's tables by name, in the order of a paper."""
    results, costs = _results_caption(section, evidence, words), _costs_caption(section, evidence, words)
    named: dict[str, Table | None] = {
        "data": tables.data_table(section, words=words, paper=True),
        "results": tables.paper_results(section, evidence, caption=results, words=words),
        "costs": tables.paper_costs(section, evidence, caption=costs, words=words),
    }
    for place, reference in enumerate(evidence.references, start=1):
        caption = _comparison_caption(section, evidence, reference, words)
        named[f"comparison-{place}"] = tables.comparison_table(
            section, evidence, reference, words=words, caption=caption, paper=True
        )
    for place, arm in enumerate(tables.class_arms(evidence), start=1):
        named[f"classes-{place}"] = tables.class_table(section, arm, words=words, paper=True)
    fronts = words.text(
        "Pareto fronts on {data}, {encoder}: no other arm reaches the same test accuracy with a smaller size or a "
        "shorter training time.",
        **_where(section, words),
    )
    named["fronts"] = tables.front_table(section, evidence, words=words, caption=fronts, paper=True)
    for place, curve in enumerate(evidence.curves, start=1):
        caption = _rank_caption(section, curve, words)
        named[f"ranks-{place}"] = tables.rank_table(curve, words=words, caption=caption, paper=True)
    named["thesis"] = thesis_table(section, words=words, paper=True) if thesis.is_thesis_data(section.data) else None
    return {name: table for name, table in named.items() if table is not None}


def _results_caption(section: Section, evidence: Evidence, words: Words) -> str:
    notes = _interval_notes([found for _, found in evidence.intervals], words)
    if any(len(arm.finished) > 1 for arm in section.arms):
        notes.append(words.text("s.d.: standard deviation over the seeds."))
    if found := evidence.majorities:
        accuracy = formats.percent(found.test.accuracy)
        notes.append(words.text("Always answering the most frequent class: {accuracy} %.", accuracy=accuracy))
    averaged = averaged_over(section)
    if averaged and averaged.lowest < averaged.total:
        counted = formats.whole_span(averaged.lowest, averaged.highest)
        total = averaged.total
        notes.append(
            words.text("Macro-F1 averages the classes that occur, {counted} of {total}.", counted=counted, total=total)
        )
    notes += _recommended_notes(evidence, words)
    if thesis.published_rows(section):
        notes.append(words.text("Thesis: the published row with the same settings."))
    documents = words.plural("{n:,} test document", "{n:,} test documents", section.data.test_documents)
    return words.text(
        "Results on {documents} of {data}, {encoder}. {notes}",
        notes=words.joined(notes),
        documents=documents,
        **_where(section, words),
    )


def _costs_caption(section: Section, evidence: Evidence, words: Words) -> str:
    notes = _recommended_notes(evidence, words)
    if any(row.train_seconds is not None for row in thesis.published_rows(section)):
        notes.append(words.text("The thesis's training times include evaluation."))
    return words.text(
        "Costs and settings of the arms on {data}, {encoder}. Means over the runs: trained parameters in thousands, "
        "saved size, training time without evaluation, and the peak memory of the process. {notes}",
        notes=words.joined(notes),
        **_where(section, words),
    ).rstrip()


def _comparison_caption(section: Section, evidence: Evidence, reference: Arm, words: Words) -> str:
    several, single = words.text("t test over seeds and documents"), words.text("McNemar's exact test")
    if evidence.groups is not None:
        several = words.text("t test over seeds and groups of documents")
    exact = {one.accuracy.test == "mcnemar" for one in evidence.against(reference)}
    tests = words.text("{first} or, for single runs, {second}", first=several, second=single)
    return words.text(
        "Differences from {arm} in percentage points, on the same test documents of {data}. p of accuracy: {tests}; p "
        "of macro-F1: t test with bootstrapped variance; both with Holm's correction over all comparisons. An arm is "
        "better or worse where its p is below 0.05, and not distinguishable otherwise.",
        arm=paper_name(reference, words=words),
        data=section.data.name,
        tests=tests if len(exact) > 1 else single if exact == {True} else several,
    )


def _rank_caption(section: Section, curve: RankCurve, words: Words) -> str:
    notes = _interval_notes([row.interval for row in curve.rows if row.interval], words)
    if curve.separate:
        notes.append(
            words.text(
                "Trained separately: the arm that was trained only at that rank; the difference and p (Holm) compare "
                "the adapter with it."
            )
        )
    return words.text(
        "{arm}: the trained adapter at each rank, test accuracy on {data}. {notes}",
        arm=paper_name(curve.arm, words=words),
        data=section.data.name,
        notes=words.joined(notes),
    )


def _where(section: Section, words: Words) -> dict[str, str]:
    return {"data": section.data.name, "encoder": section.encoder_name or words.text("no encoder")}


def _recommended_notes(evidence: Evidence, words: Words) -> list[str]:
    """What the stars mean."""
    stars = len(evidence.recommended)
    both = message("⋆: recommended, among all arms and among those that adapt the encoder.")
    return [words.text(message("⋆: recommended.") if stars == 1 else both)] if stars else []


def _interval_notes(intervals: Iterable[Interval], words: Words) -> list[str]:
    kinds = {(interval.kind, interval.over_groups) for interval in intervals}
    return [words.text(note) for kind, note in _INTERVAL_NOTES.items() if kind in kinds]
