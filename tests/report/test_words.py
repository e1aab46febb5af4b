"""Words with their placeholders filled."""

import pytest

from tanzaku.report.words import filled


@pytest.mark.parametrize(
    ("text", "number", "told"),
    [
        ("{value:run|runs}", 1, "1 run"),
        ("{value:run|runs}", 0, "0 runs"),
        ("{value:run|runs}", 1024, "1024 runs"),
        ("{value:,run|runs}", 1024, "1,024 runs"),
        ("{value:g}", 0.5, "0.5"),
        ("{value:,}", 1024, "1,024"),
    ],
)
def test_a_noun_follows_its_number(text: str, number: float, told: str) -> None:
    assert filled(text, value=number) == told


def test_a_placeholder_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        filled("{value:run|runs}", values=1)
