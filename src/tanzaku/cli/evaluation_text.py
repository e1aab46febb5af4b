"""An evaluation as text, 80 columns wide."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from tanzaku.cli.abstaining import describe
from tanzaku.display import counted, plain_console

if TYPE_CHECKING:
    from tanzaku.analysis.evaluation import Answered, Evaluation, Range
    from tanzaku.analysis.reliability import Reliability

_WIDTH = 80
_MOST_CHARACTERS = 40  # of a text


def evaluation_text(evaluation: "Evaluation", texts: Sequence[str]) -> str:
    """Everything about an evaluation; `texts` are the documents'."""
    stream = io.StringIO()
    console = plain_console(file=stream, width=_WIDTH)
    majority = evaluation.majority
    console.print(f"{counted(evaluation.documents, 'document')}; ranges are 95 % intervals.\n")
    for name, value in (
        ("Accuracy", f"{_percent(evaluation.accuracy)} {_range(evaluation.accuracy_interval)}"),
        ("Macro-F1", f"{_percent(evaluation.macro_f1)} {_range(evaluation.macro_f1_interval)}"),
        ("Always the most frequent class", f"{_percent(majority.accuracy)} ({majority.label})"),
    ):
        console.print(f"{name + ':':<32}{value}")
    console.print()
    console.print(_classes(evaluation))
    console.print(_calibration(evaluation.reliability))
    console.print(_bins(evaluation.reliability))
    if evaluation.answered:
        console.print(_answered(evaluation.answered) + "\n")
    console.print(_mistakes(evaluation, texts))
    return "".join(line.rstrip() + "\n" for line in stream.getvalue().splitlines())


def _table(*columns: str, numbers: int) -> Table:
    """A table whose columns after the first few are numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="none")
    for place, name in enumerate(columns):
        right = place >= len(columns) - numbers
        table.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="fold")
    return table


def _classes(evaluation: "Evaluation") -> Table:
    table = _table("Class", "Documents", "Precision (%)", "Recall (%)", "F1 (%)", numbers=4)
    for one in evaluation.classes:
        table.add_row(
            one.label,
            f"{one.documents:,}",
            _of_class(one.precision, one.precision_interval),
            _of_class(one.recall, one.recall_interval),
            "–" if one.f1 is None else _number(one.f1),
        )
    return table


def _calibration(found: "Reliability") -> str:
    return (
        f"\nThe expected calibration error is {100 * found.error:.1f} points on "
        f"{counted(found.documents, 'document')}: "
        "the mean distance between the probabilities and the shares of correct labels. If every probability were "
        f"right, chance would make it {100 * found.error_by_chance:.1f} points.\n"
    )


def _bins(found: "Reliability") -> Table:
    table = _table("Documents", "Mean probability (%)", "Correct (%)", numbers=3)
    for one in found.bins:
        table.add_row(f"{one.documents:,}", _number(one.probability), f"{_number(one.accuracy)} {_range(one.interval)}")
    table.add_row("", "", "")
    return table


def _answered(found: "Answered") -> str:
    share = f"{100 * found.wrong / found.answered:.1f} % {_range(found.wrong_interval)}" if found.answered else "none"
    return (
        f"{describe(found.threshold)} Of the documents evaluated here, {found.answered:,} are answered, "
        f"{found.wrong:,} of them wrongly: {share}."
    )


def _mistakes(evaluation: "Evaluation", texts: Sequence[str]) -> Table | str:
    wrong = evaluation.documents - evaluation.correct
    if not wrong:
        return "No document got a wrong label."
    table = _table("Number", "Label", "Predicted", "Probability", "Text", numbers=0)
    table.title = f"{counted(wrong, 'mistake')}, those with the highest probabilities first"
    table.title_style, table.title_justify = "none", "left"
    for one in evaluation.mistakes:
        text = " ".join(texts[one.number - 1].split())
        shown = text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
        table.add_row(str(one.number), one.label, one.predicted, _percent(one.probability), shown)
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _number(share: float) -> str:
    return f"{100 * share:.1f}"


def _of_class(value: float, interval: "Range | None") -> str:
    """Precision or recall; neither is defined without a document to count."""
    return f"{_number(value)} {_range(interval)}" if interval else "–"


def _range(interval: "Range | None") -> str:
    return f"({100 * interval[0]:.1f}–{100 * interval[1]:.1f})" if interval else "(–)"
