"""What docs/fit.md says of measurements, with its figure, made from the committed records.

    python -m benchmarks.fit_page

It replaces the text between the two markers of the page, and writes docs/images/budgets.svg. What has no record yet is
said to be missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import budgets, fit, promises
from benchmarks.marked import Record, made, section, with_marked
from benchmarks.record import read_alone
from tanzaku.drawing.charts import Axis, Chart, Line, Point
from tanzaku.files import write_atomically
from tanzaku.measure.metrics import accuracy_interval
from tanzaku.report.figures import render_chart
from tanzaku.words import ENGLISH

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "fit.md"
FIGURE = DOCS / "images" / "budgets.svg"
BEGIN, END = "<!-- measured: python -m benchmarks.fit_page -->\n", "<!-- end of what was measured -->\n"


def measured(fits: Record | None, sizes: Record | None, promised: Record | None) -> str:
    """The text between the markers, from the records that there are."""
    parts = [
        section("### Budgets and the best candidate", fits, _fits, "benchmarks.fit SETS LIVEDOOR"),
        section("### Accuracy by size, compared with fastText", sizes, _sizes, "benchmarks.budgets LIVEDOOR"),
        section(
            "### Gains of more labels, and answers with few mistakes", promised, _promised, "benchmarks.promises FILES"
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _made(record: Record, path: Path) -> str:
    again = [part for part, one in record["parts"].items() if one["made"]["starts"] > 1]
    return made(record, path, more=f"; interrupted and resumed: {', '.join(again)}" if again else "")


def _fits(record: Record) -> list[str]:
    return [
        f"{_made(record, fit.RECORD)}: `tanzaku fit` with {record['minutes']:g} minutes for each set and a margin of "
        "one point. The size of the bundles, and their speed in a fresh process with one thread, were measured by a "
        "separate program. The test documents had no part in the choice. The best compared candidate is the one with "
        "the highest accuracy on the folds, trained and packed in the same way; the difference from it has a 95 % "
        "interval over documents."
        f"{_not_compared(record)}",
        "",
        *fit.rows(record["parts"]),
    ]


def _not_compared(record: Record) -> str:
    """How many candidates there was no time for."""
    parts = record["parts"].items()
    names = {part: {one["name"] for one in found["candidates"] if one["dropped"] == "time"} for part, found in parts}
    told = [f"{len(late)} for {part}" for part, late in names.items() if late]
    if not told:
        return ""
    slow = "" if record["machine"]["cpu_bfloat16"] else " on this machine, which has no instructions for bfloat16"
    return (
        f" There was no time to compare all candidates{slow} ({', '.join(told)} were left out), so a better one may be "
        "among those that were not compared."
    )


def _sizes(record: Record) -> list[str]:
    (documents,) = {part["test_documents"] for part in record["parts"].values()}
    return [
        f"{_made(record, budgets.RECORD)}: `tanzaku fit --max-mb N --margin 1 --shared-dictionary` and fastText 0.9.2 "
        "with `-autotune-modelsize`, each "
        f"with {record['minutes']:g} minutes for each size, on the Livedoor News Corpus. Accuracies are those of the "
        f"same {documents:,} test documents. fastText read texts that MeCab had divided into words; MeCab's dictionary "
        "is not counted for either program. Where fastText's autotuning for a size failed, it was autotuned without a "
        "size and then quantised to that size."
        f"{_without_time(record['parts'])}",
        "",
        *budgets.rows(record["parts"]),
        "",
        f"![Accuracy by the megabytes that the classifier may have](images/{FIGURE.name})",
    ]


def _without_time(parts: Mapping[str, Any]) -> str:
    """What the verdict of the largest size says of candidates that there was no time for, if it says something."""
    largest = max(parts, key=float)
    told = [one for one in parts[largest]["verdict"] if one.startswith("There was no time")]
    return "".join(f" The verdict within {largest} MB adds: “{one}”" for one in told)


def _promised(record: Record) -> list[str]:
    some = next(iter(record["parts"].values()))
    return [
        f"{_made(record, promises.RECORD)}: {some['labels']} labelled documents were drawn {some['draws']} times from "
        "each set, and TF-IDF was fitted to them as `tanzaku fit` does. Then the promised number of labels was "
        "added, and the change of the accuracy was measured on up to 3,000 other documents. The last column is how "
        "often the 95 % interval covers the change, with the standard error of the measurement.",
        "",
        *promises.gain_rows(record["parts"]),
        "",
        "The final classifier only answered where its probability reached the threshold that was chosen on the folds. "
        "More of its answers may be wrong than promised in 5 % of the draws, since the confidence is 95 %; the last "
        "column is the share of the draws in which they were.",
        "",
        *promises.promise_rows(record["parts"]),
        "",
        "The final classifier's expected calibration error in points, and in brackets the error that chance would "
        f"cause: {_errors(record)}. Its temperature was fitted on about 30 documents.",
    ]


def _errors(record: Record) -> str:
    parts = record["parts"].items()
    return ", ".join(
        f"{name} {100 * part['calibration_error']:.1f} ({100 * part['error_by_chance']:.1f})" for name, part in parts
    )


def chart(record: Record) -> Chart:
    """Accuracy by the size that the classifier may have."""
    parts = {float(size): part for size, part in record["parts"].items()}
    lines = []
    for look, (key, label) in enumerate(
        (("tanzaku", "recommended"), ("most_accurate", "most accurate on the folds"), ("fasttext", "fastText"))
    ):
        points = tuple(
            _point(size, part[key], documents=part["test_documents"])
            for size, part in parts.items()
            if "accuracy" in part.get(key, {}) and "failed" not in part[key]
        )
        lines.append(Line(label, points, look))
    return Chart(
        key="budgets",
        title="Accuracy by size",
        caption="",
        x=Axis("megabytes at most", scale="log", ticks=tuple(parts)),
        y=Axis("test accuracy (%)"),
        lines=tuple(lines),
    )


def _point(size: float, side: Mapping[str, Any], *, documents: int) -> Point:
    low, high = accuracy_interval(round(side["accuracy"] * documents), documents)
    accuracy = 100 * side["accuracy"]
    return Point(x=size, y=accuracy, label=f"{size:g} MB: {accuracy:.2f} %", low=100 * low, high=100 * high)


def figure(record: Record) -> bytes:
    """The chart as SVG."""
    return render_chart(chart(record), words=ENGLISH)["svg"]


def current() -> tuple[str, bytes | None]:
    """The text and the figure of the committed records."""
    sizes = read_alone(budgets.RECORD)
    text = measured(read_alone(fit.RECORD), sizes, read_alone(promises.RECORD))
    return text, None if sizes is None else figure(sizes)


def make_page(page: str, text: str) -> str:
    """The page with another text between its markers.

    Raises:
        RecordError: The page lacks a marker.
    """
    return with_marked(page, text, begin=BEGIN, end=END, name=PAGE.name)


def main() -> None:
    """Write the page and the figure."""
    text, drawn = current()
    write_atomically(PAGE, make_page(PAGE.read_text(encoding="utf-8"), text))
    if drawn is not None:
        FIGURE.write_bytes(drawn)


if __name__ == "__main__":
    main()
