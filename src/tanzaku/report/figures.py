"""The figures of a section: which charts each file holds, and the files themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from matplotlib.figure import Figure

from tanzaku.analysis.confusion import Confusion, confusion_of
from tanzaku.drawing import style
from tanzaku.drawing.charts import Chart, Forest
from tanzaku.drawing.figure import draw_charts, draw_forest
from tanzaku.report.chart_data import ChartData
from tanzaku.report.draw_confusion import draw_confusion
from tanzaku.report.fonts import families_of
from tanzaku.report.front_charts import forest_of, front_charts
from tanzaku.report.loss_charts import loss_charts
from tanzaku.report.rank_charts import curve_chart, rank_charts
from tanzaku.report.reliability_chart import reliability_of_arms
from tanzaku.report.terms import AXES
from tanzaku.words import Words, message, words_of

_PUBLISHED = message("thesis, same rank, learning rate and epochs")
_MATRIX_CAPTION = message(
    "Numbers are percentages of the true class's documents, whose number is in brackets; the shade is the square root "
    "of this share."
)
_PAIRS_CAPTION = message(
    "Bars: misclassified documents of the pairs of classes that are confused most often, with their share of the true "
    "class."
)
FIGURE_NAMES = ("arms", "accuracy", "ranks", "time", "size", "pareto", "loss", "calibration", "confusion")
# With dates and names of programs left out, so that equal records give equal bytes.
FORMATS: dict[str, dict[str, None]] = {
    "svg": {"Date": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@dataclass(frozen=True)
class FigureContent:
    """What one file shows: rows of charts, a forest plot or confusions."""

    content: tuple[tuple[Chart, ...], ...] | Forest | Confusion
    heading: str
    caption: str
    """What a reader needs to know to read it, with its heading."""


def figures_of(data: ChartData) -> dict[str, FigureContent]:
    """Every figure that the section's records allow, by name."""
    words = data.words
    figures: dict[str, FigureContent] = {}
    if forest := forest_of(data):
        figures["arms"] = FigureContent(forest, forest.title, _sentences([forest.title, forest.caption], data))
    for chart in rank_charts(data):
        figures[chart.key.removeprefix("rank-")] = _of_charts([(chart,)], chart.title, data)
    if curves := curve_chart(data):
        figures["ranks"] = _of_charts([(curves,)], curves.title, data)
    if fronts := front_charts(data):
        figures["pareto"] = _of_charts([tuple(fronts)], words.text("Accuracy and cost"), data)
    if losses := loss_charts(data):
        figures["loss"] = _of_charts(losses, words.text("Losses"), data)
    best = data.evidence.best
    confusion = confusion_of(data.section, best) if best else None
    if confusion and (confusion.has_matrix or confusion.pairs):
        caption = words.text(_MATRIX_CAPTION if confusion.has_matrix else _PAIRS_CAPTION)
        heading = words.text(
            "Test confusions of the arm that is best on the validation set: {arm}", arm=data.name(confusion.arm)
        )
        figures["confusion"] = FigureContent(confusion, heading, _sentences([heading, caption], data))
    if reliability := reliability_of_arms(data):
        figures["calibration"] = _of_charts([(reliability,)], reliability.title, data)
    assert set(figures) <= set(FIGURE_NAMES)  # the others would be left out
    return {name: figures[name] for name in FIGURE_NAMES if name in figures}


def draw(figure: FigureContent, data: ChartData) -> Figure:
    """The figure, not yet saved; to be called under `style.applied`."""
    content, words = figure.content, data.words
    if isinstance(content, Confusion):
        return draw_confusion(content, name=data.name(content.arm), words=words)
    if isinstance(content, Forest):
        return draw_forest(
            content,
            recommended=words.text("recommended"),
            published=words.text(_PUBLISHED),
        )
    return draw_charts(
        content,
        recommended=words.text("recommended"),
        published=words.text(_PUBLISHED),
    )


def render(figure: FigureContent, data: ChartData) -> dict[str, bytes]:
    """The figure's files by their suffix."""
    with style.applied(families_of(_texts(figure, data.words)) or [style.BASE_FAMILY]):
        return _saved(draw(figure, data))


def render_chart(chart: Chart, *, words: Words) -> dict[str, bytes]:
    """The files of one chart by their suffix."""
    with style.applied(families_of(chart.texts) or [style.BASE_FAMILY]):
        return _saved(draw_charts([(chart,)], recommended=words.text("recommended"), published=words.text(_PUBLISHED)))


def _saved(drawn: Figure) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for suffix, metadata in FORMATS.items():
        content = BytesIO()
        drawn.savefig(content, format=suffix, metadata=metadata)
        files[suffix] = content.getvalue()
    return files


def figure_words(words: Words) -> Words:
    """The words of figures: English where no font has the language's characters."""
    return words if families_of([words.text(AXES["accuracy"]), words.text(AXES["time"])]) else words_of("en")


def _texts(figure: FigureContent, words: Words) -> list[str]:
    content = figure.content
    own = [figure.heading, words.text(_PUBLISHED)]
    if isinstance(content, Confusion):
        own += [words.text("true class"), words.text("predicted class")]
        return [*own, *(label for label in content.labels if families_of([label]))]
    charts = [content] if isinstance(content, Forest) else [chart for row in content for chart in row]
    return [*own, *(text for chart in charts for text in chart.texts)]


def _of_charts(rows: Sequence[tuple[Chart, ...]], heading: str, data: ChartData) -> FigureContent:
    charts = [chart for row in rows for chart in row]
    captions = list(dict.fromkeys(chart.caption for chart in charts))
    if any(chart.has_published for chart in charts):
        captions.append(data.words.text("Hollow and dotted: results of the thesis."))
    return FigureContent(tuple(rows), heading, _sentences([heading, *captions], data))


def _sentences(parts: Sequence[str], data: ChartData) -> str:
    end = "。" if data.words.language == "ja" else "."
    return data.words.joined(part if part.endswith(end) else part + end for part in parts)
