"""Dropout that holds while a model is made, and a configuration that is afterwards as it was."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ModernBertConfig,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
)

from tanzaku.encoders.config import dropout_set

HIDDEN, ATTENTION = 0.3, 0.2
_SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 20,
}
_SPECIAL = {f"{name}_token_id": 0 for name in ("pad", "bos", "eos", "cls", "sep")}
CONFIGS: dict[str, Any] = {
    "bert": lambda: BertConfig(**_SIZES),
    "bert, the classifier's own": lambda: BertConfig(**_SIZES, classifier_dropout=0.25),
    "roberta": lambda: RobertaConfig(**_SIZES),
    "deberta, the classifier's own": lambda: DebertaV2Config(**_SIZES, cls_dropout=0.25),
    "distilbert": lambda: DistilBertConfig(vocab_size=50, dim=32, n_layers=2, n_heads=2, hidden_dim=64),
    "modernbert": lambda: ModernBertConfig(**_SIZES, **_SPECIAL),
}


def _made(config: PretrainedConfig, *, hidden: float | None, attention: float | None) -> PreTrainedModel:
    with dropout_set(config, hidden=hidden, attention=attention):
        return AutoModelForSequenceClassification.from_config(config)


def _probabilities(model: nn.Module) -> tuple[set[float], set[float]]:
    """Of hidden states and of attention; ModernBERT keeps the latter in a number, and in a module on its output."""
    hidden: set[float] = set()
    attention: set[float] = set()
    for name, module in model.named_modules():
        if hasattr(module, "attention_dropout"):
            attention.add(float(module.attention_dropout))
        if isinstance(module, nn.Dropout):
            of_attention = name.endswith((".self.dropout", "attention.dropout", "attn.out_drop"))
            (attention if of_attention else hidden).add(module.p)
    return hidden, attention


@pytest.mark.parametrize("name", CONFIGS)
def test_all_modules_have_the_probabilities_and_the_configuration_its_own(name: str) -> None:
    config = CONFIGS[name]()
    before = config.to_dict()
    model = _made(config, hidden=HIDDEN, attention=ATTENTION)
    assert _probabilities(model) == ({HIDDEN}, {ATTENTION})
    assert config.to_dict() == before
    assert model.config.to_dict() == before | {"architectures": model.config.architectures}


@pytest.mark.parametrize("name", CONFIGS)
def test_without_probabilities_a_model_is_made_as_ever(name: str) -> None:
    config = CONFIGS[name]()
    plain = AutoModelForSequenceClassification.from_config(CONFIGS[name]())
    assert _probabilities(_made(config, hidden=None, attention=None)) == _probabilities(plain)
    one = _probabilities(_made(config, hidden=HIDDEN, attention=None))
    assert one == ({HIDDEN}, _probabilities(plain)[1])


@pytest.mark.parametrize("name", CONFIGS)
def test_zero_switches_all_dropout_off(name: str) -> None:
    torch.manual_seed(0)
    model = _made(CONFIGS[name](), hidden=0.0, attention=0.0).train()
    ids = torch.randint(5, 50, (2, 10))
    assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)


def test_the_configuration_is_restored_where_making_the_model_fails() -> None:
    config = BertConfig(**_SIZES, hidden_act="no such activation")
    before = config.to_dict()
    with pytest.raises(KeyError), dropout_set(config, hidden=HIDDEN, attention=ATTENTION):
        AutoModelForSequenceClassification.from_config(config)
    assert config.to_dict() == before
