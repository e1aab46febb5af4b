"""Features of a frozen encoder are computed once, and what is computed from them does not depend on the order."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import CONFIG_MAPPING, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from tanzaku.encoders.fast import FastForward
from tanzaku.encoders.pooled import is_pooled, pooled_class, write_reading
from tanzaku.encoders.reading import LongText, Pooling
from tanzaku.methods.full import Full
from tanzaku.methods.head import Head
from tanzaku.methods.lora import Lora
from tanzaku.study.plan import plan_study
from tanzaku.study.run import run as make_run
from tanzaku.study.spec import StudySpec
from tanzaku.training.batches import Batch
from tanzaku.training.events import Event, StepDone
from tanzaku.training.forward import PooledForward, choose_forward, model_logits
from tanzaku.training.remembered import RememberedFeatures, can_remember, remember_features
from tests.tiny import make_dataset

Kind = type[FastForward] | type[PooledForward]


def _model(
    *,
    long_text: LongText = "head",
    dropout: float = 0.0,
    pooling: Pooling = "mean",
    architecture: str = "bert",
    **settings: Any,
) -> Any:
    config = CONFIG_MAPPING[architecture](
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=20,
        num_labels=3,
        initializer_range=0.2,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=0.0,
        classifier_dropout=0.0,
        pad_token_id=0,
        **settings,
    )
    write_reading(config, pooling=pooling, long_text=long_text)
    torch.manual_seed(0)
    plain = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
    return (pooled_class(config) if is_pooled(pooling, long_text) else plain)(config)


def _batch(rows: tuple[int, ...], *, documents: list[int] | None = None, width: int = 12) -> Batch:
    """Rows of the same tokens wherever they are met: row `n` has `3 + n` tokens."""
    input_ids = torch.zeros(len(rows), width, dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    for place, row in enumerate(rows):
        length = 3 + row
        input_ids[place, :length] = torch.randint(5, 60, (length,), generator=torch.Generator().manual_seed(row))
        attention_mask[place, :length] = 1
    belongs = None if documents is None else torch.tensor(documents)
    labels = torch.zeros(len(set(documents or range(len(rows)))), dtype=torch.int64)
    return Batch(input_ids, attention_mask, labels, belongs)


_KINDS = pytest.mark.parametrize("kind", [FastForward, PooledForward])


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many documents each computation of features had."""
    seen: list[int] = []

    def count(kind: Any) -> None:
        features = kind.features

        def counted(self: Any, batch: Any) -> Any:
            seen.append(len(batch))
            return features(self, batch)

        monkeypatch.setattr(kind, "features", counted)

    count(FastForward)
    count(PooledForward)
    return seen


def _frozen(kind: Kind = FastForward, **options: Any) -> tuple[Any, FastForward | PooledForward]:
    model = Head().attach(_model(**options), head=("classifier",))
    forward = choose_forward(model, fast=kind is FastForward, precision="float32").run
    assert isinstance(forward, kind)
    return model, forward


@_KINDS
def test_a_document_is_computed_once_in_training_and_once_in_evaluation(kind: Kind, computed: list[int]) -> None:
    model, forward = _frozen(kind)
    remembered = remember_features(forward)
    assert isinstance(remembered, RememberedFeatures)
    model.train()
    first = remembered(model, _batch((0, 1, 2)))
    again = remembered(model, _batch((2, 0, 4), width=16))  # padded to another width, and one that is new
    assert computed == [1, 1, 1, 1]
    torch.testing.assert_close(first[[2, 0]], again[:2])  # a product's rounding depends on the row
    model.eval()
    for _ in range(2):
        remembered(model, _batch((0, 1, 2)))
    assert computed == [1, 1, 1, 1, 3]


def test_a_document_that_occurs_twice_keeps_the_features_of_its_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed evaluation meets the first batch first, too; in another batch, they may differ by rounding."""
    model, forward = _frozen()
    model.eval()
    remembered = RememberedFeatures(forward)
    first = remembered(model, _batch((0, 1)))
    features = FastForward.features
    monkeypatch.setattr(FastForward, "features", lambda self, batch: features(self, batch) + 1)
    remembered(model, _batch((0, 5)))
    assert torch.equal(remembered(model, _batch((0, 1))), first)


@_KINDS
def test_a_document_has_the_same_features_to_the_bit_whatever_was_seen_before(kind: Kind) -> None:
    model, forward = _frozen(kind)
    model.train()
    one, other = RememberedFeatures(forward), RememberedFeatures(forward)
    one(model, _batch((3, 4, 5)))
    other(model, _batch((5, 1)))
    assert torch.equal(one(model, _batch((5, 3, 1))), other(model, _batch((5, 3, 1))))


@_KINDS
@pytest.mark.parametrize(
    ("long_text", "documents"), [("head", None), ("windows", [0, 0, 1, 2, 2])], ids=["rows", "windows"]
)
def test_the_logits_and_the_heads_gradient_are_those_of_the_forward(
    long_text: LongText, documents: list[int] | None, kind: Kind
) -> None:
    model, forward = _frozen(kind, long_text=long_text)
    model.train()
    batch = _batch((0, 3, 1, 6, 2), documents=documents)
    gradients = []
    for run in (forward, remember_features(forward), remember_features(forward)):
        model.zero_grad()
        logits = run(model, batch)
        logits.square().sum().backward()
        gradients.append((logits.detach(), model.classifier.weight.grad.clone()))
    for logits, gradient in gradients[1:]:
        torch.testing.assert_close(logits, gradients[0][0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(gradient, gradients[0][1], atol=1e-4, rtol=1e-5)


def test_windows_that_are_split_otherwise_are_another_document(computed: list[int]) -> None:
    model, forward = _frozen(long_text="windows")
    remembered = remember_features(forward)
    model.train()
    remembered(model, _batch((0, 1), documents=[0, 0]))
    remembered(model, _batch((0, 1), documents=[0, 1]))
    assert computed == [1, 1, 1]


@_KINDS
def test_nothing_is_remembered_where_features_change(kind: Kind) -> None:
    _, dropped = _frozen(kind, dropout=0.1)
    assert remember_features(dropped) is dropped
    for method in (Lora(rank=2, targets=("all-linear",)), Full()):
        adapted = method.attach(_model(), head=("classifier",))
        trained = choose_forward(adapted, fast=kind is FastForward, precision="float32").run
        assert remember_features(trained) is trained


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_dropout_that_is_no_module_is_noticed_without_a_trace(dropout: float) -> None:
    """ModernBERT's attention has its probability as a number."""
    model = _model(architecture="modernbert", attention_dropout=dropout)
    model = Head().attach(model, head=("classifier",)).eval()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    forward = choose_forward(model, fast=True, precision="float32").run
    assert isinstance(forward, PooledForward)
    before = torch.get_rng_state()
    assert isinstance(remember_features(forward), RememberedFeatures) == (dropout == 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("long_text", ["head", "windows"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_it_is_known_beforehand_where_features_are_remembered(
    architecture: str, pooling: Pooling, long_text: LongText
) -> None:
    model = _model(architecture=architecture, pooling=pooling, long_text=long_text)
    run = choose_forward(Head().attach(model, head=("classifier",)), fast=True, precision="float32").run
    expected = can_remember(model.config, pooling=pooling, long_text=long_text)
    assert isinstance(remember_features(run), RememberedFeatures) == expected
    assert expected or (architecture, pooling, long_text) == ("roberta", "cls", "head")


def test_a_step_says_whether_its_features_were_computed(tiny_encoder: Path, tmp_path: Path) -> None:
    """Its time then says nothing of the epochs to come, in which they are remembered."""
    study = StudySpec.model_validate(
        {
            "name": "s",
            "data": {"source": "d"},
            "encoder": {"name": str(tiny_encoder), "max_tokens": 24, "pooling": "mean"},
            "training": {"epochs": 3, "learning_rate": 1e-3, "batch_size": 8},
            "arms": [{"method": "head"}, {"method": "full"}],
        }
    )
    plan = plan_study(study, dataset=make_dataset(train=20), out=tmp_path)
    slow: dict[str, set[int]] = {}
    for planned in plan.runs:
        planned.folder.mkdir()
        events: list[Event] = []
        make_run(planned, dataset=plan.dataset, study="s", listeners=[events.append])
        steps = [event for event in events if isinstance(event, StepDone)]
        slow[planned.spec.method.name] = {step.epoch for step in steps if step.is_slow}
    assert slow == {"head": {1}, "full": set()}


def test_in_bfloat16_the_logits_are_those_of_autocast() -> None:
    model = Head().attach(_model(), head=("classifier",)).eval()
    forward = choose_forward(model, fast=False, precision="bfloat16").run
    batch = _batch((0, 3, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = model_logits(model, batch)
    assert expected.dtype == torch.bfloat16
    for run in (forward, remember_features(forward)):
        assert torch.equal(run(model, batch), expected.float())
