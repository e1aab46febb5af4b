"""What the recommended arms make of each class, as a table for each arm."""

from __future__ import annotations

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.classes import ClassResult, class_results
from tanzaku.analysis.evidence import Evidence
from tanzaku.report import formats
from tanzaku.report.render import Column, Table
from tanzaku.report.series import recommended_of
from tanzaku.report.words import Words, message

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


def class_table(section: Section, arm: Arm, *, name: str, words: Words) -> Table:
    """Precision, recall and F1 of the classes that `shown_classes` gives for an arm, which is called `name`."""
    shown, total = shown_classes(arm), len(section.data.label_names)
    caption = (
        message("{arm}: precision, recall and F1 of each class on the test documents of {data}, means over the runs.")
        if len(shown) == total
        else message(
            "{arm}: the {shown} of {total} classes of {data} with the lowest F1 on the test documents, means over the "
            "runs."
        )
    )
    return Table(
        caption=words.text(caption, arm=name, shown=len(shown), total=total, data=section.data.name),
        columns=(
            Column(words.text("Class")),
            Column(words.text("Precision (%)"), numeric=True),
            Column(words.text("Recall (%)"), numeric=True),
            Column(words.text("F1 (%)"), numeric=True),
            Column(words.text("Test documents"), numeric=True),
        ),
        rows=tuple((one.label, *_percentages(one), formats.count(one.support)) for one in shown),
    )


def _percentages(result: ClassResult) -> tuple[str, str, str]:
    """Precision, recall and F1."""
    precision, recall, f1 = map(formats.percent, (result.precision, result.recall, result.f1))
    return precision, recall, f1
