"""The figures' content, read from matplotlib's objects before anything is saved."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from tanzaku.analysis.arms import sections_of
from tanzaku.report import formats, texts
from tanzaku.report.arm_chart import arms_figure
from tanzaku.report.captions import caption_of
from tanzaku.report.confusion import confusion_figure
from tanzaku.report.figures import accuracy_figure, figures_of, ranks_figure, size_figure, time_figure
from tanzaku.report.losses import loss_figure, smoothed
from tanzaku.report.pareto import pareto_figure
from tanzaku.report.style import RING, applied
from tanzaku.study.record import FinishedRun, RunRecord
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


@pytest.fixture(autouse=True)
def _style() -> Iterator[None]:
    with applied():
        yield


def bars(figure: Figure) -> dict[str, ErrorbarContainer]:
    found = [box for box in figure.axes[0].containers if isinstance(box, ErrorbarContainer)]
    return {str(box.get_label()): box for box in found if not str(box.get_label()).startswith("_")}


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def hollow(figure: Figure) -> list[float]:
    lines = [line for line in figure.axes[0].lines if line.get_label() == "_thesis"]
    return [float(height) for line in lines for height in np.asarray(line.get_ydata())]


def test_accuracy_has_a_line_a_learning_rate_and_the_baselines_across() -> None:
    (section,) = sections_of(study())
    figure = accuracy_figure(section, *evidence(study()))
    assert figure is not None
    lines = bars(figure)
    assert list(lines) == ["LoRA, lr 5e-4", "LoRA, lr 5e-5"]
    for (_, accuracies), container in zip(THESIS_ACCURACIES.items(), lines.values(), strict=True):
        heights = np.asarray(container.lines[0].get_ydata())
        assert heights == pytest.approx([100 * accuracy for accuracy in accuracies], abs=0.02)
        assert container.has_yerr
    assert legend(figure) == [*lines, "TF-IDF", "Head", "Full", texts.LEGEND_RECOMMENDED, texts.LEGEND_THESIS]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == [str(rank) for rank in RANKS]


def test_accuracy_error_bars_are_the_intervals() -> None:
    records = [finished(lora(8), accuracy=accuracy, seed=seed) for seed, accuracy in enumerate((0.89, 0.9, 0.91))]
    (section,), (found,) = sections_of(records), evidence(records)
    figure = accuracy_figure(section, found)
    assert figure is not None
    interval = found.interval(section.arms[0])
    assert interval is not None
    assert interval.kind == "both"
    (segment,) = bars(figure)["LoRA, lr 5e-4"].lines[2][0].get_segments()
    assert sorted(segment[:, 1]) == pytest.approx([100 * interval.low, 100 * interval.high])


def test_the_thesis_s_points_are_hollow_and_only_beside_its_own_data() -> None:
    (section,) = sections_of(study())
    figure = accuracy_figure(section, *evidence(study()))
    assert figure is not None
    assert sorted(hollow(figure)) == sorted(
        [92.95, 92.84, 93.22, 93.11, 93.35, 93.87, 90.18, 85.34, 85.46, 85.27, 85.46, 85.67, 85.82, 85.64, 95.23]
    )
    records = [finished(lora(8), accuracy=0.9, data=data_facts(("a", "b")))]
    (other,) = sections_of(records)
    figure = accuracy_figure(other, *evidence(records))
    assert figure is not None
    assert hollow(figure) == []
    assert texts.LEGEND_THESIS not in legend(figure)


def test_size_is_one_line_a_method_on_logarithmic_axes() -> None:
    (section,) = sections_of(study())
    figure = size_figure(section, *evidence(study()))
    assert figure is not None
    assert legend(figure) == ["LoRA", "TF-IDF", "Head", "Full", texts.LEGEND_RECOMMENDED, texts.LEGEND_THESIS]
    assert (figure.axes[0].get_xscale(), figure.axes[0].get_yscale()) == ("log", "log")
    assert hollow(figure) == [0.34, 0.64, 1.2, 4.8, 9.5, 18.9, 37.8]


def test_size_shows_the_thesis_s_points_where_any_arm_of_the_rank_has_its_settings() -> None:
    other = finished(lora(2), accuracy=0.7, learning_rate=1e-3, training=training(1e-3))
    records = [other, finished(lora(2), accuracy=0.8), finished(lora(8), accuracy=0.9)]
    (section,) = sections_of(records)
    assert section.arms[0].learning_rate == 1e-3
    figure = size_figure(section, *evidence(records))
    assert figure is not None
    assert hollow(figure) == [0.34, 1.2]
    rings = [line for line in figure.axes[0].lines if line.get_label() == RING]
    (points,) = [line for line in figure.axes[0].lines if line.get_label() == "_thesis"]
    assert points.get_markersize() < 0.7 * rings[0].get_markersize()


def test_the_losses_legend_is_in_the_order_of_the_ranks() -> None:
    slow = finished(lora(2), accuracy=0.8, learning_rate=5e-5, training=training(5e-5))
    (section,) = sections_of([finished(lora(32), accuracy=0.9), slow, finished({"name": "full"}, accuracy=0.9)])
    figure = loss_figure(section)
    assert figure is not None
    assert legend(figure) == ["r=2", "r=32", "Full"]


def test_time_starts_at_zero_unless_the_methods_are_far_apart() -> None:
    (section,) = sections_of(study())
    figure = time_figure(section, *evidence(study()))
    assert figure is not None
    assert figure.axes[0].get_yscale() == "linear"
    assert figure.axes[0].get_ylim()[0] == 0
    slow = finished(lora(8), accuracy=0.9)
    assert slow.costs
    slow = slow.model_copy(update={"costs": slow.costs.model_copy(update={"train_seconds": 5000.0})})
    (section,) = sections_of([baseline(), slow])
    figure = time_figure(section, *evidence([baseline(), slow]))
    assert figure is not None
    assert figure.axes[0].get_yscale() == "log"


def test_losses_have_a_row_a_learning_rate_and_a_line_a_run() -> None:
    (section,) = sections_of(study())
    figure = loss_figure(section)
    assert figure is not None
    labels = [axes.get_ylabel() for axes in figure.axes[::2]]
    assert labels == ["LoRA\nlr 5e-4", "LoRA\nlr 5e-5", "no rank\n5 epochs"]
    assert [len(axes.lines) for axes in figure.axes] == [7, 7, 7, 7, 2, 2]
    assert legend(figure) == [*(f"r={rank}" for rank in RANKS), "Head", "Full"]
    validation = figure.axes[1].lines[0]
    record = next(arm for arm in section.arms if arm.rank == 2).finished[0]
    assert list(np.asarray(validation.get_ydata())) == [epoch.val_loss for epoch in record.history]


def test_the_losses_of_a_single_step_are_a_point() -> None:
    records = [finished(lora(2), accuracy=0.8, training_curve=((1, 2.1),)), finished(lora(8), accuracy=0.8)]
    (section,) = sections_of(records)
    figure = loss_figure(section)
    assert figure is not None
    assert [line.get_marker() for line in figure.axes[0].lines] == ["o", "None"]


def test_the_losses_of_a_method_with_several_ranks_have_a_row_of_their_own() -> None:
    nested = finished({"name": "lora-nested", "ranks": [2, 8]}, accuracy=0.9)
    (section,) = sections_of([nested, finished({"name": "full"}, accuracy=0.9)])
    figure = loss_figure(section)
    assert figure is not None
    assert {axes.get_ylabel() for axes in figure.axes[::2]} == {"no rank\n5 epochs", "several ranks\n5 epochs"}


def test_smoothing_is_a_running_mean() -> None:
    assert smoothed([1.0, 2.0]) == [1.0, 2.0]
    values = [float(index) for index in range(50)]
    assert smoothed(values)[:3] == [0.0, 0.5, 1.5]
    assert len(smoothed(values)) == 50


def test_confusion_is_of_the_best_on_the_validation_set() -> None:
    (section,) = sections_of(study())
    figure = confusion_figure(section, *evidence(study()))
    assert figure is not None
    (image,) = figure.axes[0].images
    assert np.asarray(image.get_array()).shape == (9, 9)
    assert np.asarray(image.get_array()).sum(axis=1) == pytest.approx(1)
    record = section.arms[0].finished[0]
    assert record.test
    shown = sorted(float(text.get_text()) for text in figure.axes[0].texts)
    assert shown == sorted(round(100 * count / sum(row), 1) for row in record.test.confusion for count in row if count)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][3] == "livedoor-homme (256)"
    assert "TF-IDF + SVM" in str(figure.get_suptitle())


def test_confusions_of_seeds_are_added() -> None:
    records = [finished(lora(8), accuracy=accuracy, seed=seed) for seed, accuracy in enumerate((0.85, 0.95))]
    (section,) = sections_of(records)
    figure = confusion_figure(section, *evidence(records))
    assert figure is not None
    assert "3,686 test documents × 2 seeds" in figure.get_suptitle()
    runs = [record.test.confusion for record in records if isinstance(record, FinishedRun)]
    right = sum(run[0][0] for run in runs) / sum(sum(run[0]) for run in runs)
    assert figure.axes[0].texts[0].get_text() == f"{100 * right:.1f}"


def test_the_title_of_confusions_stays_inside_the_figure() -> None:
    options = {"dora": True, "rslora": True, "initialization": "pissa", "lora_plus_ratio": 16.0}
    records = [finished(lora(8, **one), accuracy=0.9 - 0.1 * (not one)) for one in (options, {})]
    (section,), (found,) = sections_of(records), evidence(records)
    assert found.best is not None
    assert len(formats.arm_name(found.best)) > 56
    figure = confusion_figure(section, found)
    assert figure is not None
    figure.draw_without_rendering()
    (title,) = [text for text in figure.texts if text.get_text() == figure.get_suptitle()]
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
    (section,) = sections_of(records)
    figure = confusion_figure(section, *evidence(records, predictions=False))
    assert figure is not None
    axes = figure.axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:2] == ["class 007\n→ class 009", "class 400\n→ class 003"]
    assert len(labels) == 15
    assert axes.texts[0].get_text().split() == [f"{100 * 40 / sum(matrix[7]):.1f}", "%"]
    assert figure.get_figheight() < 6
    perfect = finished(lora(8), accuracy=1.0, data=data_facts(names))
    (section,) = sections_of([perfect])
    assert confusion_figure(section, *evidence([perfect])) is None


def test_arms_stand_from_the_most_accurate_down_unless_ranks_are_compared() -> None:
    accuracies = {"head": 0.7, "full": 0.9, "bitfit": 0.8}
    arms = [finished({"name": name}, accuracy=accuracy) for name, accuracy in accuracies.items()]
    (section,), (found,) = sections_of(arms), evidence(arms)
    figure = arms_figure(section, found)
    assert figure is not None
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "Full fine-tuning, lr\u00a05e-4",
        "BitFit, lr\u00a05e-4",
        "Head only, lr\u00a05e-4",
    ]
    assert figure.axes[0].yaxis_inverted()
    (section,), (found,) = sections_of(study()), evidence(study())
    figure = arms_figure(section, found)
    assert figure is not None
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[3:5] == ["LoRA r=2, lr\u00a05e-4", "LoRA r=4, lr\u00a05e-4"]


def test_figures_against_the_rank_are_made_where_ranks_are_compared() -> None:
    records = [finished(lora(8), accuracy=0.9), finished({"name": "full"}, accuracy=0.8)]
    (section,) = sections_of(records)
    assert list(figures_of(section, *evidence(records))) == ["arms", "pareto", "loss", "confusion"]
    records.append(finished(lora(2), accuracy=0.9))
    (section,) = sections_of(records)
    assert {"accuracy", "time", "size"} < set(figures_of(section, *evidence(records)))


def rings(figure: Figure) -> list[tuple[float, float]]:
    lines = [line for line in figure.axes[0].lines if line.get_label() == RING]
    return [(float(np.asarray(line.get_xdata())[0]), float(np.asarray(line.get_ydata())[0])) for line in lines]


@pytest.mark.parametrize("draw", [accuracy_figure, time_figure, size_figure, pareto_figure, arms_figure])
def test_the_recommended_arm_has_a_ring(draw: Callable[..., Figure]) -> None:
    records = [finished(lora(rank), accuracy=accuracy) for rank, accuracy in ((2, 0.8), (8, 0.9), (64, 0.901))]
    (section,), (found,) = sections_of(records), evidence(records)
    assert found.recommendation is not None
    assert found.recommendation.arm.rank == 8
    figure = draw(section, found)
    ((across, up),) = rings(figure)
    lines = [line for line in figure.axes[0].lines if line.get_label() != RING]
    points = [point for line in lines for point in np.column_stack([*map(np.asarray, line.get_data())]).tolist()]
    assert [across, up] in points
    costs, accuracy = found.recommendation.arm.finished[0].costs, found.recommendation.arm.accuracy
    assert costs is not None
    assert accuracy is not None
    percent, megabytes = 100 * accuracy.mean, costs.saved_bytes / 1e6
    place = {
        accuracy_figure: (8, percent),
        time_figure: (8, costs.train_seconds),
        size_figure: (8, megabytes),
        pareto_figure: (megabytes, percent),
    }.get(draw, (percent, up))
    assert (across, up) == pytest.approx(place)
    assert texts.LEGEND_RECOMMENDED in legend(figure)


def test_without_what_they_show_figures_are_left_out() -> None:
    for records, names in (([baseline()], ["confusion"]), ([failed(lora(8), error="x")], [])):
        (section,) = sections_of(records)
        (found,) = evidence(records)
        assert list(figures_of(section, found)) == names


def test_the_front_is_a_staircase_through_its_arms_and_the_others_are_pale() -> None:
    records = [finished(lora(rank), accuracy=accuracy) for rank, accuracy in ((2, 0.8), (4, 0.7), (8, 0.9))]
    (section,) = sections_of(records)
    (found,) = evidence(records)
    assert found.size_front == (True, False, True)
    figure = pareto_figure(section, found)
    assert figure is not None
    stairs, *points = figure.axes[0].lines
    sizes = [record.costs.saved_bytes / 1e6 for record in records if record.costs]
    assert np.asarray(stairs.get_xdata()).tolist() == pytest.approx([sizes[0], sizes[2]])
    drawn = [point for point in points if point.get_label() != RING]
    assert [point.get_alpha() for point in drawn] == [1.0, 0.35, 1.0]
    assert figure.axes[0].get_xscale() == figure.axes[1].get_xscale() == "log"


def test_a_recommended_arm_off_the_front_is_not_pale() -> None:
    # The test set contradicts the validation set: the largest arm is recommended, and is worse than the smallest.
    val = {rank: scores(accuracy, documents=736) for rank, accuracy in ((2, 0.8), (8, 0.9))}
    records = [finished(lora(rank), accuracy=accuracy, val=val[rank]) for rank, accuracy in ((2, 0.9), (8, 0.8))]
    (section,), (found,) = sections_of(records), evidence(records)
    assert found.size_front == (True, False)
    assert found.recommendation is not None
    assert found.recommendation.arm.rank == 8
    figure = pareto_figure(section, found)
    assert figure is not None
    drawn = [line for line in figure.axes[0].lines[1:] if line.get_label() != RING]
    assert [line.get_alpha() for line in drawn] == [1.0, 1.0]


def test_a_caption_names_only_marks_that_the_figure_has() -> None:
    (section,), (found,) = sections_of(study()), evidence(study())
    figures = figures_of(section, found)
    assert "Hollow: the thesis's." in caption_of("accuracy", figures["accuracy"], found)
    assert "Hollow" not in caption_of("time", figures["time"], found)
    own = [finished(lora(rank), accuracy=0.9, data=data_facts(("a", "b"))) for rank in (2, 8)]
    (section,), (found,) = sections_of(own), evidence(own)
    captions = [caption_of(name, figure, found) for name, figure in figures_of(section, found).items()]
    assert len(captions) == 7
    assert not any("thesis" in caption for caption in captions)
    assert "percentages of the true class" in captions[-1]


def _taking(record: RunRecord, seconds: float) -> RunRecord:
    assert isinstance(record, FinishedRun)
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
    (section,), (found,) = sections_of(records), evidence(records)
    figure = pareto_figure(section, found)
    assert figure is not None
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
    (section,), (found,) = sections_of(records), evidence(records)
    figure = pareto_figure(section, found)
    assert figure is not None
    drawn = [line for line in figure.axes[0].lines[1:] if line.get_label() != RING]
    assert len({line.get_marker() for line in drawn}) == 3
    assert len({line.get_color() for line in drawn}) == 3


def test_the_names_beside_the_losses_stay_inside_their_rows() -> None:
    options = {"dora": True, "rslora": True}
    records = [
        finished(lora(2, **one), accuracy=0.8) for one in (options, {}, {"initialization": "pissa", "rslora": True})
    ]
    (section,) = sections_of(records)
    figure = loss_figure(section)
    assert figure is not None
    figure.draw_without_rendering()
    boxes = [axes.yaxis.label.get_window_extent() for axes in figure.axes[::2]]
    assert all(upper.y0 >= lower.y1 for upper, lower in itertools.pairwise(boxes))


@pytest.mark.parametrize("draw", [accuracy_figure, ranks_figure, pareto_figure, loss_figure])
def test_a_legend_of_long_names_stays_inside_the_figure(draw: Callable[..., Figure | None]) -> None:
    """Of options that tell arms apart, names become long."""
    options = {"dora": True, "rslora": True, "truncate": [2, 8]}
    records = [at_ranks(finished(lora(8, **options), accuracy=0.9), {2: 0.8, 8: 0.9})]
    records += [finished(lora(2, **one), accuracy=0.88) for one in (options, {}, {"initialization": "pissa"})]
    (section,), (found,) = sections_of(records), evidence(records)
    figure = draw(*{loss_figure: (section,), ranks_figure: (found,)}.get(draw, (section, found)))
    assert figure is not None
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


@pytest.mark.parametrize("draw", [accuracy_figure, time_figure, size_figure, pareto_figure, loss_figure])
def test_a_legend_of_many_arms_stays_below_the_axes(draw: Callable[..., Figure | None]) -> None:
    rates = [1e-4 * 2**step for step in range(12)]
    records = [finished(lora(8, targets="all-linear"), accuracy=0.9, learning_rate=rate) for rate in rates]
    records += [finished(lora(8), accuracy=0.8, learning_rate=rate) for rate in rates]
    (section,), (found,) = sections_of(records), evidence(records)
    figure = draw(section) if draw is loss_figure else draw(section, found)
    assert figure is not None
    figure.draw_without_rendering()
    legend_box = figure.legends[0].get_window_extent()
    assert legend_box.y0 >= 0
    assert all(axes.get_window_extent().y0 >= legend_box.y1 for axes in figure.axes)
