"""LoRA's variants: which layers are meant, at which rank and scale, and that each is what its paper says."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from pydantic import ValidationError
from torch import Tensor, nn
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ModernBertConfig,
    PretrainedConfig,
    RobertaConfig,
)

from tanzaku.encoders.load import bare_classifier
from tanzaku.encoders.quiet import quiet_transformers
from tanzaku.errors import MethodError, SpecError
from tanzaku.methods.lora import Lora
from tanzaku.methods.peft_adapter import quiet_peft
from tanzaku.methods.rank_pattern import ranks_of
from tanzaku.methods.targets import PRESETS, find_targets
from tanzaku.study.expansion import expand
from tanzaku.study.spec import StudySpec
from tests.methods.test_contract import Case, _load, _logits, _train_a_little

ALBERT = "albert.encoder.albert_layer_groups.0.albert_layers.0."

# By architecture: the layer's name, and the linear layers in it that each preset means.
ARCHITECTURES: dict[str, tuple[PretrainedConfig, str, dict[str, list[str]]]] = {
    "bert": (
        BertConfig(num_hidden_layers=2),
        "bert.encoder.layer.1.",
        {
            "qv": ["attention.self.query", "attention.self.value"],
            "attention": [*(f"attention.self.{n}" for n in ("query", "key", "value")), "attention.output.dense"],
            "ffn": ["intermediate.dense", "output.dense"],
        },
    ),
    "roberta": (
        RobertaConfig(num_hidden_layers=2),
        "roberta.encoder.layer.1.",
        {
            "qv": ["attention.self.query", "attention.self.value"],
            "attention": [*(f"attention.self.{n}" for n in ("query", "key", "value")), "attention.output.dense"],
            "ffn": ["intermediate.dense", "output.dense"],
        },
    ),
    "deberta-v2": (
        DebertaV2Config(num_hidden_layers=2, relative_attention=True, pos_att_type=["c2p", "p2c"]),
        "deberta.encoder.layer.1.",
        {
            "qv": ["attention.self.query_proj", "attention.self.value_proj"],
            "attention": [*(f"attention.self.{n}_proj" for n in ("query", "key", "value")), "attention.output.dense"],
            "ffn": ["intermediate.dense", "output.dense"],
        },
    ),
    "distilbert": (
        DistilBertConfig(n_layers=2),
        "distilbert.transformer.layer.1.",
        {
            "qv": ["attention.q_lin", "attention.v_lin"],
            "attention": [f"attention.{name}_lin" for name in ("q", "k", "v", "out")],
            "ffn": ["ffn.lin1", "ffn.lin2"],
        },
    ),
    "modernbert": (
        ModernBertConfig(num_hidden_layers=2),
        "model.layers.1.",
        {"attention": ["attn.Wqkv", "attn.Wo"], "ffn": ["mlp.Wi", "mlp.Wo"]},
    ),
    "albert": (
        AlbertConfig(num_hidden_layers=2),
        ALBERT,
        {
            "qv": ["attention.query", "attention.value"],
            "attention": [f"attention.{name}" for name in ("query", "key", "value", "dense")],
            "ffn": ["ffn", "ffn_output"],
        },
    ),
}


def _targets(
    model: nn.Module, *targets: str, pooler: bool = False, head: tuple[str, ...] = ("classifier",)
) -> set[str]:
    return set(find_targets(model, targets, pooler=pooler, head=head))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_preset_means_the_same_layers_in_every_architecture(architecture: str) -> None:
    config, layer, presets = ARCHITECTURES[architecture]
    model = bare_classifier(config, labels=3)
    for preset, expected in presets.items():
        found = _targets(model, preset)
        assert {name for name in found if name.startswith(layer)} == {layer + name for name in expected}, preset
        # The same in the other layer, and nothing outside of them.
        assert len(found) == len(expected) * (1 if architecture == "albert" else 2)
    inside = {name for name, module in model.named_modules() if isinstance(module, nn.Linear) and ".layer" in name}
    assert _targets(model, "all-linear") == inside or architecture == "albert"
    assert _targets(model, "all-linear") >= _targets(model, "attention", "ffn")
    (table,) = _targets(model, "embeddings")
    assert model.get_submodule(table) is model.get_input_embeddings()


def test_one_matrix_for_query_key_and_value_has_no_qv() -> None:
    model = bare_classifier(ModernBertConfig(num_hidden_layers=1), labels=3)
    with pytest.raises(MethodError, match=r"'qv'.*one matrix.*'attention'.*Wqkv"):
        _targets(model, "qv")


def test_names_and_presets_mix_and_the_pooler_is_said() -> None:
    model = bare_classifier(BertConfig(num_hidden_layers=1), labels=3)
    layer = "bert.encoder.layer.0."
    assert _targets(model, "qv", "intermediate.dense") == {
        f"{layer}attention.self.query",
        f"{layer}attention.self.value",
        f"{layer}intermediate.dense",
    }
    assert _targets(model, "ffn", pooler=True) - _targets(model, "ffn") == {"bert.pooler.dense"}
    with pytest.raises(MethodError, match="pooler = true, but outside the head"):
        _targets(model, "ffn", pooler=True, head=("bert.pooler", "classifier"))
    with pytest.raises(MethodError, match=r"'q_proj'.*dense, key, query, value.*qv, attention, ffn"):
        _targets(model, "q_proj")
    assert "bert.pooler.dense" not in _targets(model, "dense", head=("bert.pooler", "classifier"))


def test_a_rank_is_that_of_the_key_that_says_most() -> None:
    names = [f"bert.encoder.layer.{layer}.attention.self.{name}" for layer in range(4) for name in ("query", "value")]
    pattern = {"layer.3.attention.self.value": 9, "value": 5, "0-2": 3, "1": 4, "1-2": 6}
    found = ranks_of([*names, "bert.embeddings.word_embeddings"], pattern=pattern, rank=8)
    assert list(found.values()) == [3, 5, 4, 5, 6, 5, 8, 9, 8]
    # The order of the table says nothing: equal identities mean equal runs.
    assert ranks_of(names, pattern=dict(reversed(pattern.items())), rank=8) == {n: found[n] for n in names}
    for key in ("4", "lue", "3-9x"):
        with pytest.raises(MethodError, match=f"'{key}' means none of the targeted layers"):
            ranks_of(names, pattern={key: 2}, rank=8)


def test_the_scale_of_every_rank_is_shown() -> None:
    assert Lora(rank=16, rslora=True, alpha=8).details() == {"scale": 2.0}
    assert Lora(rank=16, rslora=True).details() == {"scale": 4.0}
    pattern = {"0-1": 2, "value": 16}
    assert Lora(rank=8, alpha=8, rank_pattern=pattern).details() == {
        "scale": 1.0,
        "scale of 0-1": 4.0,
        "scale of value": 0.5,
    }
    assert set(Lora(rank=8, rank_pattern=pattern).details().values()) == {1.0}


@pytest.mark.parametrize("options", [{}, {"alpha": 6}, {"alpha": 6, "rslora": True}])
def test_ranks_and_scales_are_those_of_the_layers(tiny_encoder: Path, options: dict[str, Any]) -> None:
    loaded = _load(Case(tiny_encoder))
    method = Lora(rank=4, targets=("qv",), rank_pattern={"1": 9}, **options)
    model = method.attach(loaded.model, head=loaded.head)
    for number, rank in enumerate((4, 9)):
        layer: Any = model.get_submodule(f"base_model.model.bert.encoder.layer.{number}.attention.self.value")
        assert layer.lora_A["default"].weight.shape == (rank, 32)
        assert layer.scaling["default"] == pytest.approx(method.scale(rank))


def test_options_that_do_not_fit_are_errors() -> None:
    for options, message in (
        ({"targets": ["qv", "embeddings"], "initialization": "pissa"}, "leave 'embeddings' out"),
        ({"rank": 4, "truncate": [2, 5]}, "5 is more than the largest rank, 4"),
        ({"rank": 4, "truncate": [2, 1, 2]}, r"each rank counts once: write \[1, 2\]"),
        ({"rank": 4, "initialization": "pissa", "truncate": [2]}, "tanzaku compress"),
        ({"rank_pattern": {"0": 0}}, "greater than or equal to 1"),
    ):
        with pytest.raises(ValidationError, match=message):
            Lora.model_validate(options)
    assert Lora(rank=4, rank_pattern={"0": 8}, truncate=(8,)).measured_ranks == (8,)


def test_pissa_of_too_high_a_rank_is_an_error(tiny_encoder: Path) -> None:
    loaded = _load(Case(tiny_encoder))
    method = Lora(rank=33, initialization="pissa")
    for check in (method.trainable_parameters, method.attach):
        with pytest.raises(MethodError, match=r"takes rank 33 of .* which has 32 singular values"):
            check(loaded.model, head=loaded.head)


def _trained(encoder: Path, method: Lora, name: str) -> tuple[nn.Module, Any, Tensor]:
    """The trained model, its layer `name`, and what its weight was before."""
    loaded = _load(Case(encoder))
    before = loaded.model.get_submodule(name).weight.detach().clone()
    model = method.attach(loaded.model, head=loaded.head)
    _train_a_little(model)
    return model, model.get_submodule(f"base_model.model.{name}"), before


QUERY = "bert.encoder.layer.0.attention.self.query"


def test_pissa_begins_with_the_largest_singular_values_and_learns_from_there(tiny_encoder: Path) -> None:
    loaded = _load(Case(tiny_encoder))
    weight = loaded.model.get_submodule(QUERY).weight.detach().double()
    values = torch.linalg.svdvals(weight)
    method = Lora(rank=3, alpha=6, initialization="pissa")
    layer: Any = method.attach(loaded.model, head=loaded.head).get_submodule(f"base_model.model.{QUERY}")
    first = layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    torch.testing.assert_close(torch.linalg.svdvals(first.double())[:3], values[:3], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.linalg.svdvals(layer.base_layer.weight.double())[0], values[3], rtol=1e-5, atol=0)
    torch.testing.assert_close((first + layer.base_layer.weight).double(), weight, rtol=0, atol=1e-6)


def test_dora_scales_each_output_to_its_trained_length(tiny_encoder: Path) -> None:
    """Equation 5 of the paper: W' = m · (W + B·A) / ‖W + B·A‖, row by row."""
    method = Lora(rank=2, dora=True)
    model, layer, before = _trained(tiny_encoder, method, QUERY)
    moved = before + layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    lengths = layer.lora_magnitude_vector["default"].weight.detach()
    merged = method.merge(model).get_submodule(QUERY).weight
    expected = lengths[:, None] * moved / moved.norm(dim=1, keepdim=True)
    torch.testing.assert_close(merged, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(merged.norm(dim=1), lengths, rtol=1e-5, atol=0)  # type: ignore[operator]


@pytest.mark.parametrize(
    "options",
    [
        {"targets": "all-linear", "pooler": True, "rank_pattern": {"1": 5}, "alpha": 3},
        {"targets": ["qv", "embeddings"], "rslora": True, "alpha": 4},
        {"targets": "attention", "dora": True},
        {"targets": "ffn", "initialization": "pissa", "rslora": True, "rank_pattern": {"0": 2}},
        {"targets": "qv", "initialization": "pissa", "dora": True},
    ],
    ids=lambda options: "-".join(map(str, options)),
)
def test_every_variant_opens_in_plain_peft(tiny_encoder: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    loaded = _load(Case(tiny_encoder))
    method = Lora.model_validate({"rank": 3, **options})
    model = method.attach(loaded.model, head=loaded.head)
    _train_a_little(model)
    expected = _logits(model)
    method.save(model, tmp_path)
    with quiet_transformers():
        base = AutoModelForSequenceClassification.from_pretrained(tiny_encoder, num_labels=3)
    with quiet_peft():
        opened = PeftModel.from_pretrained(base, tmp_path)
    # PiSSA's W was taken apart and is whole again here: the two sums are rounded.
    tolerance = 1e-5 if "initialization" in options else 1e-6
    torch.testing.assert_close(_logits(opened), expected, rtol=0, atol=tolerance)


def test_equal_runs_write_equal_bytes(tiny_encoder: Path, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        loaded = _load(Case(tiny_encoder))
        torch.manual_seed(0)
        method = Lora(rank=2, targets=("all-linear",), initialization="pissa", rank_pattern={"1": 3})
        method.save(method.attach(loaded.model, head=loaded.head), tmp_path / folder)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    config = json.loads((tmp_path / "one" / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["r"], config["lora_alpha"], config["init_lora_weights"]) == (6, 6, True)


def test_the_presets_are_those_that_the_documentation_names() -> None:
    assert set(PRESETS) == {"qv", "attention", "ffn", "all-linear", "embeddings"}


def test_an_option_off_its_default_is_written_and_read_again() -> None:
    spec = {"rank": 4, "rank_pattern": {"0": 2}, "truncate": [1]}
    method = Lora.model_validate(spec)
    written = method.model_dump(mode="json")
    assert written == Lora().model_dump(mode="json") | spec
    assert Lora.model_validate(written) == method


def test_a_study_has_presets_and_patterns_as_axes() -> None:
    arm = {
        "method": "lora",
        "learning_rate": 1e-3,
        "targets": [["qv", "intermediate.dense"], ["all-linear"]],
        "rank_pattern": [{"0-1": 2}, {}],
    }
    study = {"name": "s", "data": {"source": "sample"}, "encoder": {"name": "e"}, "arms": [arm]}
    runs = [run.method for run in expand(StudySpec.model_validate(study))]
    assert [(run.targets, run.rank_pattern) for run in runs if isinstance(run, Lora)] == [
        (("qv", "intermediate.dense"), {"0-1": 2}),
        (("qv", "intermediate.dense"), {}),
        (("all-linear",), {"0-1": 2}),
        (("all-linear",), {}),
    ]
    arm["targets"], arm["rank_pattern"] = "ffn", {"0": 0}
    with pytest.raises(SpecError, match=r"rank_pattern\.0 = 0: .*greater than or equal to 1"):
        expand(StudySpec.model_validate(study))


TINY: dict[str, PretrainedConfig] = {
    "roberta": RobertaConfig(hidden_size=16, num_attention_heads=2, intermediate_size=32, num_hidden_layers=2),
    "deberta-v2": DebertaV2Config(hidden_size=16, num_attention_heads=2, intermediate_size=32, num_hidden_layers=2),
    "distilbert": DistilBertConfig(dim=16, n_heads=2, hidden_dim=32, n_layers=2),
    "modernbert": ModernBertConfig(
        hidden_size=16, num_attention_heads=2, intermediate_size=32, num_hidden_layers=2, reference_compile=False
    ),
    "albert": AlbertConfig(
        hidden_size=16, num_attention_heads=2, intermediate_size=32, num_hidden_layers=2, embedding_size=8
    ),
}


@pytest.mark.parametrize("architecture", TINY)
def test_every_target_learns_and_merges_in_every_architecture(architecture: str) -> None:
    config = copy.deepcopy(TINY[architecture])
    config.vocab_size, config.pad_token_id, config.num_labels = 30, 0, 3
    torch.manual_seed(0)
    with quiet_transformers():
        bare = AutoModelForSequenceClassification.from_config(config)
    expected = _logits(bare)
    head = ("pre_classifier", "classifier") if architecture == "distilbert" else ("classifier",)
    method = Lora(rank=2, targets=("all-linear", "embeddings"))
    count = method.trainable_parameters(bare, head=head)
    model = method.attach(bare, head=head)
    torch.testing.assert_close(_logits(model), expected, rtol=0, atol=0)
    assert count == sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    before = {key: p.detach().clone() for key, p in model.named_parameters() if p.requires_grad}
    _train_a_little(model)
    assert not [key for key, p in model.named_parameters() if p.requires_grad and torch.equal(p, before[key])]
    trained = _logits(model)
    torch.testing.assert_close(_logits(method.merge(model)), trained, rtol=1e-4, atol=1e-5)
