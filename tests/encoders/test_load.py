import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    EuroBertConfig,
    MPNetConfig,
    RobertaConfig,
    T5Config,
)

from tanzaku.encoders.cache import tokenizer_fingerprint
from tanzaku.encoders.files import CONFIG_FILE
from tanzaku.encoders.inspection import check_encoder
from tanzaku.encoders.load import (
    bare_classifier,
    build_classifier,
    check_max_tokens,
    load_classifier,
    load_config,
    load_encoder,
    load_tokenizer,
    max_positions,
    resolve_encoder,
)
from tanzaku.encoders.source import EncoderSource
from tanzaku.errors import EncoderError
from tests.checkpoints import KINDS, make_mecab_bert, random_weights, write_json, write_weights
from tests.tiny import make_encoder

LABELS = ("映画", "家電", "音楽")
TEXT = "新しい映画を友だちと見る。"

# Prints what a process sees of each checkpoint that knows nothing of this one: the SHA-256 of its logits for TEXT,
# and both fingerprints.
_FRESH_PROCESS = """
import hashlib, sys
import torch
from tanzaku.encoders.cache import tokenizer_fingerprint
from tanzaku.encoders.load import load_classifier, load_tokenizer, resolve_encoder
for folder in sys.argv[3:]:
    source = resolve_encoder(folder)
    tokenizer = load_tokenizer(source)
    model = load_classifier(source, label_names=("映画", "家電", "音楽"), seed=int(sys.argv[1])).model
    with torch.no_grad():
        logits = model(**tokenizer(sys.argv[2], return_tensors="pt")).logits.numpy()
    print(hashlib.sha256(logits.tobytes()).hexdigest(), source.fingerprint, tokenizer_fingerprint(tokenizer))
"""


def _logits(folder: Path, *, seed: int = 5) -> np.ndarray:
    source = resolve_encoder(str(folder))
    model = load_classifier(source, label_names=LABELS, seed=seed).model
    with torch.no_grad():
        logits: np.ndarray = model(**load_tokenizer(source)(TEXT, return_tensors="pt")).logits.numpy()
    return logits


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_checkpoint_loads_with_its_head(kind: str, checkpoint: Callable[[str], Path]) -> None:
    source = resolve_encoder(str(checkpoint(kind)))
    loaded = load_classifier(source, label_names=LABELS, seed=1)
    assert loaded.head == KINDS[kind][1]
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    assert {parameter.device.type for parameter in loaded.model.parameters()} == {"cpu"}
    assert loaded.model.config.id2label == dict(enumerate(LABELS))
    assert loaded.model.config.label2id == {"映画": 0, "家電": 1, "音楽": 2}
    assert loaded.model.name_or_path == str(checkpoint(kind))
    check_max_tokens(load_config(source), 64)
    with pytest.raises(EncoderError, match="64 positions; set max_tokens to 64 or less"):
        check_max_tokens(load_config(source), 65)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_the_head_is_the_checkpoints(kind: str, checkpoint: Callable[[str], Path]) -> None:
    from transformers import AutoConfig

    expected = random_weights(AutoConfig.from_pretrained(checkpoint(kind)))
    loaded = load_classifier(resolve_encoder(str(checkpoint(kind))), label_names=LABELS, seed=1)
    own = {name for name in loaded.model.state_dict() if not name.startswith(tuple(f"{part}." for part in loaded.head))}
    assert own <= set(expected)
    assert all(torch.equal(loaded.model.state_dict()[name], expected[name]) for name in own)


def test_a_fresh_process_computes_the_same_logits_and_fingerprints(checkpoint: Callable[[str], Path]) -> None:
    folders = [str(checkpoint(kind)) for kind in KINDS]
    command = [sys.executable, "-W", "error", "-c", _FRESH_PROCESS, "5", TEXT, *folders]
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    result = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    sources = [resolve_encoder(folder) for folder in folders]
    here = [
        f"{hashlib.sha256(_logits(source.folder).tobytes()).hexdigest()} {source.fingerprint} "
        f"{tokenizer_fingerprint(load_tokenizer(source))}"
        for source in sources
    ]
    assert result.stdout.splitlines() == here


def test_the_seed_decides_the_head_and_nothing_else_changes(checkpoint: Callable[[str], Path]) -> None:
    source = resolve_encoder(str(checkpoint("bert-ipadic")))
    torch.manual_seed(11)
    np.random.seed(11)
    random.seed(11)
    states = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())  # type: ignore[index]
    first = load_classifier(source, label_names=LABELS, seed=1).model.state_dict()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]  # type: ignore[index]
    torch.rand(5)
    again = load_classifier(source, label_names=LABELS, seed=1).model.state_dict()
    other = load_classifier(source, label_names=LABELS, seed=2).model.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    changed = {name for name in first if not torch.equal(first[name], other[name])}
    assert changed == {"bert.pooler.dense.weight", "classifier.weight"}


def test_the_new_head_is_drawn_as_the_architecture_says(checkpoint: Callable[[str], Path]) -> None:
    model = load_classifier(resolve_encoder(str(checkpoint("bert-ipadic"))), label_names=LABELS, seed=1).model
    assert model.bert.pooler.dense.weight.std().item() == pytest.approx(
        0.2, rel=0.1
    )  # the configuration's initializer_range
    assert not model.classifier.bias.any()


@pytest.mark.parametrize("layout", ["safetensors", "safetensors-sharded", "bin", "bin-sharded"])
def test_every_layout_of_the_weights_gives_the_same_model(layout: str, tmp_path: Path) -> None:
    plain = make_mecab_bert(tmp_path / "plain")
    other = make_mecab_bert(tmp_path / "other", layout=layout, legacy_names=True)
    assert np.array_equal(_logits(plain), _logits(other))


def test_weights_without_the_prefix_of_a_head_model_load(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert")
    expected = _logits(folder)
    weights = random_weights(load_config(resolve_encoder(str(folder))))
    bare = {name.removeprefix("bert."): tensor for name, tensor in weights.items() if name.startswith("bert.")}
    write_weights(folder, bare)
    assert np.array_equal(_logits(folder), expected)


def test_half_precision_weights_are_widened(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert", config_settings={"dtype": "float16"})
    weights = random_weights(load_config(resolve_encoder(str(folder))))
    write_weights(folder, {name: tensor.half() for name, tensor in weights.items()})
    model = load_classifier(resolve_encoder(str(folder)), label_names=LABELS, seed=1).model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.dtype == torch.float32


def test_a_head_for_other_labels_is_not_kept(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert", config_settings={"architectures": ["BertForSequenceClassification"]})
    config = load_config(resolve_encoder(str(folder)))
    for labels in (3, 5):
        config.num_labels = labels
        BertForSequenceClassification(config).save_pretrained(folder)
        loaded = load_classifier(resolve_encoder(str(folder)), label_names=LABELS, seed=1)
        assert loaded.head == ("classifier",)  # the pooler was trained with that head, and stays
        assert loaded.model.classifier.weight.shape == (3, 32)


def test_the_configuration_that_is_saved_has_the_checkpoints_dropout(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert", config_settings={"hidden_dropout_prob": 0.2})
    source = resolve_encoder(str(folder))
    model = load_classifier(source, label_names=LABELS, seed=1, hidden_dropout=0.0, attention_dropout=0.0).model
    assert {part.p for part in model.modules() if isinstance(part, torch.nn.Dropout)} == {0.0}
    assert model.config.hidden_dropout_prob == 0.2
    assert model.config.attention_probs_dropout_prob == load_config(source).attention_probs_dropout_prob > 0


@pytest.mark.parametrize("kind", ["clip", "marian"])
def test_an_encoder_of_another_kind_fails_the_checks_and_does_not_end_them(tmp_path: Path, kind: str) -> None:
    folder = make_mecab_bert(tmp_path / "bert")
    write_json(folder / "config.json", {"model_type": kind})
    (failed,) = (check for check in check_encoder(str(folder)) if check.status != "ok")
    assert (failed.name, failed.status) == ("configuration", "fail")
    assert kind in failed.detail


def test_a_checkpoint_with_a_hole_is_refused(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert")
    weights = random_weights(load_config(resolve_encoder(str(folder))))
    write_weights(folder, {name: tensor for name, tensor in weights.items() if ".layer.1." not in name})
    with pytest.raises(EncoderError, match=r"lack 16 of the encoder's own tensors, such as bert.encoder.layer.1"):
        load_classifier(resolve_encoder(str(folder)), label_names=LABELS, seed=1)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert", config_settings={"hidden_size": 64})
    with pytest.raises(EncoderError, match=r"the weights do not match config.json"):
        load_classifier(resolve_encoder(str(folder)), label_names=LABELS, seed=1)


def test_bare_classifier_has_shapes_and_no_storage() -> None:
    config = BertConfig(vocab_size=32_000)
    before = config.to_dict()
    bare = bare_classifier(config, labels=9)
    assert {parameter.device.type for parameter in bare.parameters()} == {"meta"}
    assert bare.classifier.weight.shape == (9, 768)
    # BERT-base with 32,000 words: 110,617,344 of the encoder and its pooler, 9 x 769 of the classifier.
    assert sum(parameter.numel() for parameter in bare.parameters()) == 110_617_344 + 9 * 769
    assert config.to_dict() == before


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (BertConfig(), 512),
        (RobertaConfig(max_position_embeddings=514, pad_token_id=1), 512),
        (MPNetConfig(max_position_embeddings=514, pad_token_id=1), 512),
        (T5Config(), None),
    ],
)
def test_positions_are_counted_as_the_architecture_does(config: Any, limit: int | None) -> None:
    assert max_positions(config) == limit


def test_an_architecture_without_a_classifier_is_named() -> None:
    from transformers import ViTConfig

    with pytest.raises(EncoderError, match="'vit' has no sequence classifier"):
        bare_classifier(ViTConfig(), labels=2)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"num_attention_heads": 5}, "not a multiple of the number of attention heads"),
        ({"num_attention_heads": 0}, "ZeroDivisionError"),
        ({"hidden_act": "gelu2"}, "KeyError: 'gelu2'"),
        ({"hidden_dropout_prob": 1.5}, "between 0 and 1"),
        ({"add_cross_attention": True}, r"\(ValueError: \) should be used as a decoder model"),
        ({"pad_token_id": 99_999}, "Padding_idx must be within"),
        ({"vocab_size": 0}, "IndexError"),
    ],
)
def test_a_configuration_that_makes_no_model_says_why(tmp_path: Path, settings: dict[str, Any], reason: str) -> None:
    source = resolve_encoder(str(_with_settings(make_encoder(tmp_path / "encoder"), CONFIG_FILE, settings)))
    message = f"config.json of the encoder .*encoder' can't be used .*{reason}"
    for pooling in ("cls", "mean"):
        with pytest.raises(EncoderError, match=message):
            load_classifier(source, label_names=LABELS, seed=1, pooling=pooling)
    with pytest.raises(EncoderError, match=message):
        max_positions(load_config(source))
    with pytest.raises(EncoderError, match=message):
        load_encoder(source)


def test_a_checkpoint_does_not_choose_how_attention_is_computed(tmp_path: Path) -> None:
    folder = make_encoder(tmp_path / "encoder")
    for name in ("attn_implementation", "_attn_implementation"):
        source = resolve_encoder(str(_with_settings(folder, CONFIG_FILE, {name: "flash_attention_2"})))
        assert load_classifier(source, label_names=LABELS, seed=1).model.config._attn_implementation == "sdpa"


def test_a_length_that_is_no_number_is_named_and_none_is_no_limit(tmp_path: Path) -> None:
    folder = _with_settings(make_encoder(tmp_path / "none"), "tokenizer_config.json", {"model_max_length": None})
    assert len(load_tokenizer(resolve_encoder(str(folder)))) > 0
    folder = _with_settings(make_encoder(tmp_path / "encoder"), "tokenizer_config.json", {"model_max_length": "512"})
    with pytest.raises(EncoderError, match=r"model_max_length = '512' in tokenizer_config\.json is not a number"):
        load_tokenizer(resolve_encoder(str(folder)))


@pytest.fixture
def eurobert(tmp_path: Path) -> EncoderSource:
    """Its configuration has no dropout on hidden states, nor has transformers' classifier."""
    folder = make_mecab_bert(tmp_path / "eurobert")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = EuroBertConfig(**sizes, intermediate_size=24, vocab_size=50, pad_token_id=0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return resolve_encoder(str(folder))


def test_a_hidden_dropout_that_nothing_applies_is_refused(eurobert: EncoderSource) -> None:
    with pytest.raises(
        EncoderError, match=r"hidden_dropout = 0\.1 has no effect.*'eurobert'.*leave hidden_dropout out"
    ):
        build_classifier(eurobert, label_names=LABELS, seed=1, hidden_dropout=0.1)
    for dropout in (None, 0.0):
        build_classifier(eurobert, label_names=LABELS, seed=1, hidden_dropout=dropout, attention_dropout=0.1)


@pytest.mark.parametrize(("dropout", "expected"), [(None, 0.0), (0.0, 0.0), (0.1, 0.1)])
def test_the_pooled_classifier_has_the_hidden_dropout_of_every_encoder(
    eurobert: EncoderSource, dropout: float | None, expected: float
) -> None:
    loaded = build_classifier(eurobert, label_names=LABELS, seed=1, pooling="mean", hidden_dropout=dropout)
    assert [module.p for module in loaded.model.modules() if isinstance(module, torch.nn.Dropout)] == [expected]


def _with_settings(folder: Path, file_name: str, settings: dict[str, Any]) -> Path:
    content = json.loads((folder / file_name).read_text(encoding="utf-8"))
    (folder / file_name).write_text(json.dumps(content | settings), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"auto_map": {"AutoModel": "modeling.Evil"}}, "brings Python code of its own"),
        ({"model_type": "made-up"}, "the model_type 'made-up', which this transformers does not have"),
        ({"model_type": None}, "names no model_type; write the right one"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "is quantised"),
        ({"num_attention_heads": "four"}, "can't be used"),
    ],
)
def test_a_configuration_that_can_not_be_used_says_why(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    folder = make_mecab_bert(tmp_path / "bert", config_settings=settings)
    (folder / "modeling.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n", encoding="utf-8")
    with pytest.raises(EncoderError, match=message):
        load_classifier(resolve_encoder(str(folder)), label_names=LABELS, seed=1)
    with pytest.raises(EncoderError, match=message):
        load_tokenizer(resolve_encoder(str(folder)))
    assert not (tmp_path / "ran").exists()
