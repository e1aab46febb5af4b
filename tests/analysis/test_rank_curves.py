"""One adapter at several ranks: from records to rows, comparisons, costs, tables and lines."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tanzaku.analysis.arms import sections_of
from tanzaku.analysis.predictions import predictions_of
from tanzaku.analysis.rank_curves import RankCurve, curves_of, lines_of
from tanzaku.analysis.statistics import compare_accuracies, holm
from tanzaku.errors import RecordError
from tanzaku.report.chart_data import ChartData
from tanzaku.report.latex_tables import latex_document
from tanzaku.report.rank_charts import curve_chart
from tanzaku.report.rank_texts import cost_sentences
from tanzaku.report.tables import rank_table
from tanzaku.report.write import write_report
from tanzaku.study.record import FinishedRun, RunRecord
from tanzaku.study.runs import stored_runs
from tanzaku.words import words_of
from tests.report.records import (
    at_ranks,
    baseline,
    evidence,
    failed,
    finished,
    lora,
    predictions_like,
    run_predictions,
    study,
    write_all,
)

CUT = {2: 0.80, 4: 0.88, 8: 0.90}


def nested(**options: Any) -> dict[str, Any]:
    """A nested LoRA with the options of `lora`."""
    ours = {key: value for key, value in lora(8).items() if key in ("dropout", "targets")}
    return {"name": "lora-nested", "ranks": [2, 4, 8], "update": "all", "pooler": False, **ours, **options}


def cut_study(*, seeds: tuple[int, ...] = (1,)) -> list[FinishedRun]:
    """A LoRA of rank 8 cut to 2, 4 and 8, one trained at rank 2 and one at rank 4, with as many seeds."""
    records: list[FinishedRun] = [baseline()]
    for seed in seeds:
        shift = 0.002 * seed
        whole = finished(lora(8, truncate=[2, 4, 8]), accuracy=0.90 + shift, seed=seed)
        records.append(at_ranks(whole, {rank: accuracy + shift for rank, accuracy in CUT.items()}))
        records += [finished(lora(rank), accuracy=0.8798 + shift, seed=seed) for rank in (2, 4)]
    return records


def the_curve(records: Sequence[RunRecord], *, predictions: bool = True) -> RankCurve:
    (found,) = evidence(records, predictions=predictions)
    (curve,) = found.curves
    return curve


def test_each_rank_has_its_row_beside_the_arm_trained_at_it() -> None:
    records = cut_study()
    curve = the_curve(records)
    assert curve.arm.rank == 8
    assert [row.rank for row in curve.rows] == [2, 4, 8]
    assert [row.accuracy.mean for row in curve.rows if row.accuracy] == pytest.approx([0.802, 0.882, 0.902], abs=3e-4)
    assert [row.separate.rank for row in curve.rows if row.separate] == [2, 4, 8]
    assert curve.rows[2].separate is curve.arm, "at its own rank it was trained itself"
    assert [row.outcome for row in curve.rows] == ["worse", "not distinguishable", None]
    for row in curve.rows:
        assert row.interval is not None
        assert row.interval.kind == "wilson"
        assert (row.interval.low, row.interval.high) == pytest.approx(row.measured[0].test.accuracy_interval)


def test_differences_are_those_of_the_statistics_with_holm_over_all_rows() -> None:
    records = cut_study(seeds=(1, 2, 3))
    curve = the_curve(records)
    found = [run_predictions(record) for record in records]
    raw = []
    for row in curve.rows[:2]:
        cut = [one for record, one in zip(records, found, strict=True) if record.ranks]
        alone = [
            one for record, one in zip(records, found, strict=True) if record.spec["method"].get("rank") == row.rank
        ]
        correct = np.stack(
            [
                *(one.at_ranks[row.rank] == one.classes for one in cut),
                *(one.predicted == one.classes for one in alone),
            ]
        )
        expected = compare_accuracies(correct, range(3), range(3, 6))
        assert row.difference == expected
        raw.append(expected.p_value)
    assert [row.p_value for row in curve.rows[:2]] == holm(raw)
    assert curve.rows[2].p_value is None
    for row in curve.rows:
        assert row.interval is not None
        assert row.interval.kind == "both"
        assert row.accuracy is not None
        assert row.interval.low < row.accuracy.mean < row.interval.high
        assert row.accuracy.runs == 3


def test_costs_are_of_one_run_beside_the_separate_ones() -> None:
    curve = the_curve(cut_study(seeds=(1, 2)))
    # `finished` makes a training of 100 + rank / 4 seconds.
    assert curve.train_seconds == 102
    assert curve.measuring_seconds == 9
    assert curve.separate_seconds == pytest.approx(100.5 + 101 + 102)
    assert curve.largest_seconds is None, "it is the run itself"
    told = " ".join(cost_sentences(curve, words=words_of("en")))
    assert "102 s of training and 9.0 s to measure 3 ranks, 111 s" in told
    assert "of the 3 arms trained at these ranks takes 304 s" in told
    assert "111 秒" in " ".join(cost_sentences(curve, words=words_of("ja")))


def test_a_nested_lora_stands_beside_plain_ones_with_its_options() -> None:
    one = at_ranks(finished(nested(), accuracy=0.9, learning_rate=5e-4), CUT)
    others = [
        finished(lora(2), accuracy=0.85),
        finished(lora(8), accuracy=0.91),
        # None of these is what a nested one would be at a rank alone.
        finished(lora(4, dropout=0.0), accuracy=0.9),
        finished(lora(4, rslora=True), accuracy=0.9),
        finished(lora(4, alpha=16.0), accuracy=0.9),
        finished(lora(4), accuracy=0.9, learning_rate=5e-5),
    ]
    curve = the_curve([one, *others])
    separate = [row.separate.rank if row.separate else None for row in curve.rows]
    assert separate == [2, None, 8]
    assert curve.separate_seconds == 100.5 + 102
    assert curve.largest_seconds == 102
    assert "at only the largest rank, r=8, takes 102 s" in " ".join(cost_sentences(curve, words=words_of("en")))
    (section,) = sections_of([one, *others])
    adapter, alone = lines_of(curves_of(section, {}), ())
    assert (adapter.separate, [rank for rank, _, _ in adapter.points]) == (False, [2, 4, 8])
    assert (alone.separate, [rank for rank, _, _ in alone.points]) == (True, [2, 8])


def test_a_pattern_is_cut_as_the_ranks_are() -> None:
    pattern = {"0-1": 8, "value": 2}
    whole = at_ranks(finished(lora(4, rank_pattern=pattern, truncate=[4]), accuracy=0.9), {4: 0.88})
    alike = finished(lora(4, rank_pattern={"0-1": 4, "value": 2}), accuracy=0.89)
    other = finished(lora(4), accuracy=0.89)
    assert the_curve([whole, other]).rows[0].separate is None
    separate = the_curve([whole, other, alike]).rows[0].separate
    assert separate is not None
    assert separate.finished == (alike,)


def test_measuring_at_ranks_makes_no_other_arm() -> None:
    plain = finished(lora(8), accuracy=0.9, seed=1)
    cut = at_ranks(finished(lora(8, truncate=[2]), accuracy=0.91, seed=2), {2: 0.8})
    (section,) = sections_of([plain, cut])
    (arm,) = section.arms
    assert len(arm.finished) == 2
    (curve,) = curves_of(section, {})
    assert [len(row.measured) for row in curve.rows] == [1]
    # A later run of the same seed that was not measured so does not hide the ranks.
    later = finished(lora(8), accuracy=0.91, seed=2, ended="2026-01-01T00:00:00+00:00")
    (section,) = sections_of([plain, cut, later])
    assert [row.measured for row in curves_of(section, {})[0].rows] == [cut.ranks]


def test_without_predictions_or_other_arms_nothing_is_compared() -> None:
    curve = the_curve(cut_study(seeds=(1, 2)), predictions=False)
    assert {row.difference for row in curve.rows} == {None}
    assert [row.interval.kind for row in curve.rows if row.interval] == ["both"] * 3
    known = the_curve(cut_study(seeds=(1, 2)))
    for row, narrower in zip(curve.rows, known.rows, strict=True):
        assert row.interval is not None
        assert narrower.interval is not None
        assert row.interval.half_width >= narrower.interval.half_width > 0
    alone = the_curve([at_ranks(finished(lora(8), accuracy=0.9), CUT)])
    assert (alone.separate, alone.separate_seconds) == ((), None)
    (found,) = evidence([at_ranks(finished(lora(8), accuracy=0.9), CUT)])
    table = rank_table(found.curves[0], words=words_of("en"))
    assert "Accuracy: difference (points)" not in [column.heading for column in table.columns]


def test_a_method_of_another_version_is_compared_with_nothing() -> None:
    unknown = at_ranks(finished({"name": "lora-of-tomorrow", "rank": 8}, accuracy=0.9), CUT)
    odd = at_ranks(finished(lora(8, shape="round"), accuracy=0.9), CUT)
    (found,) = evidence([unknown, odd, finished(lora(2), accuracy=0.9)])
    assert [row.separate for curve in found.curves for row in curve.rows] == [None] * 6


def test_the_table_has_the_rows_and_the_outcomes() -> None:
    (found,) = evidence(cut_study())
    table = rank_table(found.curves[0], words=words_of("en"))
    assert table.caption == "LoRA r=8: the trained adapter at each rank"
    headings = [column.heading for column in table.columns]
    rows = [dict(zip(headings, row, strict=True)) for row in table.rows]
    assert [row["Rank"] for row in rows] == ["2", "4", "8"]
    assert [row["Saved (MB)"] for row in rows] == ["0.34", "0.63", "1.2"]
    assert [row["Outcome"] for row in rows] == ["worse", "not distinguishable", "–"]
    assert rows[2]["Trained separately: accuracy (%)"] == "itself"
    assert rows[0]["Accuracy: difference (points)"].startswith("−7.")
    latex = latex_document(sections_of(cut_study()), [found], words=words_of("en"))
    assert r"\label{tab:tanzaku-1-ranks-1}" in latex


def test_the_chart_has_a_line_an_adapter_and_one_for_those_trained_one_by_one() -> None:
    records = [*cut_study(), at_ranks(finished(nested(), accuracy=0.9), CUT)]
    (section,), (found,) = sections_of(records), evidence(records)
    chart = curve_chart(ChartData(section, found, words_of("en")))
    assert chart is not None
    lines = {line.label: line for line in chart.lines}
    cut, separate = "LoRA, cut from r=8", "LoRA, each rank trained"
    assert list(lines) == ["Nested LoRA", cut, separate]
    assert [point.y for point in lines[cut].points] == pytest.approx([80.2, 88.2, 90.2], abs=0.02)
    assert [point.y for point in lines[separate].points] == pytest.approx([88.18, 88.18, 90.2], abs=0.02)
    (section,), (nothing,) = sections_of(study()), evidence(study())
    assert curve_chart(ChartData(section, nothing, words_of("en"))) is None


def test_the_report_has_the_ranks_in_its_files(tmp_path: Path) -> None:
    records = cut_study()
    out = tmp_path / "report"
    report = write_report(write_all(records, tmp_path / "runs"), out)
    names = {path.relative_to(out).as_posix() for path in report.paths}
    assert {"ranks.csv", "figures/ranks.svg", "figures/ranks.png"} <= names
    with (out / "ranks.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    curve = the_curve(records)
    assert [int(row["rank"]) for row in rows] == [2, 4, 8]
    assert [row["separate_arm"] for row in rows][:2] == [f"LoRA r={rank}" for rank in (2, 4)]
    assert curve.rows[0].difference is not None
    assert float(rows[0]["test_accuracy_difference"]) == curve.rows[0].difference.mean
    assert float(rows[0]["test_accuracy_p_holm"]) == curve.rows[0].p_value
    assert rows[2]["test_accuracy_difference"] == rows[2]["outcome"] == ""
    assert {float(row["train_seconds_mean"]) + float(row["measuring_seconds_mean"]) for row in rows} == {111}
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "### One adapter at several ranks" in text
    assert "](figures/ranks.svg)" in text
    # A later report without such an arm leaves nothing of it.
    write_report(write_all([failed(lora(8), error="boom")], tmp_path / "others"), out)
    assert not (out / "ranks.csv").exists()
    assert not (out / "figures" / "ranks.svg").exists()
    assert "several ranks" not in (out / "report.md").read_text(encoding="utf-8")


def _read_curves(runs: Path) -> tuple[RankCurve, ...]:
    stored = stored_runs(runs)
    (section,) = sections_of([run.record for run in stored])
    return curves_of(section, predictions_of(stored))


def test_predictions_at_a_rank_that_are_not_the_record_s_are_refused(tmp_path: Path) -> None:
    runs = write_all(cut_study()[1:], tmp_path / "runs")
    damaged = runs / "run-00" / "ranks" / "r4" / "predictions.csv"
    lines = damaged.read_text(encoding="utf-8").splitlines()
    damaged.write_text("\n".join(lines[:-5]), encoding="utf-8")
    with pytest.raises(RecordError, match=r"r4.predictions\.csv has 3681 documents"):
        _read_curves(runs)
    damaged.unlink()
    (curve,) = _read_curves(runs)
    assert [row.difference is None for row in curve.rows] == [False, True, True]


def test_synthetic_predictions_at_ranks_have_their_accuracy() -> None:
    record = cut_study()[1]
    found = run_predictions(record)
    assert found.predicted.tolist() == predictions_like(record)[1]
    for one in record.ranks:
        assert np.mean(found.at_ranks[one.rank] == found.classes) == pytest.approx(one.test.accuracy)
