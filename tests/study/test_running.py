"""A study run by one call: a file, a dictionary and a specification are the same study."""

import copy
import tomllib
from pathlib import Path

import pytest

from tanzaku.data.prepared import Preparation, write_prepared
from tanzaku.study.engine import RunEnds, RunStarts
from tanzaku.study.expansion import parse_study, read_study
from tanzaku.study.listing import read_list
from tanzaku.study.running import StudyStarts, run_study
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
