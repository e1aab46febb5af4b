"""Which forward a model gets, in which precision, and that each gives logits in float32."""

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

from tanzaku.encoders.fast import FastForward
from tanzaku.machine import describe_machine
from tanzaku.training.batches import Batch
from tanzaku.training.forward import choose_forward, model_logits

Precision = Literal["auto", "float32", "bfloat16"]
_SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 20,
    "num_labels": 3,
    "initializer_range": 0.2,
    "pad_token_id": 0,
}


def _bert() -> BertForSequenceClassification:
    torch.manual_seed(0)
    return BertForSequenceClassification(BertConfig(**_SIZES)).eval()


def _roberta() -> RobertaForSequenceClassification:
    torch.manual_seed(0)
    return RobertaForSequenceClassification(RobertaConfig(**_SIZES)).eval()


def _batch() -> Batch:
    input_ids = torch.randint(5, 60, (3, 12), generator=torch.Generator().manual_seed(1))
    attention_mask = torch.ones_like(input_ids)
    for row, length in enumerate((12, 7, 3)):
        input_ids[row, length:] = attention_mask[row, length:] = 0
    return Batch(input_ids, attention_mask, torch.tensor([0, 1, 2]))


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> bool:
    """Whether this machine's processor is said to multiply bfloat16."""
    machine = replace(describe_machine(), cpu_bfloat16=request.param)
    monkeypatch.setattr("tanzaku.compute.describe_machine", lambda: machine)
    return bool(request.param)


@pytest.mark.parametrize("native", [False, True], indirect=True, ids=["emulated", "native"])
@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
@pytest.mark.parametrize("fast", [False, True], ids=["slow", "fast"])
@pytest.mark.parametrize("make", [_bert, _roberta])
def test_path_and_precision_follow_the_settings_the_encoder_and_the_hardware(
    native: bool, precision: Precision, fast: bool, make: Any
) -> None:
    chosen = choose_forward(make(), fast=fast, precision=precision)
    assert chosen.path == ("fast" if fast and make is _bert else "transformers")
    low = precision == "bfloat16" or (precision == "auto" and fast and native)
    assert chosen.precision == ("bfloat16" if low else "float32")


@pytest.mark.parametrize("native", [True], indirect=True)
def test_without_the_fast_path_auto_is_transformers_own_forward_to_the_bit(native: bool) -> None:
    model, batch = _bert(), _batch()
    chosen = choose_forward(model, fast=False, precision="auto")
    expected = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    assert torch.equal(chosen.run(model, batch), expected)
    assert expected.dtype == torch.float32
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_where_the_fast_path_is_taken_it_computes_the_same() -> None:
    model, batch = _bert(), _batch()
    chosen = choose_forward(model, fast=True, precision="float32")
    assert isinstance(chosen.run, FastForward)
    torch.testing.assert_close(chosen.run(model, batch), model_logits(model, batch), rtol=0, atol=1e-5)


@pytest.mark.parametrize("fast", [False, True], ids=["slow", "fast"])
@pytest.mark.parametrize("make", [_bert, _roberta])
def test_bfloat16_gives_logits_in_float32_that_differ_by_rounding(make: Any, fast: bool) -> None:
    model, batch = make().requires_grad_(False), _batch()
    expected = model_logits(model, batch)
    logits = choose_forward(model, fast=fast, precision="bfloat16").run(model, batch)
    assert logits.dtype == torch.float32
    # bfloat16 has 8 binary digits; see the tests of the fast path.
    assert 0 < float((logits - expected).norm()) < 0.05 * float(expected.norm())


def test_autocast_trains_weights_that_stay_in_float32() -> None:
    model, batch = _roberta(), _batch()
    logits = choose_forward(model, fast=True, precision="bfloat16").run(model, batch)
    nn.functional.cross_entropy(logits, batch.labels).backward()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert len(gradients) > 20
    assert {gradient.dtype for gradient in gradients} == {torch.float32}
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
