"""The fast path computes what transformers computes."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

from tanzaku.encoders.fast import FastForward, Precision, fast_forward
from tanzaku.encoders.pooled import pooled_class, write_reading
from tanzaku.encoders.reading import Pooling
from tanzaku.methods.peft_adapter import quiet_peft
from tanzaku.training.batches import Batch
from tanzaku.training.forward import model_logits
from tests.devices import DEVICES

LABELS, VOCABULARY, LONGEST = 5, 300, 30
LENGTHS = (7, LONGEST, 18, 1)
# Sums over some dozens of float32 terms in another order differ only by rounding; a GPU adds in more orders.
TOLERANCE = 1e-5
TOLERANCES = {"cpu": TOLERANCE, "cuda": 1e-4}


def _config(**changes: Any) -> BertConfig:
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": LONGEST,
        "num_labels": LABELS,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.2,  # large, so that a mistake shows
    }
    return BertConfig(**(settings | changes))


def _plain(**changes: Any) -> BertForSequenceClassification:
    torch.manual_seed(1)
    return BertForSequenceClassification(_config(**changes))


def _pooled(pooling: Pooling) -> nn.Module:
    torch.manual_seed(1)
    config = _config()
    write_reading(config, pooling=pooling, long_text="windows")
    return pooled_class(config)(config)


def _lora(model: nn.Module, *, targets: Sequence[str] = ("query", "value"), **changes: Any) -> nn.Module:
    settings: dict[str, Any] = {"r": 3, "lora_alpha": 5, "lora_dropout": 0.0, "init_lora_weights": False}
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        target_modules=list(targets),
        exclude_modules=r".*pooler\.dense",
        **(settings | changes),
    )
    with quiet_peft():
        adapted: nn.Module = get_peft_model(model, config)
    return adapted


def _batch(lengths: Sequence[int] = LENGTHS, *, documents: Tensor | None = None) -> Batch:
    random = torch.Generator().manual_seed(2)
    input_ids = torch.zeros(len(lengths), LONGEST, dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    for row, length in enumerate(lengths):
        input_ids[row, :length] = torch.randint(5, VOCABULARY, (length,), generator=random)
        attention_mask[row, :length] = 1
    count = len(lengths) if documents is None else int(documents.max()) + 1
    return Batch(input_ids, attention_mask, torch.arange(count) % LABELS, documents)


def _fast(model: nn.Module, precision: Precision = "float32") -> FastForward:
    forward = fast_forward(model, precision=precision)
    assert forward is not None
    return forward


def _gradients(model: nn.Module, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
    nn.functional.cross_entropy(logits, batch.labels).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


MODELS: dict[str, Callable[[], nn.Module]] = {
    "full": _plain,
    "cls-windows": lambda: _pooled("cls"),
    "mean-windows": lambda: _pooled("mean"),
    "mean+max-windows": lambda: _pooled("mean+max"),
    "lora": lambda: _lora(_plain()),
    "lora-all-linear": lambda: _lora(_plain(), targets=("query", "key", "value", "dense")),
    "lora-with-dropout": lambda: _lora(_plain(), lora_dropout=0.5),
    "lora-rslora": lambda: _lora(_plain(), use_rslora=True),
    "lora-pattern": lambda: _lora(_plain(), rank_pattern={"layer.1.*": 7}, alpha_pattern={"query": 2}),
    "lora-pissa": lambda: _lora(_plain(), init_lora_weights="pissa"),
    "lora-embeddings": lambda: _lora(_plain(), targets=("word_embeddings", "query"), lora_dropout=0.5),
    "lora-mean+max": lambda: _lora(_pooled("mean+max")),
    "one-layer": lambda: _plain(num_hidden_layers=1),
    "tanh": lambda: _plain(hidden_act="gelu_new"),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", MODELS)
def test_logits_and_gradients_equal_those_of_transformers(name: str, device: str) -> None:
    model = MODELS[name]().eval().to(device)  # no dropout, but gradients
    reference = copy.deepcopy(model)
    batch = _batch(documents=torch.tensor([0, 0, 1, 2]) if "windows" in name else None).to(torch.device(device))
    expected = model_logits(reference, batch)
    found = _fast(model)(model, batch)
    tolerance = TOLERANCES[device]
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    expected_gradients = _gradients(reference, expected, batch)
    gradients = _gradients(model, found, batch)
    assert set(gradients) == set(expected_gradients)
    for parameter, gradient in expected_gradients.items():
        torch.testing.assert_close(gradients[parameter], gradient, rtol=10 * tolerance, atol=tolerance, msg=parameter)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", ["lora", "lora-with-dropout", "full"])
def test_an_optimisers_step_reaches_the_next_call(name: str, fused: bool, device: str) -> None:
    model = MODELS[name]().eval().to(device)
    forward, batch = _fast(model), _batch().to(torch.device(device))
    before = forward(model, batch)
    # A fused kernel changes the weights without counting up their versions.
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=fused)
    _gradients(model, before, batch)
    optimizer.step()
    after = forward(model, batch)
    assert float((after - before).detach().abs().max()) > 0.1
    torch.testing.assert_close(after, model_logits(model, batch), rtol=1e-5, atol=TOLERANCES[device])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["full", "lora", "lora-with-dropout", "mean+max-windows"])
def test_bfloat16_differs_by_rounding_alone(name: str, device: str) -> None:
    model = MODELS[name]().eval().to(device)
    batch = _batch().to(torch.device(device))
    expected = model_logits(copy.deepcopy(model), batch)
    found = _fast(model, "bfloat16")(model, batch)
    assert found.dtype == torch.float32
    difference = (found - expected).detach()
    # bfloat16 has 8 binary digits, so each of a dozen roundings is off by at most 1 in 256, and by chance they cancel.
    assert 0 < difference.norm() < 0.05 * expected.detach().norm()


def test_frozen_weights_are_kept_in_bfloat16_and_trained_ones_in_float32() -> None:
    model = _lora(_plain(), targets=("query", "word_embeddings"), lora_dropout=0.1)
    _fast(model, "bfloat16")
    for name, parameter in model.named_parameters():
        if parameter.requires_grad or "LayerNorm" in name or ".pooler." in name or "word_embeddings" in name:
            assert parameter.dtype == torch.float32, name
        elif name.endswith("dense.weight") or "base_layer" in name:
            assert parameter.dtype == torch.bfloat16, name
    model = _lora(_plain(), targets=("query",), lora_dropout=0.1)
    _fast(model, "bfloat16")
    assert cast(Any, model).get_input_embeddings().weight.dtype == torch.bfloat16


def test_a_small_update_of_the_word_embeddings_does_not_vanish_in_bfloat16() -> None:
    model = _lora(_plain(), targets=("word_embeddings",), lora_dropout=0.0).eval()
    words, ids = cast(Any, model).get_input_embeddings(), torch.arange(20)
    table = words.base_layer.weight.clone()
    _fast(model, "bfloat16")
    (a,), (b,) = words.lora_embedding_A.values(), words.lora_embedding_B.values()
    with torch.no_grad():
        b *= 1e-4
        update = words.scaling["default"] * (b @ a).T[ids]
        assert torch.linalg.norm(words(ids) - table[ids] - update) < 0.05 * torch.linalg.norm(update)


def test_dropout_makes_the_expected_logits_of_many_draws_those_without() -> None:
    torch.manual_seed(3)
    # One layer and small weights: then the logits are nearly linear in what is dropped.
    model = _plain(num_hidden_layers=1, initializer_range=0.02, hidden_dropout_prob=0.1)
    forward, batch = _fast(model), _batch()
    draws = torch.stack([forward(model.train(), batch) for _ in range(400)]).detach()
    expected = forward(model.eval(), batch).detach()
    standard_error = draws.std(dim=0) / len(draws) ** 0.5
    assert draws.std() > 0
    assert ((draws.mean(dim=0) - expected).abs() < 5 * standard_error + 1e-3).all()


@pytest.mark.parametrize("device", DEVICES)
def test_dropout_follows_the_seed(device: str) -> None:
    model = _lora(_plain(hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3), lora_dropout=0.3).train()
    forward, batch = _fast(model.to(device)), _batch().to(torch.device(device))
    torch.manual_seed(4)
    first, second = forward(model, batch), forward(model, batch)
    torch.manual_seed(4)
    assert torch.equal(forward(model, batch), first)
    assert not torch.equal(first, second)


def test_other_architectures_and_methods_are_left_to_transformers() -> None:
    roberta = RobertaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    assert fast_forward(RobertaForSequenceClassification(roberta), precision="float32") is None
    assert fast_forward(_lora(_plain(), use_dora=True), precision="float32") is None
    assert fast_forward(_lora(_plain(), targets=("word_embeddings",), use_dora=True), precision="float32") is None
    disabled = _lora(_plain())
    with disabled.disable_adapter():  # type: ignore[operator]
        assert fast_forward(disabled, precision="float32") is None


def test_a_model_that_it_can_not_do_keeps_its_weights() -> None:
    model = _lora(_plain(), use_dora=True)
    assert fast_forward(model, precision="bfloat16") is None
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
