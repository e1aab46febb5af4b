"""What the sides train is what they claim to."""

from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import trainers
from benchmarks.documents import step_documents
from benchmarks.models import random_classifier
from benchmarks.ours import ALL_LINEAR_SETTINGS, DEFAULT_SETTINGS, THESIS_SETTINGS, _in_training_order, build_ours
from benchmarks.scale import BATCH_SIZE, SCALES
from tanzaku.training.batches import epoch_batches

SCALE = SCALES["tiny"]
SHAPE = SCALE.base


def _trainable(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(p.shape) for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("method", ["lora", "full"])
def test_all_sides_train_the_same_parameters_from_the_same_encoder(method: Any) -> None:
    theirs = trainers._model(SHAPE, method, SCALE.max_tokens)
    for settings in (THESIS_SETTINGS, DEFAULT_SETTINGS):
        ours = build_ours(SHAPE, method, settings, max_tokens=SCALE.max_tokens).model
        assert _trainable(ours) == _trainable(theirs)
        frozen = dict(theirs.named_parameters())
        # What is frozen may have been rounded to the fast path's precision.
        assert all(torch.equal(p, frozen[n].to(p.dtype)) for n, p in ours.named_parameters() if "lora_" not in n)


def test_lora_on_all_linear_layers_leaves_none_out() -> None:
    model = build_ours(SHAPE, "lora", ALL_LINEAR_SETTINGS, max_tokens=SCALE.max_tokens).model
    linear = [
        name
        for name, module in random_classifier(SHAPE, dropout=0.0, max_tokens=SCALE.max_tokens).named_modules()
        if isinstance(module, torch.nn.Linear) and name != "classifier"
    ]
    updated = {name.partition(".lora_A")[0] for name in _trainable(model) if ".lora_A" in name}
    updated = {name.removeprefix("base_model.model.") for name in updated}
    assert updated == set(linear)


@pytest.mark.parametrize(("settings", "rate"), [(THESIS_SETTINGS, 0.1), (DEFAULT_SETTINGS, 0.0)])
def test_the_dropouts_are_the_settings(settings: Any, rate: float) -> None:
    model: Any = build_ours(SHAPE, "lora", settings, max_tokens=SCALE.max_tokens).model
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} <= {rate}
    assert model.config.attention_probs_dropout_prob == rate


def test_our_training_sees_the_dealt_order() -> None:
    documents = step_documents(3, max_tokens=SCALE.max_tokens, vocabulary=SHAPE.vocabulary)
    split = _in_training_order(documents, pad_to=None)
    batches = epoch_batches(len(split), batch_size=BATCH_SIZE, seed=0, epoch=1)
    seen = [split.tokens[int(row)] for batch in batches for row in batch]
    assert all(np.array_equal(one, documents.ids[place]) for one, place in zip(seen, documents.dealt, strict=True))


def test_the_rivals_see_the_batches_that_they_should(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    original = trainers._model

    def watched(*arguments: Any) -> torch.nn.Module:
        model = original(*arguments)
        model.register_forward_pre_hook(
            lambda _module, _args, kwargs: seen.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
        )
        return model

    monkeypatch.setattr(trainers, "_model", watched)
    documents = step_documents(2, max_tokens=SCALE.max_tokens, vocabulary=SHAPE.vocabulary)
    assert trainers.trainer_seconds(SHAPE, "full", documents, max_tokens=SCALE.max_tokens) > 0
    assert seen == [(BATCH_SIZE, SCALE.max_tokens)] * 3
    seen.clear()
    assert trainers.tuned_trainer_seconds(SHAPE, "full", documents, max_tokens=SCALE.max_tokens) > 0
    lengths = np.array([len(ids) for ids in documents.ids])[documents.grouped].reshape(-1, BATCH_SIZE)
    assert seen == [(BATCH_SIZE, int(longest)) for longest in lengths.max(axis=1)]
