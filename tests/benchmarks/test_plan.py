"""The plan in docs/scale.md is computed from the committed records."""

import json
from pathlib import Path

import pytest

from benchmarks.plan import BEGIN, END, PAGE, RECORDS, cost, current_plan, make_page, plan
from tanzaku.errors import RecordError
from tanzaku.study.archive import ARCHIVED_RUNS_FILE


def test_the_page_has_the_plan_of_the_records() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == make_page(page, current_plan())


def test_the_plan_is_arithmetic_on_the_records(tmp_path: Path) -> None:
    lines = (RECORDS / "livedoor-mini" / ARCHIVED_RUNS_FILE).read_text(encoding="utf-8").splitlines()
    record = next(content for content in map(json.loads, lines) if content["spec"]["method"]["name"] == "tfidf-svm")
    record |= {"started": "2026-01-01T00:00:00+00:00", "resumptions": 0}
    costs = record["costs"] | {"test_seconds": record["data"]["test_documents"] / 50}
    contents = [
        record | {"run_id": f"r{minutes}", "ended": f"2026-01-01T00:0{minutes}:00+00:00", "costs": costs}
        for minutes in (1, 2)
    ]
    (tmp_path / "study").mkdir()
    path = tmp_path / "study" / ARCHIVED_RUNS_FILE
    path.write_text("".join(json.dumps(one) + "\n" for one in contents), encoding="utf-8")
    found = cost(tmp_path, "study", "tfidf-svm", "SVM")
    assert (found.runs, found.run_seconds, round(found.documents_per_second, 6)) == (2, 90.0, 50.0)
    # 10,000 runs of 90 s are 250 core hours, 3.9 h on 64 cores; 100 million documents at 50 a second 555.6 h.
    assert "| SVM | 250 | 3.9 | 556 | 8.7 |" in plan([found])

    contents[1]["environment"] = contents[1]["environment"] | {"threads": 2}
    path.write_text("".join(json.dumps(one) + "\n" for one in contents), encoding="utf-8")
    with pytest.raises(RecordError, match="2 machines"):
        cost(tmp_path, "study", "tfidf-svm", "SVM")


def test_only_the_text_between_the_markers_is_replaced() -> None:
    assert make_page(f"before\n{BEGIN}old\n{END}after\n", "new\n") == f"before\n{BEGIN}\nnew\n\n{END}after\n"
    with pytest.raises(RecordError, match="end of the plan"):
        make_page(f"before\n{BEGIN}", "new")
