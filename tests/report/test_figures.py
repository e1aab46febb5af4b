"""The figures' content, read from matplotlib's objects before anything is saved, and that the page shows the same."""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pytest
from matplotlib.figure import Figure

from tanzaku.analysis.arms import sections_of
from tanzaku.drawing import style
from tanzaku.drawing.charts import Axis, Chart, Forest, Line, Point
from tanzaku.drawing.figure import CUT, RING, draw_charts
from tanzaku.drawing.style import applied
from tanzaku.report.chart_data import ChartData
from tanzaku.report.figures import draw, figures_of
from tanzaku.study.record import FinishedEncoderRun, RunRecord
from tanzaku.words import words_of
from tests.report.page.pages import page, seeds_study
from tests.report.records import (
    RANKS,
    THESIS_ACCURACIES,
    at_ranks,
    baseline,
    data_facts,
    evidence,
    failed,
    finished,
    lora,
    scores,
    study,
    training,
)

RECOMMENDED, THESIS = "recommended", "thesis, same rank, learning rate and epochs"


@pytest.fixture(autouse=True)
def _style() -> Iterator[None]:
    with applied():
        yield


def data_of(records: Sequence[RunRecord], **options: Any) -> ChartData:
    (section,), (found,) = sections_of(records), evidence(records, **options)
    return ChartData(section, found, words_of("en"))


def figure_of(name: str, records: Sequence[RunRecord], **options: Any) -> Figure:
    data = data_of(records, **options)
    return draw(figures_of(data)[name], data)


def charts_of(name: str, records: Sequence[RunRecord]) -> list[Chart]:
    content = figures_of(data_of(records))[name].content
    assert isinstance(content, tuple)
    return [chart for row in content for chart in row]


def legend(figure: Figure) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in figure.legends[0].get_texts()]


def bars(figure: Figure) -> list[tuple[float, float]]:
    """The ends of all error bars."""
    found = [box.lines[2][0].get_segments()[0] for box in figure.axes[0].containers]  # type: ignore[attr-defined]
    return [(float(segment[0][1]), float(segment[1][1])) for segment in found]


def drawn(figure: Figure, label: str, *, panel: int = 0) -> list[tuple[float, float]]:
    """The first points of all artists whose label begins so."""
    lines = [line for line in figure.axes[panel].lines if str(line.get_label()).startswith(label)]
    return [(float(np.asarray(line.get_xdata())[0]), float(np.asarray(line.get_ydata())[0])) for line in lines]


def hollow(figure: Figure) -> list[float]:
    found = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    return [float(np.asarray(line.get_ydata())[0]) for line in found]


def test_accuracy_has_a_line_a_learning_rate_and_the_baselines_across() -> None:
    figure = figure_of("accuracy", study())
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    for (name, accuracies), rate in zip(THESIS_ACCURACIES.items(), ("5e-4", "5e-5"), strict=True):
        heights = np.asarray(lines[f"LoRA, lr\u00a0{_joined(rate)}"].get_ydata())
        assert heights == pytest.approx([100 * accuracy for accuracy in accuracies], abs=0.02), name
    baselines = ["TF-IDF + SVM", "Head only", "Full fine-tuning"]
    assert legend(figure) == ["LoRA, lr\u00a05e-4", "LoRA, lr\u00a05e-5", *baselines, RECOMMENDED, THESIS]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == [str(rank) for rank in RANKS]


def _joined(rate: str) -> str:
    return rate.replace("-", "-\u2060")


def test_accuracy_error_bars_are_the_intervals() -> None:
    records = [finished(lora(8), accuracy=accuracy, seed=seed) for seed, accuracy in enumerate((0.89, 0.9, 0.91))]
    data = data_of([*records, finished(lora(2), accuracy=0.8)])
    interval = data.evidence.interval(next(arm for arm in data.section.arms if arm.rank == 8))
    assert interval is not None
    assert interval.kind == "both"
    figure = draw(figures_of(data)["accuracy"], data)
    assert bars(figure)[1] == pytest.approx((100 * interval.low, 100 * interval.high))


def _chart_in_page(text: str, title: str) -> str:
    return next(part for part in text.split("<figure") if f"<strong>{title}</strong>" in part)


@pytest.mark.parametrize(("name", "title"), [("accuracy", "Accuracy"), ("ranks", "Accuracy at several ranks")])
def test_the_intervals_of_a_chart_are_the_same_in_the_figure_and_in_the_page(name: str, title: str) -> None:
    records = [*seeds_study(), at_ranks(finished(lora(16), accuracy=0.92), {2: 0.81, 16: 0.92})]
    records.append(at_ranks(finished(lora(16), accuracy=0.9, seed=1), {2: 0.83, 16: 0.9}))
    shown = _chart_in_page(page(records), title)
    titles = re.findall(r"<g class=\"look-\d\"><title>[^<]*\(([\d.]+)–([\d.]+)\)</title><path class=\"bar\"", shown)
    in_page = [(float(low), float(high)) for low, high in titles]
    in_figure = [(round(low, 2), round(high, 2)) for low, high in bars(figure_of(name, records))]
    assert len(in_page) >= 3
    assert sorted(in_page) == sorted(in_figure)


def test_the_intervals_of_all_arms_are_the_same_in_the_figure_and_in_the_page() -> None:
    figure = figure_of("arms", seeds_study())
    lines = [line for line in figure.axes[0].lines if line.get_label() == "_interval"]
    in_figure = [tuple(round(float(end), 2) for end in np.asarray(line.get_xdata())) for line in lines]
    in_page = re.findall(r"<td class=\"number quiet interval\">([\d.]+)–([\d.]+)</td>", page(seeds_study()))
    assert len(in_figure) == 4
    assert sorted(in_figure) == sorted((float(low), float(high)) for low, high in in_page)


def test_the_thesis_s_points_are_hollow_and_only_beside_its_own_data() -> None:
    assert sorted(hollow(figure_of("accuracy", study()))) == sorted(
        [92.95, 92.84, 93.22, 93.11, 93.35, 93.87, 90.18, 85.34, 85.46, 85.27, 85.46, 85.67, 85.82, 85.64, 95.23]
    )
    figure = figure_of("accuracy", [finished(lora(rank), accuracy=0.9, data=data_facts(("a", "b"))) for rank in (2, 8)])
    assert hollow(figure) == []
    assert THESIS not in legend(figure)


def test_size_is_one_line_a_method_on_logarithmic_axes() -> None:
    figure = figure_of("size", study())
    baselines = ["TF-IDF + SVM", "Head only", "Full fine-tuning"]
    assert legend(figure) == ["LoRA", *baselines, RECOMMENDED, THESIS]
    assert (figure.axes[0].get_xscale(), figure.axes[0].get_yscale()) == ("log", "log")
    assert hollow(figure) == [0.34, 0.64, 1.2, 4.8, 9.5, 18.9, 37.8, 442.5]


def test_lines_of_other_sizes_are_not_merged() -> None:
    wide = [finished(lora(rank, targets="all-linear"), accuracy=0.9) for rank in (2, 8)]
    wide = [_saving(record, 3) for record in wide]
    slow = [finished(lora(rank), accuracy=0.8, learning_rate=5e-5, training=training(5e-5)) for rank in (2, 8)]
    records = [*wide, *slow, *(finished(lora(rank), accuracy=0.7) for rank in (2, 4, 8))]
    (chart,) = charts_of("size", records)
    lines = {line.label: len(line.points) for line in chart.lines if not line.published}
    assert sorted(lines.values()) == [2, 3]
    assert "LoRA" not in {label for label, points in lines.items() if points == 2}


def _saving(record: FinishedEncoderRun, factor: int) -> FinishedEncoderRun:
    size = factor * record.costs.saved_bytes
    return record.model_copy(update={"costs": record.costs.model_copy(update={"saved_bytes": size})})


def test_size_shows_the_thesis_s_points_where_any_arm_of_the_rank_has_its_settings() -> None:
    other = finished(lora(2), accuracy=0.7, learning_rate=1e-3, training=training(1e-3))
    figure = figure_of("size", [other, finished(lora(2), accuracy=0.8), finished(lora(8), accuracy=0.9)])
    assert hollow(figure) == [0.34, 1.2]


def test_the_losses_legend_is_in_the_order_of_the_ranks() -> None:
    slow = finished(lora(2), accuracy=0.8, learning_rate=5e-5, training=training(5e-5))
    figure = figure_of("loss", [finished(lora(32), accuracy=0.9), slow, finished({"name": "full"}, accuracy=0.9)])
    assert legend(figure)[:2] == ["r=2", "r=32 (recommended)"]


def test_time_starts_at_zero_unless_the_methods_are_far_apart() -> None:
    axes = figure_of("time", study()).axes[0]
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] == 0
    slow = [_taking(finished(lora(rank), accuracy=0.9), 5000.0) for rank in (2, 8)]
    assert figure_of("time", [baseline(), *slow]).axes[0].get_yscale() == "log"


def test_losses_have_a_row_a_learning_rate_and_a_line_a_run() -> None:
    figure = figure_of("loss", study())
    titles = [axes.get_title().replace("\n", " ") for axes in figure.axes[::2]]
    assert titles == [
        f"Training loss: {name}" for name in ("LoRA, lr\u00a05e-4", "LoRA, lr\u00a05e-5", "methods without a rank")
    ]
    charts = charts_of("loss", study())
    assert [len(chart.lines) for chart in charts] == [7, 7, 7, 7, 2, 2]
    assert legend(figure)[: len(RANKS)] == [f"r={rank}" for rank in RANKS]
    record = next(arm for arm in data_of(study()).section.arms if arm.rank == 2).finished[0]
    assert [point.y for point in charts[1].lines[0].points] == [epoch.val_loss for epoch in record.history]


def test_the_losses_of_a_single_step_are_a_point() -> None:
    records = [finished(lora(2), accuracy=0.8, training_curve=((1, 2.1),)), finished(lora(8), accuracy=0.8)]
    figure = figure_of("loss", records)
    assert drawn(figure, "_r=") == [(1, 2.1)]
    assert len(drawn(figure, "_r=", panel=1)) == 10


def test_the_losses_of_a_method_with_several_ranks_have_a_row_of_their_own() -> None:
    nested = finished({"name": "lora-nested", "ranks": [2, 8]}, accuracy=0.9)
    charts = charts_of("loss", [nested, finished({"name": "full"}, accuracy=0.9)])
    assert [chart.title for chart in charts[::2]] == [
        "Training loss: Full fine-tuning",
        "Training loss: Nested LoRA",
    ]


def test_confusion_is_of_the_best_on_the_validation_set() -> None:
    figure = figure_of("confusion", study())
    (image,) = figure.axes[0].images
    assert np.asarray(image.get_array()).shape == (9, 9)
    assert np.asarray(image.get_array()).sum(axis=1) == pytest.approx(1)
    record = data_of(study()).section.arms[0].finished[0]
    shown = sorted(float(text.get_text()) for text in figure.axes[0].texts)
    assert shown == sorted(round(100 * count / sum(row), 1) for row in record.test.confusion for count in row if count)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][3] == "livedoor-homme (256)"
    assert "TF-IDF + SVM" in str(figure.get_suptitle())


def test_confusions_of_seeds_are_added() -> None:
    records = [finished(lora(8), accuracy=accuracy, seed=seed) for seed, accuracy in enumerate((0.85, 0.95))]
    figure = figure_of("confusion", records)
    assert "3,686 test documents × 2 seeds" in figure.get_suptitle()
    runs = [record.test.confusion for record in records]
    right = sum(run[0][0] for run in runs) / sum(sum(run[0]) for run in runs)
    assert figure.axes[0].texts[0].get_text() == f"{100 * right:.1f}"


def test_the_title_of_confusions_stays_inside_the_figure() -> None:
    options = {"dora": True, "rslora": True, "initialization": "pissa", "lora_plus_ratio": 16.0}
    records = [finished(lora(8, **one), accuracy=0.9 - 0.1 * (not one)) for one in (options, {})]
    figure = figure_of("confusion", records)
    figure.draw_without_rendering()
    (title,) = [text for text in figure.texts if text.get_text() == figure.get_suptitle()]
    assert title.get_text().count("\n") >= 1
    box = title.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert box.y0 >= figure.axes[0].get_window_extent().y1


def test_of_many_classes_the_pairs_that_are_confused_most_are_shown() -> None:
    names = tuple(f"class {number:03}" for number in range(500))
    made = scores(0.9, label_names=names)
    matrix = [list(row) for row in made.confusion]
    matrix[7][9], matrix[400][3] = 40, 30
    made = made.model_copy(update={"confusion": tuple(map(tuple, matrix))})
    records = [finished(lora(8), accuracy=0.9, data=data_facts(names), test=made)]
    figure = figure_of("confusion", records, predictions=False)
    axes = figure.axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:2] == ["class 007\n→ class 009", "class 400\n→ class 003"]
    assert len(labels) == 20
    assert axes.texts[0].get_text().split() == [f"{100 * 40 / sum(matrix[7]):.1f}", "%"]
    assert figure.get_figheight() < 6
    assert "confusion" not in figures_of(data_of([finished(lora(8), accuracy=1.0, data=data_facts(names))]))


def test_arms_stand_from_the_most_accurate_down_unless_ranks_are_compared() -> None:
    accuracies = {"head": 0.7, "full": 0.9, "bitfit": 0.8}
    figure = figure_of("arms", [finished({"name": name}, accuracy=accuracy) for name, accuracy in accuracies.items()])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "Full fine-tuning",
        "BitFit",
        "Head only",
    ]
    assert figure.axes[0].yaxis_inverted()
    labels = [label.get_text() for label in figure_of("arms", study()).axes[0].get_yticklabels()]
    assert labels[3:5] == ["LoRA r=2, lr\u00a05e-4", "LoRA r=4, lr\u00a05e-4"]


def test_one_very_long_interval_does_not_squeeze_the_others() -> None:
    steady = [finished(lora(rank), accuracy=0.9) for rank in (2, 4, 8)]
    wild = [finished(lora(16), accuracy=accuracy, seed=seed) for seed, accuracy in enumerate((0.9, 0.5, 0.92))]
    hopeless = finished(lora(32), accuracy=0.05)
    data = data_of([*steady, *wild, hopeless])
    content = figures_of(data)["arms"].content
    assert isinstance(content, Forest)
    assert content.x.limits
    low, high = content.x.limits
    assert [row.mean > low for row in content.rows] == [True, True, True, True, False]
    assert content.rows[3].low < low
    assert high - low < 5 * (content.rows[0].high - content.rows[0].low) + (content.rows[0].mean - content.rows[3].mean)
    figure = draw(figures_of(data)["arms"], data)
    assert {place for place, _ in drawn(figure, CUT)} <= {low, high}
    assert len(drawn(figure, "_mean")) == 4
    assert [text.get_text() for text in figure.axes[0].texts] == [f"{content.rows[4].mean:.2f}"]


def test_figures_against_the_rank_are_made_where_ranks_are_compared() -> None:
    records = [finished(lora(8), accuracy=0.9), finished({"name": "full"}, accuracy=0.8)]
    assert list(figures_of(data_of(records))) == ["arms", "pareto", "loss", "calibration", "confusion"]
    records.append(finished(lora(2), accuracy=0.9))
    assert {"accuracy", "time", "size"} < set(figures_of(data_of(records)))


@pytest.mark.parametrize("name", ["accuracy", "time", "size", "pareto", "arms"])
def test_the_recommended_arm_has_a_ring(name: str) -> None:
    records = [finished(lora(rank), accuracy=accuracy) for rank, accuracy in ((2, 0.8), (8, 0.9), (64, 0.901))]
    recommendation = data_of(records).evidence.recommendation
    assert recommendation is not None
    assert recommendation.arm.rank == 8
    figure = figure_of(name, records)
    ((across, up),) = drawn(figure, RING)
    costs, accuracy = recommendation.arm.finished[0].costs, recommendation.arm.accuracy
    assert costs is not None
    assert accuracy is not None
    percent, megabytes = 100 * accuracy.mean, costs.saved_bytes / 1e6
    expected = {
        "accuracy": (8, percent),
        "time": (8, costs.train_seconds),
        "size": (8, megabytes),
        "pareto": (megabytes, percent),
        "arms": (percent, up),
    }
    assert (across, up) == pytest.approx(expected[name])
    assert (across, up) in drawn(figure, "_mean" if name == "arms" else "_LoRA r=8")
    assert RECOMMENDED in legend(figure)


def test_without_what_they_show_figures_are_left_out() -> None:
    assert list(figures_of(data_of([baseline()]))) == ["calibration", "confusion"]
    assert list(figures_of(data_of([failed(lora(8), error="x")]))) == []


def test_the_front_is_a_staircase_through_its_arms_and_the_others_are_hollow() -> None:
    records = [finished(lora(rank), accuracy=accuracy) for rank, accuracy in ((2, 0.8), (4, 0.7), (8, 0.9))]
    assert data_of(records).evidence.size_front == (True, False, True)
    figure = figure_of("pareto", records)
    (stairs,) = [line for line in figure.axes[0].lines if line.get_label() == "_front"]
    sizes = [record.costs.saved_bytes / 1e6 for record in records if record.costs]
    assert np.asarray(stairs.get_xdata()).tolist() == pytest.approx([sizes[0], sizes[2]])
    assert stairs.get_drawstyle() == "steps-post"
    points = [line for line in figure.axes[0].lines if str(line.get_label()).startswith("_LoRA")]
    assert [line.get_markerfacecolor() == "white" for line in points] == [False, True, False]
    assert figure.axes[0].get_xscale() == figure.axes[1].get_xscale() == "log"


def test_a_caption_names_only_marks_that_the_figure_has() -> None:
    figures = figures_of(data_of(study()))
    assert "results of the thesis" in figures["accuracy"].caption
    assert "thesis" not in figures["time"].caption
    own = [finished(lora(rank), accuracy=0.9, data=data_facts(("a", "b"))) for rank in (2, 8)]
    captions = [figure.caption for figure in figures_of(data_of(own)).values()]
    assert len(captions) == 8
    assert not any("thesis" in caption for caption in captions)
    assert "percentages of the true class" in captions[-1]


def _taking(record: FinishedEncoderRun, seconds: float) -> FinishedEncoderRun:
    return record.model_copy(update={"costs": record.costs.model_copy(update={"train_seconds": seconds})})


@pytest.mark.parametrize(
    "seconds",
    [
        (110.0, 250.0),
        (3.0, 900.0),
        (346.0, 348.5),
        (100.0, 100.0),
        (7.2, 614.0),
        (2.4, 2.6),
        (0.024, 0.039),
        (3.1, 4.9),
        (2650.8303, 2650.8403),
    ],
)
def test_the_ticks_of_a_logarithmic_axis_do_not_overlap(seconds: tuple[float, float]) -> None:
    records = [_taking(finished(lora(rank), accuracy=0.8), time) for rank, time in zip((2, 8), seconds, strict=True)]
    figure = figure_of("pareto", records)
    figure.draw_without_rendering()
    axes = figure.axes[1]
    shown = [label for label in axes.get_xticklabels(which="both") if label.get_text()]
    inside = [
        label.get_window_extent() for label in shown if axes.bbox.x0 <= label.get_window_extent().x0 <= axes.bbox.x1
    ]
    assert len(inside) >= 1 + (seconds[0] != seconds[1])
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(inside))
    assert len({label.get_text() for label in shown}) == len(shown)


def test_arms_of_one_method_have_markers_and_colours_of_their_own() -> None:
    records = [finished({"name": "full"}, accuracy=0.8, learning_rate=rate) for rate in (1e-4, 2e-4, 5e-4)]
    records += [finished({"name": name}, accuracy=0.8) for name in ("bitfit", "houlsby", "pfeiffer")]
    figure = figure_of("pareto", records)
    points = [line for line in figure.axes[0].lines if line.get_label() not in ("_front", RING)]
    assert len({line.get_marker() for line in points}) == 6
    assert len({line.get_color() for line in points}) == 6


def test_no_look_is_repeated_before_the_eighteenth() -> None:
    looks = [style.look(index) for index in range(18)]
    assert len({(look["color"], look["marker"]) for look in looks}) == 18


def test_the_names_above_the_losses_stay_inside_their_rows() -> None:
    options = {"dora": True, "rslora": True}
    records = [
        finished(lora(2, **one), accuracy=0.8) for one in (options, {}, {"initialization": "pissa", "rslora": True})
    ]
    figure = figure_of("loss", records)
    figure.draw_without_rendering()
    for upper, lower in itertools.pairwise(figure.axes[::2]):
        assert upper.get_window_extent().y0 >= lower.title.get_window_extent().y1
    boxes = [axes.title.get_window_extent() for axes in figure.axes]
    assert all(left.x1 <= right.x0 for left, right in zip(boxes[::2], boxes[1::2], strict=True))


@pytest.mark.parametrize("name", ["accuracy", "ranks", "pareto", "loss"])
def test_a_legend_of_long_names_stays_inside_the_figure(name: str) -> None:
    """Of options that tell arms apart, names become long."""
    options = {"dora": True, "rslora": True, "truncate": [2, 8]}
    records = [at_ranks(finished(lora(8, **options), accuracy=0.9), {2: 0.8, 8: 0.9})]
    records += [finished(lora(2, **one), accuracy=0.88) for one in (options, {}, {"initialization": "pissa"})]
    figure = figure_of(name, records)
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


@pytest.mark.parametrize("name", ["accuracy", "time", "size", "pareto", "loss"])
def test_a_legend_of_many_arms_stays_below_the_axes(name: str) -> None:
    rates = [1e-4 * 2**step for step in range(12)]
    records = [finished(lora(8, targets="all-linear"), accuracy=0.9, learning_rate=rate) for rate in rates]
    records += [finished(lora(rank), accuracy=0.8, learning_rate=rate) for rate in rates for rank in (2, 8)]
    figure = figure_of(name, records)
    figure.draw_without_rendering()
    legend_box = figure.legends[0].get_window_extent()
    assert legend_box.y0 >= 0
    assert all(axes.get_window_extent().y0 >= legend_box.y1 for axes in figure.axes)


@pytest.mark.parametrize("join", ["none", "straight"])
def test_every_arm_of_many_has_its_marker_interval_and_ring(join: Literal["none", "straight"]) -> None:
    points = tuple(
        Point(float(x), 90 + x / 10, f"arm {x}", low=89.0, high=95.0, recommended=x == 14) for x in range(1, 31)
    )
    chart = Chart("key", "title", "caption", Axis("x"), Axis("y"), (Line("LoRA", points, 0, join=join),))
    drawn = [str(line.get_label()) for line in draw_charts([(chart,)], recommended="r", published="p").axes[0].lines]
    assert {label for label in drawn if label.startswith("_arm")} == {f"_arm {x}" for x in range(1, 31)}
    assert drawn.count(RING) == 1


def test_a_long_curve_without_intervals_has_few_markers() -> None:
    points = tuple(Point(float(x), 1 / x, f"step {x}") for x in range(1, 121))
    chart = Chart("key", "title", "caption", Axis("x"), Axis("y"), (Line("LoRA", points, 0),))
    drawn = [str(line.get_label()) for line in draw_charts([(chart,)], recommended="r", published="p").axes[0].lines]
    assert sum(label.startswith("_step") for label in drawn) == 12
