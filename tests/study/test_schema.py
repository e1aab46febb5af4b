"""The JSON Schema of study files says what `read_study` says, as far as one key at a time goes."""

import copy
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from typer.testing import CliRunner

from tanzaku.cli import app
from tanzaku.errors import SpecError
from tanzaku.methods import METHODS
from tanzaku.study.expansion import parse_study
from tanzaku.study.schema import study_schema

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))
STUDY: dict[str, Any] = {
    "name": "s",
    "data": {"source": "sample"},
    "encoder": {"name": "tanzaku-mini"},
    "training": {"learning_rate": 1e-3},
    "arms": [{"method": "lora"}],
}


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    printed = CliRunner().invoke(app, ["study", "schema"])
    assert printed.exit_code == 0, printed.output
    schema = json.loads(printed.stdout)
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def _is_valid(study: dict[str, Any]) -> bool:
    try:
        parse_study(study)
    except SpecError:
        return False
    return True


def test_every_study_that_ships_is_valid(validator: Draft7Validator) -> None:
    assert len(STUDIES) > 10
    for path in STUDIES:
        validator.validate(tomllib.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("method", METHODS)
def test_an_arm_of_every_method_is_valid_and_takes_no_other_key(method: str, validator: Draft7Validator) -> None:
    assert validator.is_valid(STUDY | {"arms": [{"method": method}]})
    assert not validator.is_valid(STUDY | {"arms": [{"method": method, "rnak": 4}]})


ACCEPTED = [
    {"arms": [{"method": "lora", "rank": [2, 4], "learning_rate": [1e-4, 1e-3], "max_tokens": 128}]},
    {"arms": [{"method": "lora", "targets": "all-linear"}]},
    {"arms": [{"method": "lora", "targets": [["query"], ["query", "value"]], "alpha": ["rank", 16]}]},
    {"arms": [{"method": "lora", "truncate": [2, 4], "pretrain": False, "recipe": ["none", "default"]}]},
    {"arms": [{"method": "tfidf-svm", "max_terms": [100, 1000]}]},
    {"encoder": {"name": "tanzaku-mini", "pretrain": {"steps": 10}}},
    {"tune": {"space": {"rank": [2, 4], "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}}},
]
REFUSED = [
    {"arms": []},
    {"arms": [{"rank": 4}]},
    {"arms": [{"method": "lorra"}]},
    {"arms": [{"method": "lora", "rank": 0}]},
    {"arms": [{"method": "lora", "rank": "many"}]},
    {"arms": [{"method": "lora", "rank": []}]},
    {"arms": [{"method": "bitfit", "embeddings_learning_rate": 1e-3}]},
    {"arms": [{"method": "tfidf-svm", "learning_rate": 1e-3}]},
    {"arms": [{"method": "lora", "recipe": "mine"}]},
    {"encoder": {"max_tokens": 128}},
    {"encoder": {"name": "tanzaku-mini", "pooling": "median"}},
    {"training": {"learning_rate": 1e-3, "epoch": 3}},
    {"seeds": [-1]},
    {"name": "two words"},
    {"description_": "x"},
    {"data": {}},
]


@pytest.mark.parametrize("changes", ACCEPTED, ids=json.dumps)
def test_what_a_study_may_say_is_valid(changes: dict[str, Any], validator: Draft7Validator) -> None:
    assert validator.is_valid(STUDY | changes) is _is_valid(STUDY | changes) is True


@pytest.mark.parametrize("changes", REFUSED, ids=json.dumps)
def test_what_a_study_may_not_say_is_invalid(changes: dict[str, Any], validator: Draft7Validator) -> None:
    assert validator.is_valid(STUDY | changes) is _is_valid(STUDY | changes) is False


def _keys(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property of the schema, wherever it stands."""
    for value in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from _keys(value)
    if isinstance(schema, dict) and isinstance(schema.get("properties"), dict):
        yield from schema["properties"].items()


def test_every_key_is_described_for_editors() -> None:
    schema = study_schema()
    keys = list(_keys(copy.deepcopy(schema)))
    assert len(keys) > 300
    for name, key in keys:
        described = schema["$defs"][key["$ref"].rpartition("/")[2]] if "$ref" in key else key
        assert described.get("description"), name
