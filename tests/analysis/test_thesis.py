"""Which of the thesis's rows an arm is put beside."""

from typing import Any

import pytest

from tanzaku.analysis import thesis
from tanzaku.analysis.arms import Arm, arms_of
from tanzaku.methods.lora import Lora
from tests.report.records import LIVEDOOR, RANKS, data_facts, finished, lora, training

# A value of each option that makes another method of LoRA than the thesis's.
VARIANTS: dict[str, Any] = {
    "lora_plus_ratio": 16.0,
    "pooler": True,
    "rslora": True,
    "dora": True,
    "initialization": "pissa",
    "rank_pattern": {"11": 16},
}


def arm(method: dict[str, Any], learning_rate: float, epochs: int, **options: Any) -> Arm:
    settings = training(learning_rate, epochs=epochs, **options)
    return arms_of([finished(method, accuracy=0.9, learning_rate=learning_rate, training=settings)])[0]


def test_every_row_is_found_by_its_settings() -> None:
    assert len(thesis.PUBLISHED) == 23
    for row in thesis.PUBLISHED:
        method = {"name": "full"} if row.rank is None else lora(row.rank)
        assert thesis.published_for(arm(method, row.learning_rate, row.epochs)) == row


@pytest.mark.parametrize(
    ("table", "accuracies"),
    [
        ("3.2", [92.95, 92.84, 93.22, 93.11, 93.35, 93.87, 90.18, 95.23]),
        ("3.3", [85.34, 85.46, 85.27, 85.46, 85.67, 85.82, 85.64]),
        ("3.4", [93.12, 93.34, 93.22, 93.21, 93.86, 93.92, 93.87, 95.79]),
    ],
)
def test_the_accuracies_are_the_tables(table: str, accuracies: list[float]) -> None:
    rows = [row for row in thesis.PUBLISHED if row.table == table]
    assert [row.accuracy_percent for row in rows] == accuracies
    assert [row.rank for row in rows if row.rank] == list(RANKS)


def test_the_seconds_are_the_tables() -> None:
    assert [row.train_seconds for row in thesis.PUBLISHED if row.table == "3.2"] == [
        816, 812, 814, 820, 826, 840, 911, 1016,
    ]  # fmt: skip
    assert [row.train_seconds for row in thesis.PUBLISHED if row.table == "3.4"] == [
        3963, 3743, 5044, 3746, 3776, 3848, 4558, 2464,
    ]  # fmt: skip
    assert all(row.train_seconds is None for row in thesis.PUBLISHED if row.table == "3.3")


def test_sizes_are_known_in_every_table() -> None:
    for table in ("3.2", "3.3", "3.4"):
        sizes = [thesis.published_megabytes(row) for row in thesis.PUBLISHED if row.table == table and row.rank]
        assert sizes == [0.34, 0.64, 1.2, 4.8, 9.5, 18.9, 37.8]
    assert thesis.published_megabytes(thesis.PUBLISHED[-1]) == 442.5


@pytest.mark.parametrize(
    ("method", "learning_rate", "epochs"),
    [
        (lora(16), 5e-4, 5),
        (lora(8), 1e-4, 5),
        (lora(8), 5e-4, 100),
        (lora(8, alpha=16.0), 5e-4, 5),
        (lora(8, dropout=0.0), 5e-4, 5),
        (lora(8, targets=["query", "key", "value"]), 5e-4, 5),
        *((lora(8, **{name: value}), 5e-4, 5) for name, value in VARIANTS.items()),
        ({"name": "full"}, 5e-4, 5),
        ({"name": "head"}, 5e-5, 5),
    ],
)
def test_other_settings_have_no_row(method: dict[str, Any], learning_rate: float, epochs: int) -> None:
    assert thesis.published_for(arm(method, learning_rate, epochs)) is None


def test_no_variant_of_lora_is_forgotten() -> None:
    # The first four are the thesis's own, and `truncate` changes nothing in training.
    assert set(VARIANTS) == set(Lora.model_fields) - {"rank", "alpha", "dropout", "targets", "truncate"}


def test_an_adapter_that_is_also_measured_at_smaller_ranks_keeps_its_row() -> None:
    row = thesis.published_for(arm(lora(8, truncate=[2, 4]), 5e-4, 5))
    assert row is not None
    assert (row.table, row.rank) == ("3.2", 8)


def test_alpha_may_be_spelled_as_a_number_and_a_rate_may_be_computed() -> None:
    for targets in (["value", "query"], ["qv"], "qv"):
        row = thesis.published_for(arm(lora(8, alpha=8.0, targets=targets), 0.1 * 5e-3, 5))
        assert row is not None
        assert (row.table, row.rank) == ("3.2", 8)


def test_the_thesis_is_set_beside_its_own_categories_alone() -> None:
    assert thesis.is_thesis_data(data_facts(LIVEDOOR))
    assert not thesis.is_thesis_data(data_facts(("a", "b")))


def test_table_3_1_adds_up() -> None:
    rows = thesis.TABLE_3_1.values()
    assert (sum(row.train for row in rows), sum(row.val for row in rows), sum(row.test for row in rows)) == (
        2945,
        736,
        3687,
    )
    assert sum(row.articles for row in rows) == 7368
    assert all(row.articles == row.train + row.val + row.test for row in rows)
