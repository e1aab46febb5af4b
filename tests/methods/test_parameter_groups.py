"""What has a learning rate of its own."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.optimizers import create_loraplus_optimizer
from torch import nn
from transformers import BertConfig, BertModel, ModernBertConfig, ModernBertModel, XLMConfig, XLMModel

from tanzaku.encoders.load import load_classifier, resolve_encoder
from tanzaku.methods import METHODS, EncoderMethod
from tanzaku.methods.targets import names_word_table
from tanzaku.study.preparation import group_rates
from tanzaku.study.spec import TrainingSpec
from tanzaku.training.optimizer import build_adamw
from tests.tiny import WORDS


def _attached(encoder: Path, name: str, options: dict[str, Any]) -> tuple[EncoderMethod, nn.Module, tuple[str, ...]]:
    # Windows: every method fits such a head.
    loaded = load_classifier(resolve_encoder(str(encoder)), label_names=sorted(WORDS), seed=1, long_text="windows")
    method = METHODS[name].model_validate(options)
    assert isinstance(method, EncoderMethod)
    return method, method.attach(loaded.model, head=loaded.head), loaded.head


def _rates(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(parameter)]: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}


def _adamw(
    method: EncoderMethod, model: nn.Module, head: tuple[str, ...], rates: Mapping[str, float]
) -> torch.optim.AdamW:
    group_of = partial(method.parameter_group, head=head)
    return build_adamw(model, learning_rate=1e-3, weight_decay=0.1, group_of=group_of, group_rates=rates)


def test_lora_plus_gives_a_and_b_the_rates_of_peft(tiny_masked_encoder: Path) -> None:
    method, model, head = _attached(tiny_masked_encoder, "lora", {"rank": 2, "lora_plus_ratio": 16})
    factors = method.rate_factors()
    assert factors == {"lora_b": 16, "embeddings_fast": 16}
    ours = _rates(model, _adamw(method, model, head, {"lora_b": 1e-3 * factors["lora_b"]}))
    theirs = _rates(model, create_loraplus_optimizer(model, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=16))
    assert set(ours) == set(theirs)
    assert {name for name, rate in ours.items() if rate == 16e-3} == {name for name in ours if "lora_B" in name}
    # PEFT gives the rate of B to all vectors, which are the head's biases; all else has the same rate there and here.
    different = {name for name in ours if ours[name] != theirs[name]}
    assert different == {name for name in ours if name.endswith(".bias")}
    assert all(method.parameter_group(name, head=head) == "head" for name in different)


@pytest.mark.parametrize("dora", [False, True])
def test_the_factor_that_starts_at_zero_is_the_fast_one(tiny_masked_encoder: Path, dora: bool) -> None:
    options = {"rank": 2, "targets": ["embeddings", "qv"], "lora_plus_ratio": 16, "dora": dora}
    method, model, head = _attached(tiny_masked_encoder, "lora", options)
    groups: dict[str, list[str]] = {}
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:
            group = method.parameter_group(parameter_name, head=head)
            groups.setdefault(group, []).append(parameter_name)
            if "lora_" in parameter_name and "magnitude" not in parameter_name:
                fast = "embeddings_fast" if "lora_embedding" in parameter_name else "lora_b"
                assert (group == fast) == (not parameter.any()), parameter_name
    assert len(groups["lora_a"]) == len(groups["lora_b"]) > 1
    (from_zero,), (random,) = groups["embeddings_fast"], groups["embeddings"]
    assert ".lora_embedding_A." in from_zero
    assert ".lora_embedding_B." in random
    # With DoRA the lengths, one vector a layer, are neither.
    others = groups.get("other", [])
    assert all("lora_magnitude_vector" in name for name in others)
    assert len(others) == (len(groups["lora_b"]) + 1 if dora else 0)
    settings = TrainingSpec(learning_rate=1e-3, embeddings_learning_rate=5e-3)
    rates = _rates(model, _adamw(method, model, head, group_rates(settings, method)))
    expected = {"lora_a": 1e-3, "lora_b": 16e-3, "embeddings": 5e-3, "embeddings_fast": 80e-3}
    for own, rate in expected.items():
        assert [rates[name] for name in groups[own]] == [pytest.approx(rate)] * len(groups[own]), own


@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if issubclass(kind, EncoderMethod)])
def test_the_head_of_every_method_has_its_own_rate(tiny_masked_encoder: Path, name: str) -> None:
    method, model, head = _attached(tiny_masked_encoder, name, {})
    assert len(head) == 2, "pooler and classifier are meant to be made anew"
    rates = _rates(model, _adamw(method, model, head, {"head": 5e-2}))
    fast = {parameter for parameter, rate in rates.items() if rate == 5e-2}
    assert fast == {parameter for parameter in rates if "pooler" in parameter or "classifier" in parameter}
    assert len(fast) == 4
    assert {rate for parameter, rate in rates.items() if parameter not in fast} <= {1e-3}


def test_without_rates_of_their_own_there_are_two_groups(tiny_masked_encoder: Path) -> None:
    method, model, head = _attached(tiny_masked_encoder, "full", {})
    groups = _adamw(method, model, head, {}).param_groups
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(1e-3, 0.1), (1e-3, 0.0)]
    decayed = {id(parameter) for parameter in groups[0]["params"]}
    for parameter_name, parameter in model.named_parameters():
        exempt = parameter_name.endswith("bias") or "LayerNorm" in parameter_name
        assert (id(parameter) in decayed) != exempt, parameter_name


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (BertConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=2, intermediate_size=8), BertModel),
        (XLMConfig(n_layers=1, emb_dim=8, n_heads=2, vocab_size=50), XLMModel),
        (
            ModernBertConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=2, intermediate_size=8),
            ModernBertModel,
        ),
    ],
    ids=["bert", "xlm", "modernbert"],
)
def test_the_table_of_words_is_found_by_its_name_and_no_other_table(config: Any, kind: Any) -> None:
    with torch.device("meta"):
        model = kind(config)
    table = model.get_input_embeddings().weight
    assert [p is table for name, p in model.named_parameters() if names_word_table(name)] == [True]
