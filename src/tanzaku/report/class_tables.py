"""What the recommended arms make of each class, as a table for each arm."""

from __future__ import annotations

from tanzaku.analysis.arms import Arm
from tanzaku.analysis.classes import ClassResult, class_results
from tanzaku.analysis.evidence import Evidence
from tanzaku.report import formats, texts
from tanzaku.report.render import Column, Table
from tanzaku.report.series import recommended_of

MOST_CLASSES = 20  # that a table shows; of more, those with the lowest F1


def class_arms(evidence: Evidence) -> list[Arm]:
    """The arms that have such a table: the recommended ones, or the best where none is recommended."""
    return recommended_of(evidence) or ([evidence.best] if evidence.best else [])


def shown_classes(arm: Arm) -> list[ClassResult]:
    """The classes of the test set in the order of the labels; of many, those with the lowest F1, the lowest first."""
    found = class_results(arm)
    if len(found) <= MOST_CLASSES:
        return list(found)
    return sorted(found, key=lambda one: one.f1)[:MOST_CLASSES]


def percentages(result: ClassResult) -> tuple[str, str, str]:
    """Precision, recall and F1."""
    precision, recall, f1 = map(formats.percent, (result.precision, result.recall, result.f1))
    return precision, recall, f1


def class_tables(evidence: Evidence) -> list[Table]:
    """One table for each of `class_arms`."""
    headings = (texts.PRECISION, texts.RECALL, texts.F1, texts.TEST_DOCUMENTS)
    tables = []
    for arm in class_arms(evidence):
        shown, total = shown_classes(arm), len(class_results(arm))
        caption = texts.CLASS_RESULTS if len(shown) == total else texts.WORST_CLASS_RESULTS
        tables.append(
            Table(
                caption=caption.format(arm=formats.arm_name(arm), shown=len(shown), total=total),
                columns=(Column(texts.CLASS), *(Column(heading, numeric=True) for heading in headings)),
                rows=tuple((one.label, *percentages(one), formats.count(one.support)) for one in shown),
            )
        )
    return tables
