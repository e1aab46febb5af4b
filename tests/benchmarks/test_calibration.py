"""The benchmark of calibration: the documentation has its record's tables, and promises held on real documents."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import calibration
from benchmarks.calibration import RECORD, measured, promise_rows, rows
from tanzaku.methods.tfidf_svm import TfidfSvm
from tests.tiny import make_dataset

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "classify.md"


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


def test_the_tables_of_the_documentation_are_the_records(record: dict[str, Any]) -> None:
    text = DOCUMENTATION.read_text(encoding="utf-8")
    assert "\n".join(rows(record)) in text
    assert "\n".join(promise_rows(record)) in text


def test_promises_are_kept_and_temperatures_calibrate(record: dict[str, Any]) -> None:
    variants = [one for data in record.values() for one in data.values()]
    assert len(variants) == 12
    for one in variants:
        for promise in one["promises"]:
            assert promise["exceeded"] <= (1 - promise["confidence"]) * promise["draws"] * 1.5
        ways = one["calibrations"]
        assert ways["temperature"]["calibration_error"] < ways["none"]["calibration_error"]
        assert ways["temperature"]["accuracy"] == ways["none"]["accuracy"]
        assert ways["temperature"]["log_loss"] < ways["isotonic"]["log_loss"]


def test_it_measures_a_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_DRAWS", 5)
    found = measured(make_dataset(), TfidfSvm(analyzer="character"))
    assert (found["validation_documents"], found["test_documents"]) == (18, 30)
    assert list(found["calibrations"]) == ["none", "temperature", "temperature and biases", "isotonic"]
    assert [promise["error_rate"] for promise in found["promises"]] == [0.02, 0.05, 0.1, 0.2]
    assert found["promises"][0]["promised"] == 0  # 18 documents can't promise 2 %
