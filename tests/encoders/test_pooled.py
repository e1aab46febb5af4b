"""The pooled classifier against computations by hand."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModel, BertConfig, BertForSequenceClassification, EuroBertConfig, T5Config, ViTConfig

from tanzaku.encoders.load import bare_classifier, load_classifier, load_config, resolve_encoder
from tanzaku.encoders.pooled import PooledClassifier, mean_of_windows, reading_of
from tanzaku.encoders.quiet import quiet_transformers
from tanzaku.encoders.reading import LongText, Pooling
from tanzaku.errors import EncoderError
from tests.checkpoints import KINDS, make_modernbert, write_json
from tests.forked import call

LABELS = ("映画", "家電", "音楽")
READINGS: list[tuple[Pooling, LongText]] = [
    ("cls", "windows"),
    ("mean", "head"),
    ("mean", "windows"),
    ("mean+max", "head+tail"),
]


def _load(folder: Path, pooling: Pooling, long_text: LongText = "head", *, seed: int = 5) -> Any:
    source = resolve_encoder(str(folder))
    loaded = load_classifier(source, label_names=LABELS, seed=seed, pooling=pooling, long_text=long_text)
    return loaded.model.eval()


def _rows() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(5, 60, (4, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 7:], mask[3, 3:] = 0, 0
    return ids * mask, mask


@torch.no_grad()
def _features_by_hand(model: Any, pooling: Pooling) -> np.ndarray:
    """(rows, features), each row computed alone and without padding."""
    ids, mask = _rows()
    rows = []
    for row, length in zip(ids, mask.sum(dim=1).tolist(), strict=True):
        outputs = model.base_model(input_ids=row[None, :length])
        hidden = outputs.last_hidden_state[0].numpy()
        if pooling == "cls":
            pooler = getattr(model.base_model, "pooler", None)
            rows.append(hidden[0] if pooler is None else np.tanh(pooler.dense(torch.from_numpy(hidden[0])).numpy()))
        else:
            parts = [hidden.mean(axis=0), hidden.max(axis=0)]
            rows.append(np.concatenate(parts if pooling == "mean+max" else parts[:1]))
    return np.stack(rows)


def _logits_by_hand(model: Any, features: np.ndarray) -> np.ndarray:
    weight, bias = model.classifier.weight.detach().numpy(), model.classifier.bias.detach().numpy()
    logits: np.ndarray = features @ weight.T + bias
    return logits


@torch.no_grad()
def _logits(model: Any, **inputs: torch.Tensor) -> np.ndarray:
    logits: np.ndarray = model(**inputs).logits.numpy()
    return logits


@pytest.mark.parametrize("kind", ["bert-ipadic-bin", "roberta", "deberta-v2", "modernbert"])
@pytest.mark.parametrize("pooling", ["cls", "mean", "mean+max"])
def test_features_are_those_computed_by_hand(kind: str, pooling: Pooling, checkpoint: Callable[[str], Path]) -> None:
    model = _load(checkpoint(kind), pooling, "windows")
    nn.init.normal_(model.classifier.bias)
    ids, mask = _rows()
    if kind == "roberta":
        ids = ids.masked_fill(mask == 0, 1)  # it takes its positions from the padding's index
    features = _features_by_hand(model, pooling)
    # float32 through two layers, alone against in a batch with padding
    np.testing.assert_allclose(
        _logits(model, input_ids=ids, attention_mask=mask), _logits_by_hand(model, features), rtol=1e-4, atol=2e-5
    )
    documents = torch.tensor([0, 0, 0, 1])
    windows = np.stack([features[:3].mean(axis=0), features[3]])  # equal weights, before the classifier
    np.testing.assert_allclose(
        _logits(model, input_ids=ids, attention_mask=mask, documents=documents),
        _logits_by_hand(model, windows),
        rtol=1e-4,
        atol=2e-5,
    )


@pytest.mark.parametrize(("pooling", "long_text"), READINGS)
def test_more_padding_changes_nothing(pooling: Pooling, long_text: LongText, tiny_encoder: Path) -> None:
    model = _load(tiny_encoder, pooling, long_text)
    ids, mask = (nn.functional.pad(rows % 20, (0, 9)) for rows in _rows())
    short = _logits(model, input_ids=ids[:, :12], attention_mask=mask[:, :12])
    np.testing.assert_allclose(_logits(model, input_ids=ids, attention_mask=mask), short, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["bert-ipadic", "roberta"])
def test_cls_is_what_the_plain_classifier_sees(kind: str, checkpoint: Callable[[str], Path]) -> None:
    plain, pooled = _load(checkpoint(kind), "cls"), _load(checkpoint(kind), "cls", "windows")
    assert isinstance(pooled, PooledClassifier)
    assert not isinstance(plain, PooledClassifier)
    ids, mask = _rows()
    expected = _logits(plain, input_ids=ids, attention_mask=mask)
    np.testing.assert_allclose(_logits(pooled, input_ids=ids, attention_mask=mask), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("long_text", ["head", "head+tail"])
def test_cls_of_one_row_is_transformers_own_classifier(long_text: LongText, tiny_encoder: Path) -> None:
    model = _load(tiny_encoder, "cls", long_text)
    assert type(model) is BertForSequenceClassification
    assert not hasattr(model.config, "tanzaku")


@pytest.mark.parametrize("long_text", ["head", "head+tail", "windows"])
def test_cls_is_what_a_modernbert_reads_whatever_its_configuration_says(long_text: LongText, tmp_path: Path) -> None:
    folder = make_modernbert(tmp_path / "modernbert")
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", settings | {"classifier_pooling": "mean"})
    source = resolve_encoder(str(folder))
    model = load_classifier(source, label_names=LABELS, seed=1, pooling="cls", long_text=long_text).model
    before = model(input_ids=torch.tensor([[2, 10, 11, 12, 3]])).logits

    def change_the_others(module: Any, inputs: Any, output: Any) -> None:
        del module, inputs
        output.last_hidden_state = torch.cat([output.last_hidden_state[:, :1], output.last_hidden_state[:, 1:] + 1], 1)

    model.base_model.register_forward_hook(change_the_others)
    assert torch.equal(model(input_ids=torch.tensor([[2, 10, 11, 12, 3]])).logits, before)
    assert model.config.classifier_pooling == "cls"  # which a saved model says


def test_a_eurobert_names_its_first_token_in_its_own_way() -> None:
    config = EuroBertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, vocab_size=9, pad_token_id=0
    )
    model = bare_classifier(config, labels=2).to_empty(device="cpu").eval()
    assert model(input_ids=torch.tensor([[1, 2, 3]])).logits.shape == (1, 2)


def test_rows_of_a_document_need_not_lie_together() -> None:
    features = torch.tensor([[1.0, 0.0], [5.0, 2.0], [3.0, 4.0]])
    mean = mean_of_windows(features, torch.tensor([1, 0, 1]))
    assert mean.tolist() == [[5.0, 2.0], [2.0, 2.0]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("pooling", "long_text"), READINGS)
def test_the_encoder_is_the_checkpoints_and_the_head_is_new(
    kind: str, pooling: Pooling, long_text: LongText, checkpoint: Callable[[str], Path]
) -> None:
    source = resolve_encoder(str(checkpoint(kind)))
    plain = load_classifier(source, label_names=LABELS, seed=1).model
    loaded = load_classifier(source, label_names=LABELS, seed=1, pooling=pooling, long_text=long_text)
    other = load_classifier(source, label_names=LABELS, seed=2, pooling=pooling, long_text=long_text).model
    has_pooler = kind.startswith(("bert", "roberta"))
    pooler = (f"{plain.base_model_prefix}.pooler",) if pooling == "cls" and has_pooler else ()
    assert loaded.head == (*pooler, "classifier")
    expected = dict(plain.named_parameters())
    for name, parameter in loaded.model.named_parameters():
        in_head = name.startswith(loaded.head)
        assert torch.equal(parameter, other.get_parameter(name)) != (in_head and name.endswith("weight")), name
        assert in_head or torch.equal(parameter, expected[name]), name
    assert loaded.model.classifier.weight.shape == (3, 64 if pooling == "mean+max" else 32)
    bare = bare_classifier(load_config(source), labels=3, pooling=pooling, long_text=long_text)
    assert type(bare) is type(loaded.model)
    assert {name: parameter.shape for name, parameter in bare.named_parameters()} == {
        name: parameter.shape for name, parameter in loaded.model.named_parameters()
    }


def test_bert_base_has_no_pooler_to_count_where_none_is_used() -> None:
    config = BertConfig(vocab_size=32_000)

    def count(pooling: Pooling) -> int:
        bare = bare_classifier(config, labels=9, pooling=pooling, long_text="windows")
        return sum(parameter.numel() for parameter in bare.parameters())

    plain = sum(parameter.numel() for parameter in bare_classifier(config, labels=9).parameters())
    pooler = 768 * 769
    assert count("cls") == plain
    assert count("mean") == plain - pooler
    assert count("mean+max") == plain - pooler + 9 * 768


def test_the_classifiers_dropout_is_the_configurations(tiny_encoder: Path) -> None:
    for settings, expected in (
        ({"hidden_dropout_prob": 0.25}, 0.25),
        ({"hidden_dropout_prob": 0.25, "classifier_dropout": 0.0}, 0.0),
    ):
        bare = bare_classifier(BertConfig(**settings), labels=2, pooling="mean")
        assert bare.dropout.p == expected


def test_labels_give_the_cross_entropy(tiny_encoder: Path) -> None:
    model = _load(tiny_encoder, "mean")
    ids, mask = (rows % 20 for rows in _rows())
    labels = torch.tensor([0, 1, 2, 0])
    outputs = model(input_ids=ids, attention_mask=mask, labels=labels)
    assert outputs.loss.item() == pytest.approx(nn.functional.cross_entropy(outputs.logits, labels).item())


def _reopen(folders: Sequence[Path]) -> None:
    for folder in folders:
        config = load_config(resolve_encoder(str(folder)))
        pooling, long_text = reading_of(config)
        model = bare_classifier(config, labels=3, pooling=pooling, long_text=long_text)
        model = type(model).from_pretrained(folder, config=config).eval()
        np.save(folder / "logits.npy", _logits(model, input_ids=torch.arange(5, 17).reshape(2, 6)))


def test_a_saved_folder_says_how_it_reads(tmp_path: Path, tiny_encoder: Path) -> None:
    ids = torch.arange(5, 17).reshape(2, 6)
    expected = {}
    for pooling, long_text in READINGS:
        folder = tmp_path / f"{pooling}-{long_text}"
        model = _load(tiny_encoder, pooling, long_text, seed=8)
        model.save_pretrained(folder)
        expected[folder] = _logits(model, input_ids=ids)
        assert reading_of(load_config(resolve_encoder(str(tiny_encoder)))) == ("cls", "head")
        with quiet_transformers():
            plain = AutoModel.from_pretrained(folder)
        assert type(plain).__name__ == "BertModel"
        theirs = dict(plain.named_parameters())
        for name, parameter in model.base_model.named_parameters():
            assert torch.equal(parameter, theirs[name]), name
        # As an encoder for another classifier it is a checkpoint like any other.
        again = _load(folder, "cls")
        assert type(again) is BertForSequenceClassification
        assert not hasattr(again.config, "tanzaku")
    call(_reopen, list(expected), folder=tmp_path)
    for folder, logits in expected.items():
        np.testing.assert_allclose(np.load(folder / "logits.npy"), logits, rtol=0, atol=1e-6)


def test_what_can_not_be_pooled_is_named() -> None:
    for config in (ViTConfig(), T5Config()):
        with pytest.raises(EncoderError, match=f"'{config.model_type}' can't be pooled; choose one of BERT's family"):
            bare_classifier(config, labels=2, pooling="mean")
    with pytest.raises(EncoderError, match=r"pooling = 'max' is not known; choose one of cls, mean, mean\+max"):
        bare_classifier(BertConfig(), labels=2, pooling="max")  # type: ignore[arg-type]


@pytest.mark.parametrize("content", ["mean", {"pooling": "mean"}, {"pooling": "sum", "long_text": "head"}])
def test_a_configuration_that_says_something_else_is_refused(content: Any) -> None:
    with pytest.raises(EncoderError, match=r"is not known|it takes \"pooling\" and \"long_text\""):
        reading_of(BertConfig(tanzaku=content))
