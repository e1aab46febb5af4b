"""Requests made from the OpenAPI document: none makes the server fail or break its own description."""

import warnings
from typing import Any

import hypothesis
import pytest
from pydantic import BaseModel, ValidationError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis import Case
    from schemathesis.checks import not_a_server_error
    from schemathesis.core.result import Ok
    from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from tanzaku.serving.schemas import ClassifyRequest, PredictRequest
from tests.serving.running import Running


@pytest.mark.filterwarnings("ignore")
def test_no_request_makes_the_server_fail(server: Running) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    tried = set()
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        strategy = operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)

        @hypothesis.settings(
            max_examples=6,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=strategy)
        def check(case: Case[Any]) -> None:
            response = case.call(base_url=server.url)
            case.validate_response(
                response, checks=[not_a_server_error, response_schema_conformance, status_code_conformance]
            )

        check()
        tried.add(operation.label)
    assert {"POST /v1/classify", "POST /predict", "GET /v1/tasks", "PUT /v1/tasks/{name}"} <= tried


@pytest.mark.parametrize(
    ("model", "content"),
    [
        (ClassifyRequest, {"texts": [1] * 1000}),
        (PredictRequest, {"inputs": [1] * 1000}),
        (PredictRequest, {"inputs": [[1]] * 1000}),
        (ClassifyRequest, {"texts": ["a"]} | {f"field{number}": 0 for number in range(1000)}),
    ],
)
def test_a_body_of_wrong_values_is_not_told_of_one_by_one(model: type[BaseModel], content: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(content)
    assert refused.value.error_count() <= 3  # one for each kind of inputs
