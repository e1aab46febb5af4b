"""Encoders and tokenizers whose files look right and that do not do what is assumed of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertModel, RobertaConfig

from tanzaku.data.dataset import Dataset, Documents
from tanzaku.encoders.load import SequenceClassifier, load_classifier, load_config, load_tokenizer, resolve_encoder
from tanzaku.encoders.weights import read_weights
from tanzaku.errors import EncoderError
from tanzaku.pretraining.model import load_encoder
from tanzaku.study.plan import plan_study
from tanzaku.study.spec import StudySpec
from tests.checkpoints import (
    make_mecab_bert,
    make_modernbert,
    make_roberta,
    make_unmasked,
    random_weights,
    write_json,
    write_weights,
)

LABELS = ("映画", "家電")


def _load(folder: Path, **reading: Any) -> SequenceClassifier:
    return load_classifier(resolve_encoder(str(folder)), label_names=LABELS, seed=1, **reading)


def _change(path: Path, **settings: Any) -> None:
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | settings)


def _plan(folder: Path, out: Path) -> None:
    documents = Documents(("空に白い雲", "海に魚"), LABELS)
    content = {
        "name": "small",
        "data": {"source": "made by the test"},
        "encoder": {"name": str(folder), "max_tokens": 16},
        "training": {"learning_rate": 1e-3},
        "arms": [{"method": "head"}],
    }
    dataset = Dataset("small", documents, documents, documents, LABELS)
    plan_study(StudySpec.model_validate(content), dataset=dataset, out=out)


# The tokenizer


def _template(template: str) -> dict[str, Any]:
    from tokenizers.processors import TemplateProcessing

    made = TemplateProcessing(single=template, special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    content: dict[str, Any] = json.loads(made.__getstate__())
    return content


@pytest.mark.parametrize("template", [None, "[CLS] $A", "$A [SEP]", "[CLS] $A [SEP] [SEP]", "[CLS] [CLS] $A [SEP]"])
def test_a_tokenizer_that_does_not_put_texts_between_cls_and_sep_is_refused(
    template: str | None, tmp_path: Path
) -> None:
    folder = make_modernbert(tmp_path / "modernbert")
    _change(folder / "tokenizer.json", post_processor=_template(template) if template else None)
    with pytest.raises(EncoderError, match=r"does not put every text between \[CLS\] and \[SEP\]: .*post-processor"):
        load_tokenizer(resolve_encoder(str(folder)))
    with pytest.raises(EncoderError, match=r"does not put every text between"):
        _plan(folder, tmp_path / "runs")


def test_a_tokenizer_that_keeps_the_last_tokens_is_refused(tmp_path: Path) -> None:
    folder = make_modernbert(tmp_path / "modernbert")
    _change(folder / "tokenizer_config.json", truncation_side="left")
    with pytest.raises(EncoderError, match=r'not its first ones .*; write "truncation_side": "right"'):
        load_tokenizer(resolve_encoder(str(folder)))


def test_another_padding_in_the_configuration_is_refused(tmp_path: Path) -> None:
    folder = make_roberta(tmp_path / "roberta")
    assert load_tokenizer(resolve_encoder(str(folder))).pad_token_id == 1
    _change(folder / "config.json", pad_token_id=3)
    with pytest.raises(
        EncoderError, match=r"pads with <pad> \(1\), and config.json says pad_token_id = 3 \(<unk>\); .*1"
    ):
        load_tokenizer(resolve_encoder(str(folder)))


# The weights


def test_relative_positions_that_would_be_left_out_are_refused(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert", config_settings={"position_embedding_type": "relative_key"})
    weights = random_weights(load_config(resolve_encoder(str(folder))))
    name = "bert.encoder.layer.{}.attention.self.distance_embedding.weight"
    write_weights(folder, weights | {name.format(layer): torch.randn(127, 8) for layer in range(2)})
    message = r'2 of the encoder.s own tensors .*distance_embedding.*; .*"position_embedding_type": "relative_key"'
    with pytest.raises(EncoderError, match=message):
        _load(folder)
    with pytest.raises(EncoderError, match=message):
        _load(folder, pooling="mean")


@pytest.mark.parametrize("bare", [False, True])
def test_layers_beyond_the_configurations_are_refused(bare: bool, tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert")
    source = resolve_encoder(str(folder))
    if bare:  # saved without a head, and so without the prefix
        BertModel(load_config(source)).save_pretrained(folder)
    _load(folder)
    _change(folder / "config.json", num_hidden_layers=1)
    message = r"16 of the encoder.s own tensors would not be used \((bert\.)?encoder.layer.1.*; .*weights have 2 layers"
    with pytest.raises(EncoderError, match=message):
        _load(folder)
    with pytest.raises(EncoderError, match=message):
        load_encoder(resolve_encoder(str(folder)), max_tokens=16, dropout=0.0, seed=1)
    with pytest.raises(EncoderError, match=message):
        _plan(folder, tmp_path / "runs")


def test_heads_poolers_copies_and_saved_position_numbers_may_be_left_over(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert")
    others = {
        "bert.embeddings.position_ids": torch.arange(64)[None],
        "bert.embeddings.word_embeddings._weight": torch.randn(8, 32),  # as in mdeberta-v3-base
        "bert.pooler.dense.weight": torch.randn(32, 32),
        "bert.pooler.dense.bias": torch.randn(32),
        "cls.seq_relationship.weight": torch.randn(2, 32),
        "classifier.weight": torch.randn(5, 32),
    }
    write_weights(folder, random_weights(load_config(resolve_encoder(str(folder)))) | others)
    assert _load(folder).unused == _load(folder, pooling="mean").unused == ()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_finite_numbers_are_named(value: float, tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert")
    weights = random_weights(load_config(resolve_encoder(str(folder))))
    weights["bert.encoder.layer.1.output.dense.bias"][7] = value
    write_weights(folder, weights)
    message = r"1 of its \d+ tensors hold values .* such as bert.encoder.layer.1.output.dense.bias; fetch"
    with pytest.raises(EncoderError, match=message):
        read_weights(resolve_encoder(str(folder)))
    with pytest.raises(EncoderError, match=message):
        _plan(folder, tmp_path / "runs")


def test_finite_weights_that_overflow_are_refused(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert")
    weights = random_weights(load_config(resolve_encoder(str(folder))))
    weights["bert.encoder.layer.1.output.LayerNorm.weight"].fill_(3e38)
    write_weights(folder, weights)
    with pytest.raises(EncoderError, match=r"hidden states are infinite or not numbers, though its weights are finite"):
        _load(folder)


# What is computed


@pytest.mark.parametrize("kind", ["convbert", "fnet", "yoso"])
def test_an_encoder_that_does_not_mask_padding_is_refused(kind: str, tmp_path: Path) -> None:
    folder = make_unmasked(kind, tmp_path / kind)
    message = f"depend on the longer texts of its batch, by .*'{kind}' does not mask padding everywhere"
    for reading in ({}, {"pooling": "mean", "long_text": "windows"}):
        with pytest.raises(EncoderError, match=message):
            _load(folder, **reading)
    with pytest.raises(EncoderError, match=message):
        _plan(folder, tmp_path / "runs")


def test_a_classifier_that_reads_other_tokens_than_cls_is_refused(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As GPT's do, which read the last token; no encoder of ours can have such a classifier."""
    from transformers.models.roberta.modeling_roberta import RobertaClassificationHead

    real = RobertaClassificationHead.forward
    monkeypatch.setattr(RobertaClassificationHead, "forward", lambda self, states: real(self, states.flip(1)))
    with pytest.raises(EncoderError, match=r"'roberta' reads other tokens than \[CLS\]; set encoder.pooling to"):
        _load(checkpoint("roberta"))
    assert isinstance(_load(checkpoint("roberta"), pooling="mean").model.config, RobertaConfig)


def test_the_checks_leave_nothing_behind(checkpoint: Callable[[str], Path]) -> None:
    """No hook, no gradient, no random number: a run's result is what it was without them."""
    from tanzaku.encoders.load import build_classifier, classifier_checks

    source = resolve_encoder(str(checkpoint("modernbert")))
    loaded = build_classifier(source, label_names=LABELS, seed=1)
    model = loaded.model
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    assert [check() for check in classifier_checks(source, loaded).values()]
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert not model.base_model._forward_hooks
    assert not model.training
    model(input_ids=torch.tensor([[2, 10, 3]])).logits.sum().backward()  # no table was made in inference mode
