"""Rounding, as the thesis's tables round."""

import pytest

from tanzaku.analysis.arms import arms_of
from tanzaku.report import formats
from tests.report.records import finished, lora, training


@pytest.mark.parametrize(
    ("size", "written"),
    [
        (0.340, "0.34"), (0.6351, "0.64"), (1.2249, "1.2"), (4.76, "4.8"), (9.48, "9.5"), (18.919, "18.9"),
        (37.79, "37.8"), (442.54, "442.5"), (0.996, "1.0"), (0.0277, "0.028"), (0.0999, "0.10"), (0.1, "0.10"),
        (0.000012, "1.2e-5"), (0, "0"),
    ],
)  # fmt: skip
def test_sizes(size: float, written: str) -> None:
    assert formats.megabytes(size) == written


def test_accuracies_have_two_decimals() -> None:
    assert formats.percent(3441 / 3686) == "93.35"
    assert formats.percent(1.0) == "100.00"


@pytest.mark.parametrize(
    ("duration", "written"),
    [(816.4, "816"), (9.94, "9.9"), (9.96, "10"), (0.0423, "0.042"), (0.096, "0.1"), (0.0, "0.0"), (1234.4, "1,234")],
)
def test_seconds(duration: float, written: str) -> None:
    assert formats.seconds(duration) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0082, "= 0.0082"),
        (0.99996, "= 1"),
        (1.0, "= 1"),
        (0.00009, "< 0.0001"),
        (0.04994, "= 0.0499"),
        (0.04996, "< 0.05"),
        (0.05, "= 0.0500"),
    ],
)
def test_p_values_in_sentences(value: float, written: str) -> None:
    assert formats.p_relation(value) == written
    if value < 0.99:
        assert formats.p_value(value) == written.removeprefix("= ").replace(" ", "")


def test_spans() -> None:
    (arm,) = arms_of([finished(lora(8), accuracy=0.9, training=training(5e-4, epochs=epochs)) for epochs in (5,)])
    assert formats.span(arm.epochs_run) == "5"
    assert formats.spread(arm.accuracy) == "–"


@pytest.mark.parametrize(
    ("duration", "written"), [(0.04123, "0.0412"), (3.257, "3.26"), (12.44, "12.4"), (99.94, "99.9"), (99.96, "100")]
)
def test_milliseconds_have_three_digits(duration: float, written: str) -> None:
    assert formats.milliseconds(duration) == written


@pytest.mark.parametrize(("number", "written"), [(0.31, "0.3"), (9.94, "9.9"), (9.96, "10"), (1234.4, "1,234")])
def test_a_rate_has_a_decimal_only_below_ten(number: float, written: str) -> None:
    assert formats.rate(number) == written
