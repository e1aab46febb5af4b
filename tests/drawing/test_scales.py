"""Round ticks."""

from hypothesis import given
from hypothesis import strategies as st

from tanzaku.drawing.charts import Axis
from tanzaku.drawing.scales import Span, round_numbers, round_powers, tick_texts

_values = st.floats(0.01, 1e6)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_and_round_and_within(low: float, width: float) -> None:
    ticks = round_numbers(low, low + width)
    assert 1 <= len(ticks) <= 9
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in ticks)


@given(_values, st.floats(1.3, 1e5))
def test_logarithmic_ticks_are_few_and_within(low: float, ratio: float) -> None:
    ticks = round_powers(low, low * ratio)
    assert len(ticks) <= 8
    assert all(low <= tick <= low * ratio for tick in ticks)


@given(_values, st.floats(1.1, 1e5), st.floats(0, 1), st.sampled_from(["linear", "log"]))
def test_a_share_of_an_axis_is_a_value_and_back(low: float, ratio: float, share: float, scale: str) -> None:
    span = Span.over([low, low * ratio], Axis("x", scale="log" if scale == "log" else "linear"))
    assert abs(span.share(span.value(share)) - share) < 1e-6


def test_a_reserved_share_lies_beyond_the_values() -> None:
    span = Span.over([1, 2], Axis("x"), reserved=0.25)
    assert 0.6 < span.share(2) < 0.75
    assert all(value <= 2.1 for value, _ in span.ticks(Axis("x"), length=100, least=1, end=0.75))


def test_ticks_of_an_axis_are_written_alike() -> None:
    assert tick_texts([94, 94.5, 95], "linear") == ["94.0", "94.5", "95.0"]
    assert tick_texts([0, 500, 1000], "linear") == ["0", "500", "1,000"]
    assert tick_texts([0.5, 1, 2, 1000], "log") == ["0.5", "1", "2", "1,000"]
    assert tick_texts([2, 8, 256], "linear") == ["2", "8", "256"]
    assert tick_texts([1e-6, 2e-6], "linear") == ["1e-06", "2e-06"]
