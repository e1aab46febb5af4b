"""The benchmark of engines: its documents are the same everywhere, and its ratios are of medians."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.engines import SCALES, ratios, study_of, write_documents
from tanzaku.study.expansion import expand, parse_study


def test_documents_differ_and_are_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_documents(tmp_path / name, 1234)
    texts = pq.read_table(tmp_path / "one").column("text").to_pylist()
    assert texts == pq.read_table(tmp_path / "two").column("text").to_pylist()
    assert len(set(texts)) == 1234
    assert texts[1230] == "空と空と空と海と山と川と空を見た。"


def test_the_study_has_the_runs_that_are_divided_by() -> None:
    for sizes in SCALES.values():
        assert len(expand(parse_study(study_of(sizes)))) == sizes.runs


def test_ratios_are_of_medians() -> None:
    seconds = {
        "processes, 1 job": [10.0, 90.0, 12.0],
        "processes, 2 jobs": [6.0],
        "ray, 1 job": [20.0],
        "ray, 2 jobs": [8.0],
        "tfidf-svm, one process": [100.0],
        "tfidf-svm, ray data": [50.0],
        "lora, one process": [60.0],
        "lora, ray data": [20.0],
    }
    found = ratios(seconds, SCALES["full"])
    assert found["two_jobs_are_times_as_fast"] == 2
    assert found["two_jobs_of_ray_are_times_as_fast"] == 1.5
    assert found["ray_seconds_per_run"] == 1
    assert found["tfidf-svm_ray_data_is_times_as_fast"] == 2
    assert found["tfidf-svm_documents_per_second_in_one_process"] == pytest.approx(10_000)
    assert found["lora_ray_data_is_times_as_fast"] == 3
