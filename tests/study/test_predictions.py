"""Files of predictions come back as they were written, and damaged ones are errors that name the line."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tanzaku.errors import RecordError
from tanzaku.study.predictions import read_predictions, write_predictions


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 10_000))))
def test_predictions_round_trip(tmp_path: Path, rows: list[tuple[int, int, int]]) -> None:
    classes, predicted = [row[0] for row in rows], [row[1] for row in rows]
    write_predictions(tmp_path, classes=classes, predicted=predicted)
    assert read_predictions(tmp_path) == (classes, predicted, None, None)
    probabilities = [row[2] / 10_000 for row in rows]
    write_predictions(tmp_path, classes=classes, predicted=predicted, probabilities=probabilities)
    assert read_predictions(tmp_path) == (classes, predicted, probabilities or None, None)
    groups = [row[2] % 7 for row in rows]
    write_predictions(tmp_path, classes=classes, predicted=predicted, groups=groups)
    assert read_predictions(tmp_path) == (classes, predicted, None, groups or None)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("class\n1\n", "the first line is not class,predicted,probability"),
        ("", "the first line is not class,predicted,probability"),
        ("class,predicted,probability\n1,x,\n", "line 2: .*'x'"),
        ("class,predicted,probability\n1,2,\n1,2\n", "line 3: "),
        ("class,predicted,probability\n1,2,\n1,2,0.5,3\n", "line 3: "),
        ("class,predicted,probability\n1,2,\n0,9,\n", r"line 3: .*'9', ''\] with 3 classes"),
        ("class,predicted,probability\n-1,0,\n", r"line 2: .*'-1'"),
        ("class,predicted,probability\n1,0,1.5\n", r"line 2: .*1.5 is not a probability"),
        ("class,predicted,probability\n1,0,nan\n", r"line 2: .*nan is not a probability"),
        ("class,predicted,probability,group\n1,2,,7\n1,2,\n", "line 3: .*3 fields"),
        ("class,predicted,probability,group\n1,2,,a\n", "line 2: .*'a'"),
        ("class,predicted,probability\n1,0,0.5\n1,0,\n", "has probabilities of only some documents"),
    ],
)
def test_damaged_predictions_are_an_error_that_names_the_line(tmp_path: Path, content: str, place: str) -> None:
    (tmp_path / "predictions.csv").write_text(content, encoding="utf-8")
    with pytest.raises(RecordError, match=rf"predictions\.csv.*{place}"):
        read_predictions(tmp_path, labels=3)
