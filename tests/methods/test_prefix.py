"""A prefix against plain attention, against PEFT's, and where its encoders end."""

from typing import Any

import pytest
import torch
from peft import PrefixTuningConfig, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    ElectraConfig,
    ModernBertConfig,
    PretrainedConfig,
    RobertaConfig,
)

from tanzaku.encoders.load import bare_classifier
from tanzaku.errors import MethodError
from tanzaku.methods.peft_adapter import quiet_peft
from tanzaku.methods.prefix import PrefixTuning

HIDDEN, LAYERS, LENGTH, POSITIONS = 16, 2, 5, 12
SHAPE: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "vocab_size": 30,
    "intermediate_size": 32,
    "pad_token_id": 0,
    "num_labels": 3,
    "initializer_range": 0.5,  # large, so that a mistake shows
}


def _model(config: PretrainedConfig) -> Any:
    torch.manual_seed(1)
    return AutoModelForSequenceClassification.from_config(config).eval()


def _prefixed(config: PretrainedConfig) -> Any:
    model: Any = PrefixTuning(length=LENGTH).attach(_model(config), head=("classifier",))
    torch.manual_seed(2)
    for table in (model.base_model.prefix.keys, model.base_model.prefix.values):
        torch.nn.init.normal_(table)
    return model


def _inputs(tokens: int = 7) -> dict[str, torch.Tensor]:
    ids = torch.randint(1, 30, (3, tokens), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}


def test_equals_pefts_prefix_on_the_same_positions() -> None:
    config = BertConfig(**SHAPE, max_position_embeddings=40)
    ours = _prefixed(config)
    settings = PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=LENGTH)
    with quiet_peft():
        theirs = get_peft_model(_model(config), settings).eval()
    prefix = ours.base_model.prefix
    tables = torch.stack([prefix.keys, prefix.values], dim=1)  # (layers, 2, length, hidden)
    with torch.no_grad():
        theirs.prompt_encoder["default"].embedding.weight.copy_(tables.flatten(0, 1).transpose(0, 1).flatten(1))
    inputs = _inputs()
    # PEFT moves the positions by the prefix's length; we leave the text at its own.
    positions = torch.arange(7).expand(3, -1) - LENGTH
    expected = theirs(**inputs, position_ids=positions).logits
    torch.testing.assert_close(ours(**inputs).logits, expected, rtol=1e-5, atol=1e-6)


def test_one_layer_attends_as_the_equation_says() -> None:
    model = _prefixed(BertConfig(**SHAPE | {"num_hidden_layers": 1, "num_attention_heads": 1}))
    inputs = {"input_ids": torch.tensor([[3, 4, 5, 6]])}
    encoder = model.base_model
    attention = encoder.encoder.layer[0].attention
    found: dict[str, torch.Tensor] = {}
    attention.self.register_forward_hook(lambda module, arguments, output: found.update(output=output[0]))
    model(**inputs)
    hidden = encoder.embeddings(**inputs)[0]  # (tokens, hidden)
    query, key, value = attention.self.query(hidden), attention.self.key(hidden), attention.self.value(hidden)
    key, value = torch.cat([encoder.prefix.keys[0], key]), torch.cat([encoder.prefix.values[0], value])
    expected = torch.softmax(query @ key.T / HIDDEN**0.5, dim=-1) @ value
    torch.testing.assert_close(found["output"][0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [BertConfig, RobertaConfig, ElectraConfig])
def test_padding_changes_nothing_and_all_positions_are_left_for_the_text(kind: type[PretrainedConfig]) -> None:
    # RoBERTa's table has rows that no token uses: positions begin after the padding's.
    spare = 1 if kind is RobertaConfig else 0
    model = _prefixed(kind(**SHAPE, max_position_embeddings=POSITIONS + spare))
    inputs = _inputs(POSITIONS)
    logits = model(**inputs).logits
    alone = model(input_ids=inputs["input_ids"][1:2, :4], attention_mask=inputs["attention_mask"][1:2, :4]).logits
    torch.testing.assert_close(logits[1:2], alone, rtol=1e-5, atol=1e-5)
    with_none = _model(kind(**SHAPE, max_position_embeddings=POSITIONS + spare))(**inputs).logits
    assert (logits - with_none).abs().max() > 0.01, "the prefix is not seen"


@pytest.mark.parametrize("config", [DebertaV2Config(**SHAPE), ModernBertConfig(**SHAPE)], ids=["deberta", "modernbert"])
def test_an_encoder_that_takes_no_keys_from_before_is_refused(config: PretrainedConfig) -> None:
    with pytest.raises(MethodError, match=r"an encoder of the type .* it takes BERT, RoBERTa or ELECTRA"):
        PrefixTuning().trainable_parameters(bare_classifier(config, labels=3), head=())


def test_bert_base_has_the_formulas_parameters() -> None:
    bare = bare_classifier(BertConfig(vocab_size=32_000), labels=9)
    assert PrefixTuning().trainable_parameters(bare, head=("classifier",)) == 2 * 12 * 20 * 768 + 769 * 9
