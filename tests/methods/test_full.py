"""Full fine-tuning loads what it saved, also where transformers saves tensors under other names."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    JinaEmbeddingsV3Config,
    NomicBertConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from tanzaku.encoders.quiet import quiet_transformers
from tanzaku.errors import MethodError
from tanzaku.methods.full import Full
from tests.checkpoints import SMALL_SIZES

_CONFIGS = [NomicBertConfig(**SMALL_SIZES), JinaEmbeddingsV3Config(**SMALL_SIZES), AlbertConfig(**SMALL_SIZES)]
_IDS = torch.tensor([[5, 6, 7, 8], [9, 8, 7, 6]])


def _model(config: PretrainedConfig, *, seed: int) -> PreTrainedModel:
    torch.manual_seed(seed)
    with quiet_transformers():
        model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
        return model.eval()


@pytest.mark.parametrize("config", _CONFIGS, ids=lambda config: config.model_type)
def test_what_was_saved_is_loaded(config: PretrainedConfig, tmp_path: Path) -> None:
    saved, model = _model(config, seed=1), _model(config, seed=2)
    Full().save(saved, tmp_path)
    assert Full().load(model, tmp_path, head=("classifier",)) is model
    assert torch.equal(model(input_ids=_IDS).logits, saved(input_ids=_IDS).logits)


@pytest.mark.parametrize("change", ["missing", "unexpected", "of another shape"])
def test_weights_that_do_not_fit_are_refused(change: str, tmp_path: Path) -> None:
    model = _model(_CONFIGS[0], seed=1)
    Full().save(model, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    if change == "missing":
        del weights["classifier.weight"]
    elif change == "unexpected":
        weights["classifier.gate"] = torch.ones(2)
    else:
        weights["classifier.weight"] = torch.ones(3, 16)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(MethodError, match=r"model\.safetensors does not fit the model.*classifier\."):
        Full().load(model, tmp_path, head=("classifier",))
