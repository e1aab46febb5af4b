"""Records and predictions survive the disk, and damage is said."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tanzaku.errors import RecordError
from tanzaku.study.record import (
    DataFacts,
    Environment,
    RunRecord,
    read_predictions,
    read_record,
    read_records,
    write_predictions,
    write_record,
)


def _failed(run_id: str, error: str = "out of memory") -> RunRecord:
    return RunRecord(
        run_id=run_id,
        study="s",
        status="failed",
        error=error,
        started="2025-01-01T00:00:00+00:00",
        ended="2025-01-01T00:00:01+00:00",
        spec={"method": {"name": "full"}},
        data=DataFacts(
            name="d", fingerprint="f", label_names=("空", "海"), train_documents=1, val_documents=1, test_documents=1
        ),
        environment=Environment(
            versions={},
            platform="p",
            cpu="c",
            cores=1,
            threads=1,
            memory_bytes=1,
            gpu=None,
            git_commit=None,
            git_dirty=None,
        ),
    )


def test_round_trip(tmp_path: Path) -> None:
    record = _failed("one", error='漢字、\n改行, "引用"')
    write_record(record, tmp_path / "one")
    assert read_record(tmp_path / "one") == record
    assert record.method == "full"


def test_all_below_a_folder_are_read(tmp_path: Path) -> None:
    for name in ("b", "a", "deep/c"):
        write_record(_failed(Path(name).name), tmp_path / name)
    assert [record.run_id for record in read_records(tmp_path)] == ["a", "b", "c"]


def test_no_record_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no record\.json lies below"):
        read_records(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 99}', '{"version": 1}', '{"version": 1, "run_id": 3}'])
def test_a_damaged_record_is_an_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "record.json").write_text(content, encoding="utf-8")
    with pytest.raises(RecordError, match=r"record\.json"):
        read_record(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99))))
def test_predictions_round_trip(tmp_path: Path, pairs: list[tuple[int, int]]) -> None:
    classes, predicted = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    write_predictions(tmp_path, classes=classes, predicted=predicted)
    assert read_predictions(tmp_path) == (classes, predicted)


@pytest.mark.parametrize("content", ["class\n1\n", "class,predicted\n1,x\n", "class,predicted\n1\n"])
def test_damaged_predictions_are_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "predictions.csv").write_text(content, encoding="utf-8")
    with pytest.raises(RecordError, match=r"predictions\.csv"):
        read_predictions(tmp_path)
