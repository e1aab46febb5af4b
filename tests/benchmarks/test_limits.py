"""What a machine allows, from a record by hand."""

from typing import Any

import pytest

from benchmarks.documents import step_documents
from benchmarks.flops import lora_step_flops
from benchmarks.limits import limits_of
from benchmarks.scale import LABELS, SCALES
from benchmarks.trainers import THESIS_RANK


def _record(**values: float) -> dict[str, Any]:
    rows = [{"name": name, "value": value} for name, value in values.items()]
    return {"scale": SCALES["tiny"].model_dump(mode="json"), "rows": rows}


def test_the_faster_precision_and_the_rivals_seconds_make_the_limit() -> None:
    scale = SCALES["tiny"]
    documents = step_documents(scale.steps, max_tokens=scale.max_tokens, vocabulary=scale.base.vocabulary)
    step = lora_step_flops(documents.lengths(), shape=scale.base, rank=THESIS_RANK, labels=LABELS) / scale.steps
    record = _record(
        product_base_float32=2.0, product_base_bfloat16=4.0, lora_step_base_trainer=3.0, classify_base_pipeline=10.0
    )
    found = {limit.name: limit for limit in limits_of(record)}
    assert set(found) == {"lora_step_base_vs_trainer", "classify_base_vs_pipeline"}  # of the small one nothing is known
    limit = found["lora_step_base_vs_trainer"]
    assert limit.flops == step
    assert limit.seconds == pytest.approx(step / 4e9)
    assert limit.times == pytest.approx(3.0 / limit.seconds)
    limit = found["classify_base_vs_pipeline"]
    assert limit.times == pytest.approx(0.1 / limit.seconds)


def test_without_the_rival_or_the_products_there_is_none() -> None:
    assert limits_of(_record(product_base_float32=2.0)) == []
    assert limits_of(_record(lora_step_base_trainer=3.0)) == []
