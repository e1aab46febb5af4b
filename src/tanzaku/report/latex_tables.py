"""The tables of a section for a paper: narrow enough for a text width of 14 cm, in the language of the report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

from tanzaku.analysis.arms import Arm, Estimate, Section
from tanzaku.analysis.classes import averaged_classes
from tanzaku.analysis.evidence import Comparison, Evidence
from tanzaku.analysis.rank_curves import RankCurve, RankRow
from tanzaku.report import formats, tables, thesis
from tanzaku.report.class_tables import class_arms, class_table
from tanzaku.report.comparisons import cost_of, front_members
from tanzaku.report.latex import PREAMBLE, LatexColumn, LatexTable, latex_table
from tanzaku.report.names import paper_name
from tanzaku.report.series import in_order, recommended_of
from tanzaku.report.words import Words, message

_NO_BREAK = "\u00a0"
_INTERVAL_NOTES = {
    "both": message("95 % intervals cover seeds and documents."),
    "wilson": message("95 % intervals of single runs: Wilson's, over documents."),
}
_Row = TypeVar("_Row")
_Columns = list[tuple[LatexColumn, Callable[[_Row], str]]]


def latex_document(sections: Sequence[Section], evidence: Sequence[Evidence], *, words: Words) -> str:
    """Every section's tables as environments, to be read with `\\input`."""
    parts = [PREAMBLE]
    for number, (section, found) in enumerate(zip(sections, evidence, strict=True), start=1):
        parts += [
            latex_table(table, label=f"tab:tanzaku-{number}-{name}")
            for name, table in paper_tables(section, found, words=words).items()
        ]
    return "\n".join(parts)


def paper_tables(section: Section, evidence: Evidence, *, words: Words) -> dict[str, LatexTable]:
    """The section's tables by name, in the order of a paper."""
    named = {
        "data": _data_table(section, words),
        "results": _results_table(section, evidence, words),
        "costs": _costs_table(section, evidence, words),
        **{
            f"comparison-{place}": _comparison_table(section, evidence, reference, words)
            for place, reference in enumerate(evidence.references, start=1)
        },
        **{
            f"classes-{place}": _class_table(section, arm, words)
            for place, arm in enumerate(class_arms(evidence), start=1)
        },
        "fronts": _front_table(section, evidence, words),
        **{
            f"ranks-{place}": _rank_table(section, curve, words) for place, curve in enumerate(evidence.curves, start=1)
        },
        "thesis": _thesis_table(section, words) if thesis.is_thesis_data(section.data) else None,
    }
    return {name: table for name, table in named.items() if table is not None}


def _data_table(section: Section, words: Words) -> LatexTable | None:
    counts = tables.class_counts(section)
    if counts is None:
        return None
    splits = (words.text("Training"), words.text("Validation"), words.text("Test"))
    groups = ["", words.text("Thesis")] if thesis.is_thesis_data(section.data) else [""]
    columns = [
        _class_column(words, numbers=range(1, len(section.data.label_names) + 1)),
        *(LatexColumn(split, group=group) for group in groups for split in splits),
    ]
    names = [*section.data.label_names, words.text("All")]
    rows = tuple((name, *map(tables.count_or_dash, row)) for name, row in zip(names, counts, strict=True))
    return LatexTable(words.text("Documents in each class of {data}.", data=section.data.name), tuple(columns), rows)


def _results_table(section: Section, evidence: Evidence, words: Words) -> LatexTable:
    group = words.text("Accuracy (%)")
    several = any(len(arm.finished) > 1 for arm in section.arms)
    columns: _Columns[Arm] = [
        *_arm_columns(evidence, words),
        (LatexColumn(words.text("Runs")), lambda arm: tables.runs_text(arm, words=words)),
        (LatexColumn(words.text("Mean"), group=group), lambda arm: tables.accuracy_text(arm, words=words)),
        (LatexColumn(words.text("95 % interval"), group=group), lambda arm: formats.interval(evidence.interval(arm))),
    ]
    if several:
        columns.append((LatexColumn(words.text("s.d."), group=group), _deviation))
    columns.append((LatexColumn(words.text("Macro-F1 (%)")), lambda arm: _percent(arm.macro_f1)))
    published = thesis.beside(section)
    if published:
        over = words.text("Thesis")
        columns += [
            (
                LatexColumn(words.text("Acc. (%)"), group=over),
                thesis.cell(lambda row: f"{row.accuracy_percent:.2f}"),
            ),
            (LatexColumn(words.text("Table"), group=over), thesis.cell(lambda row: row.table)),
        ]
    notes = [
        *_interval_notes(evidence, words),
        *([words.text("s.d.: standard deviation over the seeds.")] if several else []),
        *_class_notes(section, evidence, words),
        *_recommended_notes(evidence, words),
        *([words.text("Thesis: the published row with the same settings.")] if published else []),
    ]
    facts = {
        **_where(section, words),
        "documents": words.plural("{n:,} test document", "{n:,} test documents", section.data.test_documents),
    }
    return _table(
        words.text("Results on {documents} of {data}, {encoder}. {notes}", notes=words.joined(notes), **facts),
        columns,
        in_order(section),
    )


def _costs_table(section: Section, evidence: Evidence, words: Words) -> LatexTable:
    sizes = bool(published := thesis.beside(section)) and any(row.megabytes is not None for row in published)
    seconds = any(row.train_seconds is not None for row in published)
    gigabytes = lambda size: f"{size / 1e9:.2f}"  # noqa: E731
    group, over = words.text("Costs") if published else "", words.text("Thesis")
    columns: _Columns[Arm] = [
        *_arm_columns(evidence, words),
        (
            LatexColumn(words.text("Param. (k)"), group=group),
            _cost("trainable_parameters", lambda number: formats.thousands(number)),
        ),
        (LatexColumn(words.text("Size (MB)"), group=group), _cost("saved_bytes", _as_megabytes)),
        (LatexColumn(words.text("Time (s)"), group=group), _cost("train_seconds", formats.seconds)),
        (LatexColumn(words.text("RAM (GB)"), group=group), _cost("peak_memory_bytes", gigabytes)),
    ]
    if any(arm.cost("peak_gpu_memory_bytes") for arm in section.arms):
        columns.append((LatexColumn(words.text("GPU (GB)"), group=group), _cost("peak_gpu_memory_bytes", gigabytes)))
    if any(arm.epochs_run for arm in section.arms):
        columns.append((LatexColumn(words.text("Epochs run/best")), tables.epochs))
    if any(arm.scale is not None for arm in section.arms):
        columns.append((LatexColumn(words.text("Scale")), tables.scale))
    if sizes:
        cell = thesis.cell(lambda row: formats.megabytes(thesis.published_megabytes(row)))
        columns.append((LatexColumn(words.text("Size (MB)"), group=over), cell))
    if seconds:
        cell = thesis.cell(
            lambda row: formats.NONE if row.train_seconds is None else formats.seconds(row.train_seconds)
        )
        columns.append((LatexColumn(words.text("Time (s)"), group=over), cell))
    notes = [
        *_recommended_notes(evidence, words),
        *([words.text("The thesis's training times include evaluation.")] if seconds else []),
    ]
    caption = words.text(
        "Costs and settings of the arms on {data}, {encoder}. Means over the runs: trained parameters in thousands, "
        "saved size, training time without evaluation, and the peak memory of the process. {notes}",
        notes=words.joined(notes),
        **_where(section, words),
    ).rstrip()
    return _table(caption, columns, in_order(section))


def _comparison_table(section: Section, evidence: Evidence, reference: Arm, words: Words) -> LatexTable:
    accuracy, macro_f1 = words.text("Accuracy"), words.text("Macro-F1")
    order = in_order(section)
    rows = sorted(evidence.against(reference), key=lambda one: order.index(one.arm))
    name = _name(words)
    columns: _Columns[Comparison] = [
        (_name_column(words), lambda one: name(one.arm)),
        (LatexColumn(words.text("Diff."), group=accuracy), lambda one: formats.points(one.accuracy.mean)),
        (
            LatexColumn(words.text("95 % interval"), group=accuracy),
            lambda one: formats.points_interval(one.accuracy.interval, words=words),
        ),
        (LatexColumn(words.text("p"), group=accuracy), lambda one: formats.p_value(one.accuracy_p)),
        (LatexColumn(words.text("Diff."), group=macro_f1), lambda one: formats.points(one.macro_f1.mean)),
        (LatexColumn(words.text("p"), group=macro_f1), lambda one: formats.p_value(one.macro_f1_p)),
    ]
    caption = words.text(
        "Differences from {arm} in percentage points, on the same test documents of {data}. p: {tests}, with Holm's "
        "correction over all comparisons; an arm is better or worse where its p is below 0.05, and not "
        "distinguishable otherwise.",
        arm=name(reference),
        data=section.data.name,
        tests=_tests(rows, words),
    )
    return _table(caption, columns, rows)


def _class_table(section: Section, arm: Arm, words: Words) -> LatexTable:
    table = class_table(section, arm, name=_name(words)(arm), words=words)
    numbers = {name: number for number, name in enumerate(section.data.label_names, start=1)}
    classes = _class_column(words, numbers=[numbers[label] for label, *_ in table.rows])
    columns = (classes, *(LatexColumn(column.heading) for column in table.columns[1:]))
    return LatexTable(table.caption, columns, table.rows)


def _class_column(words: Words, *, numbers: Sequence[int]) -> LatexColumn:
    instead = tuple(words.text("class {number}", number=number) for number in numbers)
    return LatexColumn(words.text("Class"), numeric=False, wraps=True, instead=instead)


def _front_table(section: Section, evidence: Evidence, words: Words) -> LatexTable | None:
    members = front_members(section, evidence)
    if not members:
        return None
    name = _name(words)
    columns: _Columns[tuple[Arm, bool, bool]] = [
        (_name_column(words), lambda one: name(one[0])),
        (LatexColumn(words.text("Test accuracy (%)")), lambda one: _percent(one[0].accuracy)),
        (LatexColumn(words.text("Size (MB)")), lambda one: _as_megabytes(cost_of(one[0], "saved_bytes"))),
        (LatexColumn(words.text("Time (s)")), lambda one: formats.seconds(cost_of(one[0], "train_seconds"))),
        (LatexColumn(words.text("Size front")), lambda one: words.text("yes") if one[1] else formats.NONE),
        (LatexColumn(words.text("Time front")), lambda one: words.text("yes") if one[2] else formats.NONE),
    ]
    return _table(
        words.text(
            "Pareto fronts on {data}, {encoder}: no other arm reaches the same test accuracy with a smaller size or a "
            "shorter training time.",
            **_where(section, words),
        ),
        columns,
        members,
    )


def _rank_table(section: Section, curve: RankCurve, words: Words) -> LatexTable:
    own = words.text("This adapter") if curve.separate else ""
    columns: _Columns[RankRow] = [
        (LatexColumn(words.text("Rank")), lambda row: str(row.rank)),
        (LatexColumn(words.text("Acc. (%)"), group=own), lambda row: _percent(row.accuracy)),
        (LatexColumn(words.text("95 % interval"), group=own), lambda row: formats.interval(row.interval)),
        (LatexColumn(words.text("Macro-F1 (%)"), group=own), lambda row: _percent(row.macro_f1)),
        (
            LatexColumn(words.text("Size (MB)"), group=own),
            lambda row: _as_megabytes(row.saved_bytes.mean) if row.saved_bytes else formats.NONE,
        ),
    ]
    if curve.separate:
        columns += _separate_columns(curve, words)
    kinds = {row.interval.kind for row in curve.rows if row.interval}
    notes = [
        *_kind_notes(kinds, words),
        *(
            [
                words.text(
                    "Trained separately: the arm that was trained only at that rank; the difference and p (Holm) "
                    "compare the adapter with it."
                )
            ]
            if curve.separate
            else []
        ),
    ]
    name = _name(words)(curve.arm)
    caption = words.text(
        "{arm}: the trained adapter at each rank, test accuracy on {data}. {notes}",
        arm=name,
        data=section.data.name,
        notes=words.joined(notes),
    )
    return _table(caption, columns, curve.rows)


def _separate_columns(curve: RankCurve, words: Words) -> _Columns[RankRow]:
    """The arm that was trained only at a row's rank, compared with the adapter."""
    group = words.text("Trained separately")
    return [
        (LatexColumn(words.text("Acc. (%)"), group=group), lambda row: _separate(row, curve.arm, words)),
        (
            LatexColumn(words.text("Diff."), group=group),
            lambda row: formats.points(row.difference.mean) if row.difference else formats.NONE,
        ),
        (
            LatexColumn(words.text("95 % interval"), group=group),
            lambda row: (
                formats.points_interval(row.difference.interval, words=words) if row.difference else formats.NONE
            ),
        ),
        (
            LatexColumn(words.text("p"), group=group),
            lambda row: formats.NONE if row.p_value is None else formats.p_value(row.p_value),
        ),
    ]


def _thesis_table(section: Section, words: Words) -> LatexTable:
    """The settings, data and hardware of these runs next to the thesis's."""
    table = tables.comparison_table(section, words=words)
    columns = tuple(
        LatexColumn(column.heading, numeric=False, wraps=place < 3) for place, column in enumerate(table.columns)
    )
    return LatexTable(
        words.text("How the runs on {data} differ from those of the thesis.", data=section.data.name),
        columns,
        table.rows,
    )


def _arm_columns(evidence: Evidence, words: Words) -> _Columns[Arm]:
    """The arm's name, with a star where it is recommended."""
    name = _name(words)
    chosen = recommended_of(evidence)
    return [(_name_column(words), lambda arm: f"{name(arm)}{_NO_BREAK}⋆" if arm in chosen else name(arm))]


def _table(caption: str, columns: _Columns[_Row], rows: Sequence[_Row]) -> LatexTable:
    cells = tuple(tuple(write(row) for _, write in columns) for row in rows)
    return LatexTable(caption, tuple(column for column, _ in columns), cells)


def _name_column(words: Words) -> LatexColumn:
    return LatexColumn(words.text("Arm"), numeric=False, wraps=True)


def _name(words: Words) -> Callable[[Arm], str]:
    return partial(paper_name, words=words)


def _where(section: Section, words: Words) -> dict[str, str]:
    return {"data": section.data.name, "encoder": section.encoder_name or words.text("no encoder")}


def _deviation(arm: Arm) -> str:
    deviation = arm.accuracy.standard_deviation if arm.accuracy else None
    return formats.NONE if deviation is None else formats.percent(deviation)


def _percent(value: Estimate | None) -> str:
    return formats.percent(value.mean) if value else formats.NONE


def _as_megabytes(size: float) -> str:
    return formats.megabytes(size / 1e6)


def _cost(name: str, write: Callable[[float], str]) -> Callable[[Arm], str]:
    def cell(arm: Arm) -> str:
        value = arm.cost(name)
        return write(value.mean) if value else formats.NONE

    return cell


def _tests(rows: Sequence[Comparison], words: Words) -> str:
    exact = {one.accuracy.test == "mcnemar" for one in rows}
    names = [words.text("t test over seeds and documents"), words.text("McNemar's exact test")]
    return (
        words.text("{first} or, for single runs, {second}", first=names[0], second=names[1])
        if len(exact) > 1
        else names[exact == {True}]
    )


def _separate(row: RankRow, arm: Arm, words: Words) -> str:
    return words.text("itself") if row.separate is arm else _percent(row.separate.accuracy if row.separate else None)


def _recommended_notes(evidence: Evidence, words: Words) -> list[str]:
    """What the stars mean."""
    stars = len(recommended_of(evidence))
    both = message("⋆: recommended, among all arms and among those that adapt the encoder.")
    return [words.text(message("⋆: recommended.") if stars == 1 else both)] if stars else []


def _interval_notes(evidence: Evidence, words: Words) -> list[str]:
    return _kind_notes({found.kind for _, found in evidence.intervals}, words)


def _class_notes(section: Section, evidence: Evidence, words: Words) -> list[str]:
    """The accuracy of the most frequent class, and how many classes macro-F1 averages where that is not all of them."""
    found = evidence.majorities
    notes = (
        [
            words.text(
                "Always answering the most frequent class: {accuracy} %.", accuracy=formats.percent(found.test.accuracy)
            )
        ]
        if found
        else []
    )
    counts = [one for arm in section.arms if (one := averaged_classes(arm))]
    if counts and (lowest := min(one.lowest for one in counts)) < counts[0].total:
        highest = max(one.highest for one in counts)
        counted = str(lowest) if lowest == highest else f"{lowest}–{highest}"
        notes.append(
            words.text(
                "Macro-F1 averages the classes that occur, {counted} of {total}.",
                counted=counted,
                total=counts[0].total,
            )
        )
    return notes


def _kind_notes(kinds: Collection[str], words: Words) -> list[str]:
    return [words.text(note) for kind, note in _INTERVAL_NOTES.items() if kind in kinds]
