"""Where the methods that choose places find them, in each architecture's layers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AlbertConfig,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ModernBertConfig,
    PretrainedConfig,
    RobertaConfig,
)

from tanzaku.encoders.load import bare_classifier
from tanzaku.errors import MethodError
from tanzaku.methods import METHODS, EncoderMethod
from tanzaku.methods.layers import linear_layers

HIDDEN, INNER, LAYERS, LABELS = 16, 40, 3, 5
HEADS: dict[str, tuple[str, ...]] = {
    "bert": ("classifier",),
    "roberta": ("classifier",),
    "deberta-v2": ("pooler", "classifier"),
    "distilbert": ("pre_classifier", "classifier"),
    "modernbert": ("head", "classifier"),
    "albert": ("classifier",),
}


def _configuration(kind: str) -> PretrainedConfig:
    shape: dict[str, Any] = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
    shape |= {"vocab_size": 30, "intermediate_size": INNER, "pad_token_id": 0}
    small = {"dim": HIDDEN, "hidden_dim": INNER, "n_layers": LAYERS, "n_heads": 2, "vocab_size": 30}
    kinds: dict[str, Callable[[], PretrainedConfig]] = {
        "bert": lambda: BertConfig(**shape),
        "roberta": lambda: RobertaConfig(**shape),
        "deberta-v2": lambda: DebertaV2Config(**shape, pos_att_type=["c2p"], relative_attention=True),
        "distilbert": lambda: DistilBertConfig(**small),
        "modernbert": lambda: ModernBertConfig(**shape),
        "albert": lambda: AlbertConfig(**shape, embedding_size=8),
    }
    return kinds[kind]()


def _model(kind: str) -> nn.Module:
    torch.manual_seed(1)
    model = bare_classifier(_configuration(kind), labels=LABELS).to_empty(device="cpu")
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model


def _method(name: str, **options: Any) -> EncoderMethod:
    method = METHODS[name].model_validate(options)
    assert isinstance(method, EncoderMethod)
    return method


def _trainable(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _head_parameters(model: nn.Module, kind: str) -> int:
    return sum(p.numel() for name in HEADS[kind] for p in model.get_submodule(name).parameters())


@pytest.mark.parametrize("kind", ["bert", "roberta", "deberta-v2", "distilbert"])
def test_ia3_has_the_papers_vectors(kind: str) -> None:
    model = _model(kind)
    head = _head_parameters(model, kind)
    method = _method("ia3")
    expected = LAYERS * (2 * HIDDEN + INNER) + head
    assert method.trainable_parameters(model, head=HEADS[kind]) == expected
    assert _trainable(method.attach(model, head=HEADS[kind])) == expected


@pytest.mark.parametrize(("kind", "norms"), [("bert", 7), ("roberta", 7), ("deberta-v2", 7), ("distilbert", 7)])
def test_layer_norm_tuning_trains_weight_and_bias_of_each(kind: str, norms: int) -> None:
    model = _model(kind)
    expected = norms * 2 * HIDDEN + _head_parameters(model, kind)
    method = _method("ln-tuning")
    assert method.trainable_parameters(model, head=HEADS[kind]) == expected
    assert _trainable(method.attach(model, head=HEADS[kind])) == expected


def test_layer_norm_tuning_leaves_out_what_is_no_normalisation() -> None:
    # ModernBERT's first layer has an identity in the place of a normalisation; none has a bias.
    model = _model("modernbert")
    expected = (2 * LAYERS + 1) * HIDDEN + _head_parameters(model, "modernbert")
    method = _method("ln-tuning")
    assert method.trainable_parameters(model, head=HEADS["modernbert"]) == expected
    assert _trainable(method.attach(model, head=HEADS["modernbert"])) == expected


def test_bitfit_trains_every_bias_of_bert() -> None:
    model = _model("bert")
    layer = 3 * HIDDEN + HIDDEN + HIDDEN + INNER + HIDDEN + HIDDEN  # q, k, v, output, norm, inner, output, norm
    pooler = HIDDEN
    expected = HIDDEN + LAYERS * layer + pooler + _head_parameters(model, "bert")
    assert _method("bitfit").trainable_parameters(model, head=HEADS["bert"]) == expected
    assert _trainable(_method("bitfit").attach(model, head=HEADS["bert"])) == expected


def test_an_encoder_without_biases_is_refused_by_bitfit() -> None:
    with pytest.raises(MethodError, match="bitfit: this encoder has no biases"):
        _method("bitfit").attach(_model("modernbert"), head=HEADS["modernbert"])


@pytest.mark.parametrize(("name", "kind"), [("ia3", "modernbert"), ("ia3", "albert")])
def test_a_layout_that_is_not_known_is_refused(name: str, kind: str) -> None:
    with pytest.raises(MethodError, match=rf"{name}: this encoder's layers have no .* lora takes any encoder"):
        _method(name).attach(_model(kind), head=HEADS[kind])


def test_the_feed_forward_output_is_not_that_of_attention() -> None:
    found = linear_layers(_model("bert"), ["feed-forward output"], method="test")
    assert list(found) == [f"bert.encoder.layer.{number}.output.dense" for number in range(LAYERS)]
    assert {layer.in_features for layer in found.values()} == {INNER}
