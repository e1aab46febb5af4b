"""The tables of a section for a paper: narrow enough for a text width of 14 cm, in the language of the report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

from tanzaku.analysis.arms import Arm, Estimate, Section
from tanzaku.analysis.classes import averaged_classes
from tanzaku.analysis.evidence import Comparison, Evidence
from tanzaku.analysis.rank_curves import RankCurve, RankRow
from tanzaku.analysis.statistics import Interval
from tanzaku.report import formats, tables, thesis
from tanzaku.report.class_tables import class_arms, percentages, shown_classes
from tanzaku.report.comparisons import cost_of, front_members
from tanzaku.report.latex import PREAMBLE, LatexColumn, LatexTable, latex_table
from tanzaku.report.names import short_name
from tanzaku.report.series import in_order, recommended_of
from tanzaku.report.words import Words

_NONE = "–"
_NO_BREAK = "\u00a0"
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
    splits = ("training", "validation", "test")
    groups = ["", words("latex.thesis_group")] if thesis.is_thesis_data(section.data) else [""]
    columns = [
        _class_column(words, numbers=range(1, len(section.data.label_names) + 1)),
        *(LatexColumn(words(f"latex.{split}"), group=group) for group in groups for split in splits),
    ]
    names = [*section.data.label_names, words("latex.all_classes")]
    rows = tuple((name, *map(tables.count_or_dash, row)) for name, row in zip(names, counts, strict=True))
    return LatexTable(words("latex.data", data=section.data.name), tuple(columns), rows)


def _results_table(section: Section, evidence: Evidence, words: Words) -> LatexTable:
    group = words("latex.accuracy_group")
    several = any(len(arm.finished) > 1 for arm in section.arms)
    columns: _Columns[Arm] = [
        *_arm_columns(section, evidence, words),
        (LatexColumn(words("latex.runs")), lambda arm: _runs(arm, words)),
        (LatexColumn(words("latex.mean"), group=group), lambda arm: _accuracy(arm, words)),
        (LatexColumn(words("latex.interval"), group=group), lambda arm: formats.interval(evidence.interval(arm))),
    ]
    if several:
        columns.append((LatexColumn(words("latex.deviation"), group=group), _deviation))
    columns.append((LatexColumn(words("latex.macro_f1")), lambda arm: _percent(arm.macro_f1)))
    published = thesis.beside(section)
    if published:
        over = words("latex.thesis_group")
        columns += [
            (
                LatexColumn(words("latex.thesis_accuracy"), group=over),
                thesis.cell(lambda row: f"{row.accuracy_percent:.2f}"),
            ),
            (LatexColumn(words("latex.thesis_table"), group=over), thesis.cell(lambda row: row.table)),
        ]
    notes = [
        *_interval_notes(evidence, words),
        *([words("latex.deviation_note")] if several else []),
        *_class_notes(section, evidence, words),
        *_recommended_notes(evidence, words),
        *([words("latex.thesis_note")] if published else []),
    ]
    facts = {**_where(section, words), "documents": section.data.test_documents}
    return _table(words("latex.results", notes=words.joined(notes), **facts), columns, in_order(section))


def _costs_table(section: Section, evidence: Evidence, words: Words) -> LatexTable:
    sizes = bool(published := thesis.beside(section)) and any(row.megabytes is not None for row in published)
    seconds = any(row.train_seconds is not None for row in published)
    gigabytes = lambda size: f"{size / 1e9:.2f}"  # noqa: E731
    group, over = words("latex.here_group") if published else "", words("latex.thesis_group")
    columns: _Columns[Arm] = [
        *_arm_columns(section, evidence, words),
        (
            LatexColumn(words("latex.parameters"), group=group),
            _cost("trainable_parameters", lambda number: formats.thousands(number)),
        ),
        (LatexColumn(words("latex.megabytes"), group=group), _cost("saved_bytes", _as_megabytes)),
        (LatexColumn(words("latex.seconds"), group=group), _cost("train_seconds", formats.seconds)),
        (LatexColumn(words("latex.memory"), group=group), _cost("peak_memory_bytes", gigabytes)),
    ]
    if any(arm.cost("peak_gpu_memory_bytes") for arm in section.arms):
        columns.append((LatexColumn(words("latex.gpu_memory"), group=group), _cost("peak_gpu_memory_bytes", gigabytes)))
    if any(arm.epochs_run for arm in section.arms):
        columns.append((LatexColumn(words("latex.epochs")), tables.epochs))
    if any(arm.scale is not None for arm in section.arms):
        columns.append((LatexColumn(words("latex.scale")), tables.scale))
    if sizes:
        cell = thesis.cell(lambda row: formats.megabytes(thesis.published_megabytes(row)))
        columns.append((LatexColumn(words("latex.megabytes"), group=over), cell))
    if seconds:
        cell = thesis.cell(lambda row: _NONE if row.train_seconds is None else formats.seconds(row.train_seconds))
        columns.append((LatexColumn(words("latex.seconds"), group=over), cell))
    notes = [*_recommended_notes(evidence, words), *([words("latex.thesis_costs_note")] if seconds else [])]
    caption = words("latex.costs", notes=words.joined(notes), **_where(section, words)).rstrip()
    return _table(caption, columns, in_order(section))


def _comparison_table(section: Section, evidence: Evidence, reference: Arm, words: Words) -> LatexTable:
    accuracy, macro_f1 = words("latex.accuracy_only"), words("latex.macro_f1_group")
    order = in_order(section)
    rows = sorted(evidence.against(reference), key=lambda one: order.index(one.arm))
    name = _name(section, words)
    columns: _Columns[Comparison] = [
        (_name_column(words), lambda one: name(one.arm)),
        (LatexColumn(words("latex.difference"), group=accuracy), lambda one: formats.points(one.accuracy.mean)),
        (
            LatexColumn(words("latex.interval"), group=accuracy),
            lambda one: _points_interval(one.accuracy.interval, words),
        ),
        (LatexColumn(words("latex.p"), group=accuracy), lambda one: formats.p_value(one.accuracy_p)),
        (LatexColumn(words("latex.difference"), group=macro_f1), lambda one: formats.points(one.macro_f1.mean)),
        (LatexColumn(words("latex.p"), group=macro_f1), lambda one: formats.p_value(one.macro_f1_p)),
    ]
    caption = words("latex.comparison", arm=name(reference), data=section.data.name, tests=_tests(rows, words))
    return _table(caption, columns, rows)


def _class_table(section: Section, arm: Arm, words: Words) -> LatexTable:
    shown = shown_classes(arm)
    numbers = {name: number for number, name in enumerate(section.data.label_names, start=1)}
    columns = (
        _class_column(words, numbers=[numbers[one.label] for one in shown]),
        *(LatexColumn(words(f"latex.{name}")) for name in ("precision", "recall", "f1", "test_documents")),
    )
    whole = len(shown) == len(section.data.label_names)
    caption = words(
        "latex.classes" if whole else "latex.worst_classes",
        arm=_name(section, words)(arm),
        data=section.data.name,
        shown=len(shown),
        total=len(section.data.label_names),
    )
    return LatexTable(
        caption, columns, tuple((one.label, *percentages(one), formats.count(one.support)) for one in shown)
    )


def _class_column(words: Words, *, numbers: Sequence[int]) -> LatexColumn:
    instead = tuple(words("latex.numbered_class", number=number) for number in numbers)
    return LatexColumn(words("latex.class"), numeric=False, wraps=True, instead=instead)


def _front_table(section: Section, evidence: Evidence, words: Words) -> LatexTable | None:
    members = front_members(section, evidence)
    if not members:
        return None
    name = _name(section, words)
    columns: _Columns[tuple[Arm, bool, bool]] = [
        (_name_column(words), lambda one: name(one[0])),
        (LatexColumn(words("latex.test_accuracy")), lambda one: _percent(one[0].accuracy)),
        (LatexColumn(words("latex.megabytes")), lambda one: _as_megabytes(cost_of(one[0], "saved_bytes"))),
        (LatexColumn(words("latex.seconds")), lambda one: formats.seconds(cost_of(one[0], "train_seconds"))),
        (LatexColumn(words("latex.size_front")), lambda one: words("setting.yes") if one[1] else _NONE),
        (LatexColumn(words("latex.time_front")), lambda one: words("setting.yes") if one[2] else _NONE),
    ]
    return _table(words("latex.fronts", **_where(section, words)), columns, members)


def _rank_table(section: Section, curve: RankCurve, words: Words) -> LatexTable:
    own = words("latex.adapter_group") if curve.separate else ""
    columns: _Columns[RankRow] = [
        (LatexColumn(words("latex.rank")), lambda row: str(row.rank)),
        (LatexColumn(words("latex.accuracy"), group=own), lambda row: _percent(row.accuracy)),
        (LatexColumn(words("latex.interval"), group=own), lambda row: formats.interval(row.interval)),
        (LatexColumn(words("latex.macro_f1"), group=own), lambda row: _percent(row.macro_f1)),
        (
            LatexColumn(words("latex.megabytes"), group=own),
            lambda row: _as_megabytes(row.saved_bytes.mean) if row.saved_bytes else _NONE,
        ),
    ]
    if curve.separate:
        group = words("latex.separate_group")
        columns += [
            (LatexColumn(words("latex.accuracy"), group=group), lambda row: _separate(row, curve.arm, words)),
            (
                LatexColumn(words("latex.difference"), group=group),
                lambda row: formats.points(row.difference.mean) if row.difference else _NONE,
            ),
            (
                LatexColumn(words("latex.interval"), group=group),
                lambda row: _points_interval(row.difference.interval, words) if row.difference else _NONE,
            ),
            (
                LatexColumn(words("latex.p"), group=group),
                lambda row: _NONE if row.p_value is None else formats.p_value(row.p_value),
            ),
        ]
    kinds = {row.interval.kind for row in curve.rows if row.interval}
    notes = [*_kind_notes(kinds, words), *([words("latex.separate_note")] if curve.separate else [])]
    name = _name(section, words)(curve.arm)
    caption = words("latex.ranks", arm=name, data=section.data.name, notes=words.joined(notes))
    return _table(caption, columns, curve.rows)


def _thesis_table(section: Section, words: Words) -> LatexTable:
    """The settings, data and hardware of these runs next to the thesis's."""
    table = tables.comparison_table(section, words=words)
    columns = tuple(
        LatexColumn(column.heading, numeric=False, wraps=place < 3) for place, column in enumerate(table.columns)
    )
    return LatexTable(words("latex.thesis", data=section.data.name), columns, table.rows)


def _arm_columns(section: Section, evidence: Evidence, words: Words) -> _Columns[Arm]:
    """The arm's name, with a star where it is recommended."""
    name = _name(section, words)
    chosen = recommended_of(evidence)
    return [(_name_column(words), lambda arm: f"{name(arm)}{_NO_BREAK}⋆" if arm in chosen else name(arm))]


def _table(caption: str, columns: _Columns[_Row], rows: Sequence[_Row]) -> LatexTable:
    cells = tuple(tuple(write(row) for _, write in columns) for row in rows)
    return LatexTable(caption, tuple(column for column, _ in columns), cells)


def _name_column(words: Words) -> LatexColumn:
    return LatexColumn(words("latex.arm"), numeric=False, wraps=True)


def _name(section: Section, words: Words) -> Callable[[Arm], str]:
    return partial(short_name, section=section, words=words)


def _where(section: Section, words: Words) -> dict[str, str]:
    return {"data": section.data.name, "encoder": section.encoder_name or words("latex.no_encoder")}


def _runs(arm: Arm, words: Words) -> str:
    finished = str(len(arm.finished))
    return words("latex.runs_failed", finished=finished, failed=len(arm.failed)) if arm.failed else finished


def _accuracy(arm: Arm, words: Words) -> str:
    return _percent(arm.accuracy) if arm.finished else words("latex.failed")


def _deviation(arm: Arm) -> str:
    deviation = arm.accuracy.standard_deviation if arm.accuracy else None
    return _NONE if deviation is None else formats.percent(deviation)


def _percent(value: Estimate | None) -> str:
    return formats.percent(value.mean) if value else _NONE


def _as_megabytes(size: float) -> str:
    return formats.megabytes(size / 1e6)


def _cost(name: str, write: Callable[[float], str]) -> Callable[[Arm], str]:
    def cell(arm: Arm) -> str:
        value = arm.cost(name)
        return write(value.mean) if value else _NONE

    return cell


def _points_interval(value: Interval, words: Words) -> str:
    return words("interval.points", low=formats.points(value.low), high=formats.points(value.high))


def _tests(rows: Sequence[Comparison], words: Words) -> str:
    exact = {one.accuracy.test == "mcnemar" for one in rows}
    names = [words("latex.test_t"), words("latex.test_mcnemar")]
    return words("latex.test_joint", first=names[0], second=names[1]) if len(exact) > 1 else names[exact == {True}]


def _separate(row: RankRow, arm: Arm, words: Words) -> str:
    return words("latex.itself") if row.separate is arm else _percent(row.separate.accuracy if row.separate else None)


def _recommended_notes(evidence: Evidence, words: Words) -> list[str]:
    """What the stars mean."""
    stars = len(recommended_of(evidence))
    return [words("latex.recommended_note" if stars == 1 else "latex.recommended_both_note")] if stars else []


def _interval_notes(evidence: Evidence, words: Words) -> list[str]:
    return _kind_notes({found.kind for _, found in evidence.intervals}, words)


def _class_notes(section: Section, evidence: Evidence, words: Words) -> list[str]:
    """The accuracy of the most frequent class, and how many classes macro-F1 averages where that is not all of them."""
    found = evidence.majorities
    notes = [words("latex.majority_note", accuracy=formats.percent(found.test.accuracy))] if found else []
    counts = [one for arm in section.arms if (one := averaged_classes(arm))]
    if counts and (lowest := min(one.lowest for one in counts)) < counts[0].total:
        highest = max(one.highest for one in counts)
        counted = str(lowest) if lowest == highest else f"{lowest}–{highest}"
        notes.append(words("latex.averaged_note", counted=counted, total=counts[0].total))
    return notes


def _kind_notes(kinds: Collection[str], words: Words) -> list[str]:
    return [words(f"latex.interval_{kind}") for kind in ("both", "wilson") if kind in kinds]
