"""Where the methods that choose places find them, in each architecture's layers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaConfig,
    DebertaV2Config,
    DistilBertConfig,
    EuroBertConfig,
    ModernBertConfig,
    PretrainedConfig,
    RobertaConfig,
)

from tanzaku.encoders.bottleneck import BottleneckLinear
from tanzaku.encoders.quantized import QuantizedLinear
from tanzaku.encoders.quiet import quiet_transformers
from tanzaku.errors import MethodError
from tanzaku.methods import METHODS, EncoderMethod
from tanzaku.methods.layers import layer_norms, linear_in_layers, linear_layers
from tanzaku.methods.targets import find_targets, place_of
from tanzaku.training.optimizer import hidden_matrices

HIDDEN, INNER, LAYERS, LABELS = 16, 40, 3, 5
HEADS: dict[str, tuple[str, ...]] = {
    "bert": ("classifier",),
    "roberta": ("classifier",),
    "deberta": ("pooler", "classifier"),
    "deberta-v2": ("pooler", "classifier"),
    "eurobert": ("dense", "classifier"),
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
        "deberta": lambda: DebertaConfig(**shape),
        "eurobert": lambda: EuroBertConfig(**shape, num_key_value_heads=2),
        "distilbert": lambda: DistilBertConfig(**small),
        "modernbert": lambda: ModernBertConfig(**shape),
        "albert": lambda: AlbertConfig(**shape, embedding_size=8),
    }
    return kinds[kind]()


def _model(kind: str) -> nn.Module:
    configuration = _configuration(kind)
    configuration.num_labels = LABELS
    torch.manual_seed(1)
    with quiet_transformers():
        model: nn.Module = AutoModelForSequenceClassification.from_config(configuration)
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


@pytest.mark.parametrize(
    ("kind", "norms"), [("bert", 7), ("roberta", 7), ("deberta", 7), ("deberta-v2", 7), ("distilbert", 7)]
)
def test_layer_norm_tuning_trains_weight_and_bias_of_each(kind: str, norms: int) -> None:
    model = _model(kind)
    expected = norms * 2 * HIDDEN + _head_parameters(model, kind)
    method = _method("ln-tuning")
    assert method.trainable_parameters(model, head=HEADS[kind]) == expected
    assert _trainable(method.attach(model, head=HEADS[kind])) == expected


def test_layer_norm_tuning_leaves_out_what_is_no_normalisation() -> None:
    # ModernBERT's first layer has an identity in the place of a normalisation; none of the two has a bias.
    for kind in ("modernbert", "eurobert"):
        model = _model(kind)
        expected = (2 * LAYERS + 1) * HIDDEN + _head_parameters(model, kind)
        method = _method("ln-tuning")
        assert method.trainable_parameters(model, head=HEADS[kind]) == expected
        assert _trainable(method.attach(model, head=HEADS[kind])) == expected


def test_bitfit_trains_every_bias_of_bert() -> None:
    model = _model("bert")
    layer = 3 * HIDDEN + HIDDEN + HIDDEN + INNER + HIDDEN + HIDDEN  # q, k, v, output, norm, inner, output, norm
    pooler = HIDDEN
    expected = HIDDEN + LAYERS * layer + pooler + _head_parameters(model, "bert")
    assert _method("bitfit").trainable_parameters(model, head=HEADS["bert"]) == expected
    assert _trainable(_method("bitfit").attach(model, head=HEADS["bert"])) == expected


@pytest.mark.parametrize("kind", ["bert", "roberta", "deberta-v2", "distilbert", "modernbert"])
@pytest.mark.parametrize(("name", "adapters", "norms"), [("houlsby", 2, True), ("pfeiffer", 1, False)])
def test_adapters_have_the_papers_parameters_in_every_layout(kind: str, name: str, adapters: int, norms: bool) -> None:
    width = 4
    assert METHODS[name].name == name  # what its errors call it
    model, method = _model(kind), _method(name, width=width, norms=norms)
    frozen = sum(p.numel() for module in layer_norms(model, HEADS[kind]).values() for p in module.parameters())
    expected = LAYERS * adapters * (2 * width * HIDDEN + HIDDEN + width)
    expected += norms * frozen + _head_parameters(model, kind)
    assert method.trainable_parameters(model, head=HEADS[kind]) == expected
    assert _trainable(method.attach(model, head=HEADS[kind])) == expected


@pytest.mark.parametrize("kind", ["bert", "roberta", "deberta-v2", "distilbert", "modernbert"])
@pytest.mark.parametrize("name", ["houlsby", "pfeiffer"])
def test_adapters_begin_as_the_identity_in_every_layout_and_then_matter(kind: str, name: str) -> None:
    model = _model(kind).eval()
    ids = torch.randint(1, 30, (3, 7), generator=torch.Generator().manual_seed(2))
    expected = model(input_ids=ids).logits.detach()
    adapted = _method(name, width=4).attach(model, head=HEADS[kind]).eval()
    torch.testing.assert_close(adapted(input_ids=ids).logits, expected, rtol=0, atol=0)
    nn.functional.cross_entropy(adapted(input_ids=ids).logits, torch.tensor([0, 1, 2])).backward()
    ups = [p for key, p in adapted.named_parameters() if ".up." in key]
    assert len(ups) == 2 * LAYERS * len(METHODS[name].parts)  # type: ignore[union-attr]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in ups)


def test_an_adapter_computes_the_equation() -> None:
    torch.manual_seed(4)
    layer = BottleneckLinear(nn.Linear(5, 3), width=2, activation="gelu")
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(7, 5)
    h = x @ layer.base_layer.weight.T + layer.base_layer.bias
    inner = h @ layer.down.weight.T + layer.down.bias
    inner = inner * (1 + torch.erf(inner / 2**0.5)) / 2
    torch.testing.assert_close(layer(x), h + inner @ layer.up.weight.T + layer.up.bias)


def test_an_encoder_without_biases_is_refused_by_bitfit() -> None:
    with pytest.raises(MethodError, match="this encoder has no biases"):
        _method("bitfit").attach(_model("modernbert"), head=HEADS["modernbert"])


@pytest.mark.parametrize(("name", "kind"), [("ia3", "modernbert"), ("ia3", "albert"), ("houlsby", "albert")])
def test_a_layout_that_is_not_known_is_refused(name: str, kind: str) -> None:
    with pytest.raises(MethodError, match=r"this encoder's layers have no .* lora takes any encoder"):
        _method(name).attach(_model(kind), head=HEADS[kind])


def test_the_feed_forward_output_is_not_that_of_attention() -> None:
    found = linear_layers(_model("bert"), ["feed-forward output"])
    assert list(found) == [f"bert.encoder.layer.{number}.output.dense" for number in range(LAYERS)]
    assert {layer.in_features for layer in found.values()} == {INNER}


@pytest.mark.parametrize("kind", list(HEADS))
def test_all_agree_on_what_is_inside_the_layers(kind: str) -> None:
    model = _model(kind)
    inside = linear_in_layers(model)
    assert inside == list(find_targets(model, ("all-linear",), head=HEADS[kind]))
    matrices = [name.removesuffix(".weight") for name in hidden_matrices(model)]
    assert set(inside) == set(matrices)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("bert.encoder.layer.11.output.dense", ("bert.encoder.layer.11", 11, "output.dense")),
        ("layers.0", ("layers.0", 0, "")),
        (
            "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn",
            ("albert.encoder.albert_layer_groups.0.albert_layers.0", 0, "ffn"),
        ),
        ("model.layers.3.mlp.layers.1.up", ("model.layers.3", 3, "mlp.layers.1.up")),
        ("bert.encoder.layer", None),
        ("bert.embeddings.word_embeddings", None),
        ("players.0.x", None),
    ],
)
def test_where_a_module_is(name: str, place: tuple[str, int, str] | None) -> None:
    assert place_of(name) == place


@pytest.mark.parametrize("bits", [4, 8])
def test_qlora_takes_an_albert_in_the_plan_and_in_the_run(bits: int) -> None:
    model, method = _model("albert"), _method("qlora", rank=2, bits=bits, targets="all-linear")
    declared = method.trainable_parameters(model, head=HEADS["albert"])
    adapted = method.attach(model, head=HEADS["albert"])
    assert sum(isinstance(module, QuantizedLinear) for module in adapted.modules()) == 6
    assert _trainable(adapted) == declared
    ids = torch.randint(1, 30, (3, 7), generator=torch.Generator().manual_seed(2))
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    expected = adapted.eval()(input_ids=ids).logits.detach()
    torch.testing.assert_close(method.merge(adapted)(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-5)


def test_qlora_refuses_in_the_plan_what_it_refuses_in_the_run() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.value, self.classifier = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    method = _method("qlora")
    for planned_or_run in (method.trainable_parameters, method.attach):
        with pytest.raises(MethodError, match="this encoder has no transformer layers that are known by name"):
            planned_or_run(Flat(), head=("classifier",))


@pytest.mark.parametrize("name", ["lora", "lora-nested", "qlora", "adalora"])
def test_targets_are_one_or_several_names_or_presets_and_errors_name_the_method(name: str) -> None:
    assert _method(name, targets="all-linear") == _method(name, targets=["all-linear"])
    for targets, kind in (("lost", "bert"), ("qv", "modernbert")):
        method = _method(name, targets=targets)
        for planned_or_run in (method.trainable_parameters, method.attach):
            with pytest.raises(MethodError, match=f"^targets: .*'?{targets}'?"):
                planned_or_run(_model(kind), head=HEADS[kind])


def test_a_missing_pooler_is_an_error_of_the_method_that_asked_for_it() -> None:
    with pytest.raises(MethodError, match=r"^pooler = true"):
        _method("lora-nested", targets="qv", pooler=True).attach(_model("distilbert"), head=HEADS["distilbert"])


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_the_word_embeddings_of_every_family_are_a_group(kind: str) -> None:
    model, method = _model(kind), _method("full")
    groups = {name: method.parameter_group(name, head=HEADS[kind]) for name, _ in model.named_parameters()}
    tables = [name for name, group in groups.items() if group == "embeddings"]
    assert [model.get_parameter(name) for name in tables] == [model.get_input_embeddings().weight]  # type: ignore[operator]
