"""The tables of a section. Each is described once, for the screen and for papers, whose columns are narrower."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from tanzaku.analysis import thesis
from tanzaku.analysis.arms import LEARNING_RATE, Arm, Section
from tanzaku.analysis.classes import documents_per_class, shown_classes
from tanzaku.analysis.evidence import Comparison, Evidence
from tanzaku.analysis.rank_curves import RankCurve, RankRow
from tanzaku.analysis.series import in_order
from tanzaku.analysis.settings import PART_RATES, differing_settings
from tanzaku.analysis.statistics import Interval
from tanzaku.display import number
from tanzaku.report import formats
from tanzaku.report.names import paper_name
from tanzaku.report.render import Column, Table
from tanzaku.report.terms import OUTCOMES, covered, setting_name
from tanzaku.words import Words, message

_NO_BREAK = "\u00a0"
_LAST = 9
_SETTINGS = 10  # of arms whose names already say what distinguishes them
_Row = TypeVar("_Row")


@dataclass(frozen=True)
class _Column(Generic[_Row]):
    """What a column holds of each row."""

    screen: str
    """The heading on the screen: in Markdown and on a terminal. Without one, the column is not there."""
    paper: str
    """The heading in a paper. Without one, the column is not there."""
    cell: Callable[[_Row], str]
    group: str = ""
    """A heading in a paper above this one and those of its neighbours that have the same."""
    numeric: bool = True
    place: int = _LAST
    """See `Column`."""
    wraps: bool = False
    instead: tuple[str, ...] = ()


def data_table(section: Section, *, words: Words, paper: bool = False) -> Table | None:
    """Training, validation and test documents of each class, with Table 3.1 where it applies."""
    counts = documents_per_class(section)
    if counts is None:
        return None
    text, labels = words.text, section.data.label_names
    splits = (text("Training"), text("Validation"), text("Test"))
    columns = [_class_column(words, numbers=range(1, len(labels) + 1))]
    columns += [_Column(split, split, partial(_count, place)) for place, split in enumerate(splits, 1)]
    if thesis.is_thesis_data(section.data):
        columns += [
            _Column(text("{label} (thesis)", label=split), split, partial(_count, place), group=text("Thesis"))
            for place, split in enumerate(splits, 4)
        ]
    caption = text("Documents in each class of {data}.", data=section.data.name) if paper else text("Data")
    rows = [(name, *row) for name, row in zip([*labels, text("All")], counts, strict=True)]
    return replace(_table(caption, columns, rows, paper=paper), total=True)


def results_table(section: Section, evidence: Evidence, *, words: Words) -> Table:
    """One row an arm, in the order of `in_order`, for the screen; an arm whose runs all failed has a row too."""
    columns = [*_method_columns(section, words), *_results(section, evidence, words), *_costs(section, words)]
    return _table(words.text("Results"), columns, in_order(section))


def paper_results(section: Section, evidence: Evidence, *, caption: str, words: Words) -> Table:
    """The results of `results_table` for a paper."""
    columns = [_starred_column(evidence, words), *_results(section, evidence, words)]
    return _table(caption, columns, in_order(section), paper=True)


def paper_costs(section: Section, evidence: Evidence, *, caption: str, words: Words) -> Table:
    """The costs of `results_table` for a paper."""
    columns = [_starred_column(evidence, words), *_costs(section, words)]
    return _table(caption, columns, in_order(section), paper=True)


def _method_columns(section: Section, words: Words) -> list[_Column[Arm]]:
    rate: Callable[[Arm], str] = lambda arm: formats.known(arm.learning_rate, number)  # noqa: E731
    settings = [(key, _capitalized(setting_name(key, words=words))) for key in differing_settings(section.arms)]
    columns: list[_Column[Arm]] = [
        _Column(words.text("Method"), "", lambda arm: arm.full_name(words).with_options, numeric=False, place=0),
        _Column(words.text("Learning rate"), "", rate),
        *(_Column(name, "", partial(_setting, key, words)) for key, name in settings),
    ]
    return _placed(columns, section.arms)


def _placed(columns: Sequence[_Column[Arm]], arms: Sequence[Arm]) -> list[_Column[Arm]]:
    """The columns of a method and its settings: those without which two rows would look the same come early."""
    placed = [columns[0]]
    seen: list[tuple[str, ...]] = [(columns[0].cell(arm),) for arm in arms]
    for column in columns[1:]:
        with_this: list[tuple[str, ...]] = [(*row, column.cell(arm)) for row, arm in zip(seen, arms, strict=True)]
        distinguishes = len(set(with_this)) > len(set(seen))
        placed.append(replace(column, place=2 if distinguishes else _SETTINGS))
        seen = with_this if distinguishes else seen
    return placed


def _capitalized(name: str) -> str:
    """With a capital at its start, except that of another alphabet: α stays what it is."""
    return name[:1].upper() + name[1:] if name[:1].isascii() else name


def _results(section: Section, evidence: Evidence, words: Words) -> list[_Column[Arm]]:
    text, accuracy, published = words.text, words.text("Accuracy (%)"), words.text("Thesis")
    interval = text("95 % interval")
    columns: list[_Column[Arm]] = [
        _Column(text("Runs"), text("Runs"), lambda arm: runs_text(arm, words=words), place=7),
        _Column(text("Test accuracy (%)"), text("Mean"), lambda arm: accuracy_text(arm, words), accuracy, place=1),
        _Column(
            text("95 % interval (%)"), interval, lambda arm: formats.interval(evidence.interval(arm)), accuracy, place=3
        ),
        _Column(text("Interval covers"), "", lambda arm: _kind(evidence.interval(arm), words), numeric=False),
    ]
    if any(len(arm.finished) > 1 for arm in section.arms):
        columns += [
            _Column(text("Lowest–highest (s.d.)"), "", lambda arm: formats.spread(arm.accuracy)),
            _Column("", text("s.d."), lambda arm: formats.deviation(arm.accuracy), accuracy),
        ]
    columns.append(_Column(text("Macro-F1 (%)"), text("Macro-F1 (%)"), lambda arm: formats.mean(arm.macro_f1), place=5))
    if thesis.published_rows(section):
        written = _published(lambda row: f"{row.accuracy_percent:.2f}")
        columns += [
            _Column(text("Thesis: accuracy (%)"), text("Acc. (%)"), written, published),
            _Column(text("Thesis: table"), text("Table"), _published(lambda row: row.table), published),
        ]
    return columns


def _costs(section: Section, words: Words) -> list[_Column[Arm]]:
    text, published, over = words.text, thesis.published_rows(section), words.text("Thesis")
    group, memory, gpu = text("Costs") if published else "", "peak_memory_bytes", "peak_gpu_memory_bytes"
    columns: list[_Column[Arm]] = [
        _Column(text("Trainable parameters"), "", _cost("trainable_parameters", formats.count)),
        _Column("", text("Param. (k)"), _cost("trainable_parameters", formats.thousands), group),
        _Column(text("Saved (MB)"), text("Size (MB)"), _cost("saved_bytes", formats.size), group, place=4),
        _Column(text("Training (s)"), text("Time (s)"), _cost("train_seconds", formats.seconds), group, place=6),
        _Column(text("Training with evaluation (s)"), "", _cost("train_seconds_with_evaluation", formats.seconds)),
        _Column(text("Peak memory (MB)"), "", _cost(memory, formats.whole_megabytes)),
        _Column("", text("RAM (GB)"), _cost(memory, formats.gigabytes), group),
    ]
    if any(arm.cost(gpu) for arm in section.arms):
        columns += [
            _Column(text("Peak GPU memory (MB)"), "", _cost(gpu, formats.whole_megabytes)),
            _Column("", text("GPU (GB)"), _cost(gpu, formats.gigabytes), group),
        ]
    epochs = text("Epochs run/best") if any(arm.epochs_run for arm in section.arms) else ""
    scale = text("Scale") if any(arm.scale is not None for arm in section.arms) else ""
    columns += [
        _Column(text("Epochs run / best"), epochs, _epochs),
        _Column(text("Scale"), scale, lambda arm: formats.NONE if arm.scale is None else formats.factor(arm.scale)),
    ]
    if published:
        written = _published(lambda row: formats.megabytes(thesis.published_megabytes(row)))
        sizes = text("Size (MB)") if any(row.megabytes is not None for row in published) else ""
        columns.append(_Column(text("Thesis: saved (MB)"), sizes, written, over))
    if any(row.train_seconds is not None for row in published):
        written = _published(lambda row: formats.known(row.train_seconds, formats.seconds))
        columns.append(_Column(text("Thesis: training (s)"), text("Time (s)"), written, over))
    return columns


def comparison_table(
    section: Section, evidence: Evidence, reference: Arm, *, words: Words, caption: str = "", paper: bool = False
) -> Table:
    """Every other arm compared with one that is the best or recommended."""
    text, accuracy, macro_f1 = words.text, words.text("Accuracy"), words.text("Macro-F1")
    order = in_order(section)
    rows = sorted(evidence.against(reference), key=lambda one: order.index(one.arm))
    interval = partial(formats.points_interval, words=words)
    columns: list[_Column[Comparison]] = [
        _arm_column(lambda one: one.arm, words),
        _Column(
            text("Accuracy: difference (points)"),
            text("Diff."),
            lambda one: formats.points(one.accuracy.mean),
            accuracy,
        ),
        _Column(text("95 % interval"), text("95 % interval"), lambda one: interval(one.accuracy.interval), accuracy),
        _Column(text("p (Holm)"), text("p"), lambda one: formats.p_value(one.accuracy_p), accuracy),
        _Column(text("Outcome"), "", lambda one: text(OUTCOMES[one.outcome]), numeric=False),
        _Column(
            text("Macro-F1: difference (points)"),
            text("Diff."),
            lambda one: formats.points(one.macro_f1.mean),
            macro_f1,
        ),
        _Column(text("95 % interval"), "", lambda one: interval(one.macro_f1.interval)),
        _Column(text("p (Holm)"), text("p"), lambda one: formats.p_value(one.macro_f1_p), macro_f1),
        _Column(
            text("Test of accuracy"),
            "",
            lambda one: "McNemar" if one.accuracy.test == "mcnemar" else "t",
            numeric=False,
        ),
        _Column(
            text("Interval covers"),
            "",
            lambda one: text(covered(one.seeds_covered, groups=evidence.groups is not None)),
            numeric=False,
        ),
    ]
    caption = caption or text("Compared with {arm}", arm=reference.full_name(words))
    return _table(caption, columns, rows, paper=paper)


def front_table(
    section: Section, evidence: Evidence, *, words: Words, caption: str = "", paper: bool = False
) -> Table | None:
    """The arms that are on a front, from the smallest; None where there is none."""
    text, rows = words.text, evidence.front_members(section)
    no = formats.NONE if paper else text("no")
    columns: list[_Column[tuple[Arm, bool, bool]]] = [
        _arm_column(lambda row: row[0], words),
        _Column(text("Test accuracy (%)"), text("Test accuracy (%)"), lambda row: formats.mean(row[0].accuracy)),
        _Column(text("Saved (MB)"), text("Size (MB)"), lambda row: _cost("saved_bytes", formats.size)(row[0])),
        _Column(text("Training (s)"), text("Time (s)"), lambda row: _cost("train_seconds", formats.seconds)(row[0])),
        _Column(text("Size front"), text("Size front"), lambda row: text("yes") if row[1] else no, numeric=paper),
        _Column(text("Time front"), text("Time front"), lambda row: text("yes") if row[2] else no, numeric=paper),
    ]
    return _table(caption or text("Pareto fronts"), columns, rows, paper=paper) if rows else None


def class_arms(evidence: Evidence) -> list[Arm]:
    """The arms that have a table of their classes: the recommended ones, or the best where none is recommended."""
    return evidence.recommended or ([evidence.best] if evidence.best else [])


def class_table(section: Section, arm: Arm, *, words: Words, paper: bool = False) -> Table:
    """Precision, recall and F1 of the classes of the test set, of many of those with the lowest F1."""
    text, labels, shown = words.text, section.data.label_names, shown_classes(arm)
    caption = (
        message("{arm}: precision, recall and F1 of each class on the test documents of {data}, means over the runs.")
        if len(shown) == len(labels)
        else message(
            "{arm}: the {shown} of {total} classes of {data} with the lowest F1 on the test documents, means over the "
            "runs."
        )
    )
    name = paper_name(arm, words=words) if paper else arm.full_name(words)
    headings = (text("Precision (%)"), text("Recall (%)"), text("F1 (%)"), text("Test documents"))
    rows = [
        (
            one.label,
            *(formats.known(value, formats.percent) for value in (one.precision, one.recall, one.f1)),
            formats.count(one.support),
        )
        for one in shown
    ]
    return _table(
        text(caption, arm=name, shown=len(shown), total=len(labels), data=section.data.name),
        [
            _class_column(words, numbers=[labels.index(one.label) + 1 for one in shown]),
            *(_Column(heading, heading, partial(_item, place)) for place, heading in enumerate(headings, 1)),
        ],
        rows,
        paper=paper,
    )


def rank_table(curve: RankCurve, *, words: Words, caption: str = "", paper: bool = False) -> Table:
    """An adapter that was measured at several ranks: a row a rank."""
    text, interval = words.text, words.text("95 % interval")
    own = text("This adapter") if curve.separate else ""
    columns: list[_Column[RankRow]] = [
        _Column(text("Rank"), text("Rank"), lambda row: str(row.rank)),
        _Column(text("Runs"), "", lambda row: str(len(row.measured))),
        _Column(text("Test accuracy (%)"), text("Acc. (%)"), lambda row: formats.mean(row.accuracy), own),
        _Column(text("95 % interval (%)"), interval, lambda row: formats.interval(row.interval), own),
        _Column(text("Interval covers"), "", lambda row: _kind(row.interval, words), numeric=False),
        _Column(text("Macro-F1 (%)"), text("Macro-F1 (%)"), lambda row: formats.mean(row.macro_f1), own),
        _Column(text("Saved (MB)"), text("Size (MB)"), lambda row: formats.mean(row.saved_bytes, formats.size), own),
    ]
    if curve.separate:
        columns += _separate_columns(curve.arm, words)
    caption = caption or text("{arm}: the trained adapter at each rank", arm=curve.arm.full_name(words))
    return _table(caption, columns, curve.rows, paper=paper)


def _separate_columns(arm: Arm, words: Words) -> list[_Column[RankRow]]:
    """The arm that was trained only at a row's rank, compared with the adapter."""
    text, group, interval = words.text, words.text("Trained separately"), words.text("95 % interval")

    def difference(row: RankRow) -> str:
        return formats.points(row.difference.mean) if row.difference else formats.NONE

    def interval_cell(row: RankRow) -> str:
        return formats.points_interval(row.difference.interval, words=words) if row.difference else formats.NONE

    def outcome(row: RankRow) -> str:
        return text(OUTCOMES[row.outcome]) if row.outcome else formats.NONE

    accuracy = partial(separate_accuracy, arm=arm, words=words)
    return [
        _Column(text("Trained separately: accuracy (%)"), text("Acc. (%)"), accuracy, group),
        _Column(text("Accuracy: difference (points)"), text("Diff."), difference, group),
        _Column(interval, interval, interval_cell, group),
        _Column(text("p (Holm)"), text("p"), lambda row: formats.known(row.p_value, formats.p_value), group),
        _Column(text("Outcome"), "", outcome, numeric=False),
    ]


def separate_accuracy(row: RankRow, *, arm: Arm, words: Words) -> str:
    """The accuracy of the arm that was trained at this rank, where that is not the adapter's own arm."""
    if row.separate is arm:
        return words.text("itself")
    return formats.mean(row.separate.accuracy if row.separate else None)


def accuracy_text(arm: Arm, words: Words) -> str:
    """The mean test accuracy in percent."""
    return formats.mean(arm.accuracy) if arm.finished else words.text("failed")


def _table(caption: str, columns: Iterable[_Column[_Row]], rows: Sequence[_Row], *, paper: bool = False) -> Table:
    shown = [(one, heading) for one in columns if (heading := one.paper if paper else one.screen)]
    return Table(
        caption,
        tuple(
            Column(heading, one.numeric, one.place, one.group if paper else "", one.wraps, one.instead)
            for one, heading in shown
        ),
        tuple(tuple(one.cell(row) for one, _ in shown) for row in rows),
    )


def _arm_column(arm: Callable[[_Row], Arm], words: Words) -> _Column[_Row]:
    name, heading = partial(paper_name, words=words), words.text("Arm")
    return _Column(heading, heading, lambda row: name(arm(row)), numeric=False, wraps=True)


def _starred_column(evidence: Evidence, words: Words) -> _Column[Arm]:
    """The arm's name, with a star where it is recommended."""
    name, chosen = partial(paper_name, words=words), evidence.recommended
    cell = lambda arm: f"{name(arm)}{_NO_BREAK}⋆" if arm in chosen else name(arm)  # noqa: E731
    return _Column("", words.text("Arm"), cell, numeric=False, wraps=True)


def _class_column(words: Words, *, numbers: Sequence[int]) -> _Column[Any]:
    instead = tuple(words.text("class {number}", number=number) for number in numbers)
    heading = words.text("Class")
    return _Column(heading, heading, partial(_item, 0), numeric=False, wraps=True, instead=instead)


def _item(place: int, row: Sequence[str]) -> str:
    return row[place]


def _count(place: int, row: Sequence[Any]) -> str:
    return formats.known(row[place], formats.count)


def _cost(name: str, write: Callable[[float], str]) -> Callable[[Arm], str]:
    return lambda arm: formats.mean(arm.cost(name), write)


def _published(write: Callable[[thesis.Published], str]) -> Callable[[Arm], str]:
    """What a column of the thesis's figures holds for an arm: a dash where no row is the arm's."""
    return lambda arm: formats.known(thesis.published_for(arm), write)


def _setting(key: str, words: Words, arm: Arm) -> str:
    if key not in arm.settings:
        return formats.NONE
    value = arm.settings[key]
    return formats.setting(arm.settings[LEARNING_RATE] if value is None and key in PART_RATES else value, words=words)


def runs_text(arm: Arm, *, words: Words) -> str:
    """How many of an arm's runs finished, and how many failed."""
    finished, failed = len(arm.finished), len(arm.failed)
    return words.text("{finished} + {failed} failed", finished=finished, failed=failed) if failed else str(finished)


def _kind(interval: Interval | None, words: Words) -> str:
    return words.text(covered(interval.kind, groups=interval.over_groups)) if interval else formats.NONE


def _epochs(arm: Arm) -> str:
    """The epochs that were run, and the one that was restored."""
    return f"{formats.span(arm.epochs_run)} / {formats.span(arm.best_epoch)}" if arm.epochs_run else formats.NONE
