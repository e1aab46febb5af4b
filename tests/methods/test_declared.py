"""In architectures with parts that a classifier does not use, only what a text uses is declared as trained."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForSequenceClassification, BigBirdConfig, LukeConfig, PretrainedConfig

from tanzaku.encoders.load import SequenceClassifier, load_classifier, resolve_encoder
from tanzaku.encoders.quiet import quiet_transformers
from tanzaku.encoders.reading import LongText
from tanzaku.errors import MethodError
from tanzaku.methods import METHODS, EncoderMethod
from tests.checkpoints import SMALL_SIZES, make_mecab_bert

_SIZES = SMALL_SIZES | {"max_position_embeddings": 32}
_LUKE = LukeConfig(**_SIZES, entity_vocab_size=12, entity_emb_size=8)
_BIG_BIRD = BigBirdConfig(**_SIZES, attention_type="original_full")
_METHODS: list[tuple[str, dict[str, Any]]] = [
    ("full", {}),
    ("bitfit", {}),
    ("ln-tuning", {}),
    ("ia3", {}),
    ("lora", {"targets": "all-linear"}),
    ("houlsby", {"norms": True}),
    ("pfeiffer", {"norms": True}),
]


def _loaded(folder: Path, config: PretrainedConfig, *, long_text: LongText = "head") -> SequenceClassifier:
    make_mecab_bert(folder)
    torch.manual_seed(0)
    with quiet_transformers():
        AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return load_classifier(resolve_encoder(str(folder)), label_names=("a", "b", "c"), seed=1, long_text=long_text)


def _method(name: str, **options: Any) -> EncoderMethod:
    method = METHODS[name].model_validate(options)
    assert isinstance(method, EncoderMethod)
    return method


def _trained_for_nothing(model: nn.Module) -> set[str]:
    """The parameters that are declared as trained and get no gradient."""
    ids = torch.randint(1, 50, (3, 7), generator=torch.Generator().manual_seed(0))
    nn.functional.cross_entropy(model(input_ids=ids).logits, torch.tensor([0, 1, 2])).backward()
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None}


@pytest.mark.parametrize(("name", "options"), _METHODS)
@pytest.mark.parametrize("config", [_LUKE, _BIG_BIRD], ids=lambda config: config.model_type)
def test_everything_declared_gets_a_gradient(
    config: PretrainedConfig, name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    loaded, method = _loaded(tmp_path / "encoder", config), _method(name, **options)
    declared = method.trainable_parameters(loaded.model, head=loaded.head)
    model = method.attach(loaded.model, head=loaded.head)
    assert _trained_for_nothing(model) == set()
    assert declared == sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def test_full_saves_the_weights_for_entities_too(tmp_path: Path) -> None:
    loaded, method = _loaded(tmp_path / "encoder", _LUKE), _method("full")
    expected = set(loaded.model.state_dict())
    method.save(method.attach(loaded.model, head=loaded.head), tmp_path / "saved")
    assert set(load_file(tmp_path / "saved" / "model.safetensors")) == expected


def test_layers_for_entities_are_no_targets(tmp_path: Path) -> None:
    loaded = _loaded(tmp_path / "encoder", _LUKE)
    with pytest.raises(MethodError, match=r"no linear layer is called 'w2e_query'; this encoder has [^_]*,"):
        _method("lora", targets="w2e_query").attach(loaded.model, head=loaded.head)


def test_a_pooler_that_the_classifier_does_not_read_is_not_in_the_model(tmp_path: Path) -> None:
    loaded = _loaded(tmp_path / "encoder", _BIG_BIRD)
    method = _method("lora", targets="qv", pooler=True)
    for planned_or_run in (method.trainable_parameters, method.attach):
        with pytest.raises(MethodError, match=r"pooler = true, but .* this encoder has no pooler; leave it out"):
            planned_or_run(loaded.model, head=loaded.head)
    _method("full").save(loaded.model, tmp_path / "saved")
    assert not [name for name in load_file(tmp_path / "saved" / "model.safetensors") if "pooler" in name]
    config = json.loads((tmp_path / "saved" / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["BigBirdForSequenceClassification"]


def test_weights_that_were_saved_with_the_unread_pooler_still_load(tmp_path: Path) -> None:
    loaded = _loaded(tmp_path / "encoder", _BIG_BIRD)
    ids = torch.tensor([[5, 6, 7, 8]])
    with quiet_transformers():
        earlier = AutoModelForSequenceClassification.from_config(loaded.model.config).eval()
    earlier.save_pretrained(tmp_path / "saved")
    assert "bert.pooler.weight" in load_file(tmp_path / "saved" / "model.safetensors")
    model = _method("full").load(loaded.model, tmp_path / "saved", head=loaded.head)
    torch.testing.assert_close(model.eval()(input_ids=ids).logits, earlier(input_ids=ids).logits)


def test_a_pooler_that_windows_read_is_trained(tmp_path: Path) -> None:
    loaded = _loaded(tmp_path / "encoder", _BIG_BIRD, long_text="windows")
    model = _method("lora", targets="qv", pooler=True).attach(loaded.model, head=loaded.head)
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad and "pooler" in name]
    assert _trained_for_nothing(model) == set()
