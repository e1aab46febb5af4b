"""A study run by one call: a file, a dictionary and a specification are the same study."""

import copy
import os
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tanzaku.cli import app
from tanzaku.data.prepared import Preparation, write_prepared
from tanzaku.errors import RecordError, SpecError
from tanzaku.study.archiving import archive_study, restore_study
from tanzaku.study.engine import RunEnds, RunStarts, make_runs
from tanzaku.study.expansion import expand, parse_study, read_study
from tanzaku.study.listing import read_list
from tanzaku.study.plan import plan_study
from tanzaku.study.record import FailedRun, read_record, write_record
from tanzaku.study.running import StudyStarts, run_study
from tanzaku.study.study_file import study_toml
from tests.tiny import make_dataset

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_file_a_dictionary_and_a_specification_are_the_same_study(path: Path) -> None:
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    before = copy.deepcopy(content)
    changed = ["seeds=[7]", "arms.0.method=tfidf-svm"]
    study = read_study(path, check_arms=False)
    assert parse_study(content, check_arms=False) == study
    assert parse_study(study.model_dump(mode="json"), check_arms=False) == study
    assert parse_study(content, overrides=changed, check_arms=False).seeds == (7,)
    assert content == before


def test_a_call_makes_the_runs_in_order_and_makes_none_twice(tmp_path: Path) -> None:
    write_prepared(Preparation(make_dataset(), source={}, options={}), tmp_path / "data")
    content = {"name": "s", "data": {"source": str(tmp_path / "data")}, "arms": [{"method": "tfidf-svm"}]}
    spec = parse_study(content, overrides=["arms.0.penalty=[2.0, 1.0]"])
    heard: list[object] = []
    records = run_study(spec, out=tmp_path / "runs", overrides=["seeds=[3, 4]"], listener=heard.append)
    assert [(record.spec["method"]["penalty"], record.spec["seed"]) for record in records] == [
        (2.0, 0),
        (1.0, 0),
    ]  # deterministic
    assert [type(event) for event in heard] == [StudyStarts, *[RunStarts, RunEnds] * 2]
    assert run_study(content, out=tmp_path / "runs", overrides=["seeds=[3]", "arms.0.penalty=[1.0]"]) == records[1:]
    assert len(list((tmp_path / "runs").glob("*/record.json"))) == 2
    listed = read_list(tmp_path / "runs")
    assert listed is not None
    assert (listed.study, listed.overrides) == ("s", ("seeds=[3]", "arms.0.penalty=[1.0]"))
    assert listed.file == content | {"seeds": [3], "arms": [{"method": "tfidf-svm", "penalty": [1.0]}]}


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    write_prepared(Preparation(make_dataset(), source={}, options={}), tmp_path / "data")
    return {"name": "s", "data": {"source": str(tmp_path / "data")}, "arms": [{"method": "tfidf-svm"}]}


@pytest.mark.parametrize("numbers", [{"jobs": -1}, {"jobs": 0}, {"processes_per_run": 0}])
def test_numbers_that_are_too_small_are_refused(
    content: dict[str, Any], tmp_path: Path, numbers: dict[str, Any]
) -> None:
    with pytest.raises(SpecError, match=f"{next(iter(numbers))} = .*; give 1 or more"):
        run_study(content, out=tmp_path / "runs", **numbers)


def test_none_in_a_study_from_python_is_archived_or_refused(content: dict[str, Any], tmp_path: Path) -> None:
    none: dict[str, Any] = {"method": "tfidf-svm", "max_terms": None}
    study = parse_study(content | {"arms": [none | {"max_terms": [None, 50, 20], "penalty": [1.0, 2.0]}, none]})
    written = study_toml(study.model_dump(mode="json", exclude_unset=True))
    assert set(expand(parse_study(tomllib.loads(written)))) == set(expand(study))
    run_study(content | {"arms": [none]}, out=tmp_path / "runs")
    assert archive_study(tmp_path / "runs", tmp_path / "archive").finished == 1
    encoder = {"encoder": {"name": "tanzaku-mini"}, "recipe": "default", "arms": [{"method": "lora", "patience": None}]}
    with pytest.raises(SpecError, match="a study file can't say None for a setting"):
        run_study(content | encoder, out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_runs_are_not_written_into_an_archive(content: dict[str, Any], tmp_path: Path) -> None:
    run_study(content, out=tmp_path / "runs")
    archive = archive_study(tmp_path / "runs", tmp_path / "archive").folder
    before = {path.name: path.read_bytes() for path in archive.iterdir()}
    with pytest.raises(RecordError, match=r"archive is an archive; .*tanzaku study restore"):
        run_study(content | {"seeds": [2]}, out=archive)
    with pytest.raises(RecordError, match="archive is an archive; give another folder"):
        restore_study(archive, archive)
    assert {path.name: path.read_bytes() for path in archive.iterdir()} == before


def test_the_command_reads_the_study_from_a_pipe(content: dict[str, Any], tmp_path: Path) -> None:
    pipe = tmp_path / "study"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(study_toml(content), encoding="utf-8"), daemon=True)
    writer.start()
    done = CliRunner().invoke(app, ["study", "run", str(pipe), "--out", str(tmp_path / "runs")])
    writer.join(timeout=60)
    assert done.exit_code == 0, (done.stderr, done.exception)
    assert len(list((tmp_path / "runs").glob("*/record.json"))) == 1


def test_runs_that_differ_in_nothing_that_counts_are_one(
    content: dict[str, Any], tmp_path: Path, tiny_encoder: Path
) -> None:
    arm = {"method": "head", "learning_rate": 1e-2, "checkpoint_minutes": [5, 10]}
    study = parse_study(
        content | {"encoder": {"name": str(tiny_encoder), "max_tokens": 16}, "arms": [arm, *content["arms"]]}
    )
    plan = plan_study(study, dataset=make_dataset(), out=tmp_path / "runs")
    assert [run.spec.method_name for run in plan.runs] == ["head", "tfidf-svm"]


def test_a_run_that_failed_again_in_another_process_is_not_made_once_more(
    content: dict[str, Any], tmp_path: Path
) -> None:
    study = parse_study(content | {"arms": [{"method": "tfidf-svm", "penalty": [1.0, 2.0]}]})
    plan = plan_study(study, dataset=make_dataset(), out=tmp_path / "runs")
    ended = [
        event.record for event in make_runs(plan.runs, dataset=plan.dataset, study="s") if isinstance(event, RunEnds)
    ]

    def fail(number: int, at: str) -> None:
        content = ended[number].model_dump(mode="json", include=set(FailedRun.model_fields))
        failed = FailedRun.model_validate(content | {"status": "failed", "error": "no memory", "ended": at})
        write_record(failed, plan.runs[number].folder)

    fail(0, "2026-01-01T00:00:00+00:00")
    fail(1, "2026-01-01T00:00:00+00:00")
    found = []
    for event in make_runs(plan.runs, dataset=plan.dataset, study="s", retry_failed=True):
        if isinstance(event, RunEnds):
            found.append((event.found, event.record.status))
            if len(found) == 1:  # meanwhile, another process has retried the second
                fail(1, "2026-01-01T00:05:00+00:00")
    assert found == [(False, "finished"), (True, "failed")]
    assert read_record(plan.runs[1].folder).ended == "2026-01-01T00:05:00+00:00"
