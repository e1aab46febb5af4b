"""Our loop against Hugging Face's `Trainer`, step by step."""

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import SequentialSampler
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments

from tanzaku.encoders.load import load_classifier, load_tokenizer, resolve_encoder
from tanzaku.encoders.reading import LongText, Pooling, tokenized_length
from tanzaku.encoders.tokens import tokenize
from tanzaku.errors import CheckpointError
from tanzaku.methods import METHODS, EncoderMethod
from tanzaku.training.batches import Batch, LabelledTokens, epoch_order
from tanzaku.training.checkpoint import Checkpoints
from tanzaku.training.evaluation import evaluate
from tanzaku.training.events import (
    CheckpointPassedOver,
    EpochDone,
    Event,
    Interrupted,
    Resumed,
    StepDone,
    Stopped,
    TrainingDone,
)
from tanzaku.training.forward import model_logits
from tanzaku.training.loop import Training
from tanzaku.training.optimizer import build_adamw
from tanzaku.training.schedule import Plateau, Schedule
from tanzaku.training.stopping import EarlyStopping
from tests.tiny import WORDS, make_documents

EPOCHS, BATCH, SEED, MAX_TOKENS = 3, 8, 5, 24
NAMES = sorted(WORDS)


def _split(encoder: Path, count: int, seed: int, *, pad: bool) -> LabelledTokens:
    tokenizer = load_tokenizer(resolve_encoder(str(encoder)))
    documents = make_documents(count, seed=seed)
    classes = np.array([NAMES.index(label) for label in documents.labels])
    tokens = tokenize(tokenizer, documents.texts, max_tokens=MAX_TOKENS)
    return LabelledTokens(tokens, classes, pad_id=tokenizer.pad_token_id, pad_to=MAX_TOKENS if pad else None)


def _model(encoder: Path, name: str, options: dict[str, Any]) -> nn.Module:
    loaded = load_classifier(resolve_encoder(str(encoder)), label_names=NAMES, seed=SEED)
    method = METHODS[name].model_validate(options)
    assert isinstance(method, EncoderMethod)
    torch.manual_seed(SEED)
    return method.attach(loaded.model, head=loaded.head)


def _training(model: nn.Module, train: LabelledTokens, val: LabelledTokens, **changes: Any) -> Training:
    settings: dict[str, Any] = {
        "optimizer": build_adamw(model, learning_rate=changes.pop("learning_rate", 1e-3)),
        "stopping": EarlyStopping(patience=2, threshold=0.005),
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "eval_batch_size": 7,
        "max_grad_norm": 1.0,
        "seed": SEED,
        "log_steps": 2,
    }
    return Training(model=model, train=train, val=val, **settings | changes)


class _InOurOrder(Trainer):
    """`Trainer` on documents laid out epoch after epoch in our order: its own shuffling is the one thing changed."""

    def _get_train_sampler(self, *arguments: Any, **options: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class _EpochData(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """The rows of a split, padded to the full length; in training, row i of epoch e is that of our order."""

    def __init__(self, split: LabelledTokens, *, shuffled: bool) -> None:
        self.split, self.shuffled, self.asked = split, shuffled, 0

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        if self.shuffled:
            epoch = 1 + self.asked // len(self)
            self.asked += 1
            row = int(epoch_order(len(self), seed=SEED, epoch=epoch)[row])
        batch = self.split.batch([row])
        return {"input_ids": batch.input_ids[0], "attention_mask": batch.attention_mask[0], "labels": batch.labels[0]}


class _Losses(TrainerCallback):
    def __init__(self) -> None:
        self.train: list[float] = []
        self.val: list[float] = []
        self.rates: list[float] = []

    def on_log(self, arguments: Any, state: Any, control: Any, logs: dict[str, float], **rest: Any) -> None:
        if "loss" in logs:
            self.train.append(logs["loss"])
            self.rates.append(logs["learning_rate"])
        if "eval_loss" in logs:
            self.val.append(logs["eval_loss"])


def _run_trainer(model: nn.Module, train: LabelledTokens, val: LabelledTokens, folder: Path, rate: float) -> _Losses:
    arguments = TrainingArguments(
        output_dir=str(folder),
        eval_strategy="epoch",
        save_strategy="epoch",
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=BATCH,
        logging_steps=1,
        learning_rate=rate,
        load_best_model_at_end=True,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        logging_nan_inf_filter=False,
    )
    losses = _Losses()
    trainer = _InOurOrder(
        model=model,
        args=arguments,
        train_dataset=_EpochData(train, shuffled=True),
        eval_dataset=_EpochData(val, shuffled=False),
        callbacks=[EarlyStoppingCallback(2, 0.005), losses],
    )
    trainer.train()
    return losses


@pytest.mark.filterwarnings("default")  # what Trainer and accelerate warn of is theirs
@pytest.mark.parametrize(
    ("name", "options", "rate"),
    [("full", {}, 2e-3), ("head", {}, 2e-2), ("lora", {"rank": 4, "dropout": 0.0}, 1e-2), ("full", {}, 5e-2)],
)
def test_takes_the_steps_that_trainer_takes(
    tiny_encoder: Path, tmp_path: Path, name: str, options: dict[str, Any], rate: float
) -> None:
    # 44 documents: the last batch of an epoch is smaller than the others. The highest rate makes the validation loss
    # rise again, so that the best epoch is not the last.
    train, val = _split(tiny_encoder, 44, 1, pad=True), _split(tiny_encoder, 18, 2, pad=True)
    reference = _model(tiny_encoder, name, options)
    losses = _run_trainer(reference, train, val, tmp_path, rate)

    ours = _model(tiny_encoder, name, options)
    events = list(_training(ours, train, val, learning_rate=rate).run())
    steps = [event for event in events if isinstance(event, StepDone)]
    epochs = [event.result for event in events if isinstance(event, EpochDone)]

    # The same operations in the same order: what is left is the rounding of batched against single evaluation.
    assert [step.loss for step in steps] == pytest.approx(losses.train, rel=1e-4, abs=1e-5)
    assert [epoch.val_loss for epoch in epochs] == pytest.approx(losses.val, rel=1e-4, abs=1e-5)
    assert [step.learning_rate for step in steps] == pytest.approx(losses.rates, rel=1e-6)
    theirs = dict(reference.named_parameters())
    for key, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter, theirs[key], rtol=1e-3, atol=2e-5)


def test_padding_changes_nothing(tiny_encoder: Path) -> None:
    model = _model(tiny_encoder, "full", {})
    logits = []
    for pad in (True, False):
        progress = evaluate(model, _split(tiny_encoder, 20, 3, pad=pad), batch_size=6)
        logits.append(_result(progress).logits)
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-5)


def _result(progress: Any) -> Any:
    while True:
        try:
            next(progress)
        except StopIteration as finished:
            return finished.value


def test_restores_the_best_epoch(tiny_encoder: Path) -> None:
    train, val = _split(tiny_encoder, 24, 1, pad=False), _split(tiny_encoder, 18, 2, pad=False)
    model = _model(tiny_encoder, "full", {})
    events = list(_training(model, train, val, learning_rate=3e-2, epochs=6, stopping=EarlyStopping(None)).run())
    done = events[-1]
    assert isinstance(done, TrainingDone)
    losses = [epoch.val_loss for epoch in done.history]
    assert done.best_epoch == 1 + int(np.argmin(losses))
    assert done.best_epoch < 6, "the rate is meant to be too high: the best epoch must not be the last"
    assert _result(evaluate(model, val, batch_size=7)).loss == pytest.approx(min(losses), rel=1e-6)


def test_by_accuracy_another_epoch_is_restored(tiny_encoder: Path) -> None:
    train, val = _split(tiny_encoder, 24, 1, pad=False), _split(tiny_encoder, 18, 2, pad=False)
    model = _model(tiny_encoder, "full", {})
    settings = {"learning_rate": 3e-2, "epochs": 6, "stopping": EarlyStopping(None), "best_by": "accuracy"}
    done = list(_training(model, train, val, **settings).run())[-1]
    assert isinstance(done, TrainingDone)
    highest = max(epoch.val_accuracy for epoch in done.history)
    error = math.sqrt(highest * (1 - highest) / len(val))
    best = [epoch for epoch in done.history if epoch.val_accuracy >= highest - error][-1]
    assert done.best_epoch == best.epoch
    assert best.val_loss > min(epoch.val_loss for epoch in done.history), "the loss is meant to choose another epoch"
    found = _result(evaluate(model, val, batch_size=7))
    assert np.mean(found.logits.argmax(axis=1) == val.classes) == best.val_accuracy
    assert found.loss == pytest.approx(best.val_loss, rel=1e-6)


def test_the_schedule_moves_every_groups_rate_and_the_history_shows_them(tiny_encoder: Path) -> None:
    train, val = _split(tiny_encoder, 24, 1, pad=False), _split(tiny_encoder, 18, 2, pad=False)
    model = _model(tiny_encoder, "lora", {"rank": 2})
    optimizer = build_adamw(
        model,
        learning_rate=1e-3,
        group_of=lambda name: "lora_b" if "lora_B" in name else "head" if "classifier" in name else "other",
        group_rates={"lora_b": 8e-3, "head": 5e-2},
    )
    used = []

    def remember(*_: Any) -> None:
        used.append({group["name"]: group["lr"] for group in optimizer.param_groups})

    optimizer.register_step_pre_hook(remember)
    events = list(_training(model, train, val, optimizer=optimizer, learning_rate=1e-3).run())
    factors = [(9 - step) / 9 for step in range(10)]
    for rates, factor in zip(used, factors, strict=False):
        assert rates == pytest.approx({"": 1e-3 * factor, "lora_b": 8e-3 * factor, "head": 5e-2 * factor})
    assert [e.learning_rate for e in events if isinstance(e, StepDone)] == [rates[""] for rates in used]
    results = [event.result for event in events if isinstance(event, EpochDone)]
    assert [result.learning_rate for result in results] == pytest.approx([1e-3 * factors[3 * n] for n in (1, 2, 3)])
    for number, result in enumerate(results, start=1):
        factor = factors[3 * number]
        assert result.group_learning_rates == pytest.approx({"lora_b": 8e-3 * factor, "head": 5e-2 * factor})


def test_every_step_has_the_rate_that_the_schedule_says(tiny_encoder: Path) -> None:
    train, val = _split(tiny_encoder, 24, 1, pad=False), _split(tiny_encoder, 18, 2, pad=False)
    schedule = Schedule("cosine", warmup=0.3)
    optimizer = build_adamw(model := _model(tiny_encoder, "head", {}), learning_rate=1e-3)
    used = []

    def remember(*_: Any) -> None:
        used.append(optimizer.param_groups[0]["lr"])

    optimizer.register_step_pre_hook(remember)
    events = list(_training(model, train, val, optimizer=optimizer, learning_rate=1e-3, schedule=schedule).run())
    expected = [1e-3 * schedule.factor(step, total_steps=9) for step in range(10)]
    assert used == [e.learning_rate for e in events if isinstance(e, StepDone)] == expected[:9]
    assert [e.result.learning_rate for e in events if isinstance(e, EpochDone)] == expected[3::3]


def test_stops_early_and_says_so(tiny_encoder: Path) -> None:
    train, val = _split(tiny_encoder, 24, 1, pad=False), _split(tiny_encoder, 18, 2, pad=False)
    model = _model(tiny_encoder, "head", {})
    stopping = EarlyStopping(patience=1, threshold=1e9)
    done = list(_training(model, train, val, epochs=9, stopping=stopping).run())[-1]
    assert isinstance(done, TrainingDone)
    assert done.stopped_early
    assert len(done.history) == 2  # the first counts as an improvement, the second can't


@pytest.mark.parametrize(("name", "plateau"), [("full", True), ("lora", False)])
@pytest.mark.parametrize("stop_after", [1, 3, 6, 7, 12])
def test_resumes_bit_identical(
    tiny_masked_encoder: Path, tmp_path: Path, name: str, plateau: bool, stop_after: int
) -> None:
    train, val = _split(tiny_masked_encoder, 44, 1, pad=False), _split(tiny_masked_encoder, 18, 2, pad=False)

    def trained(folder: Path, stop_after: int | None = None) -> tuple[nn.Module, list[Event]]:
        model = _model(tiny_masked_encoder, name, {})
        checkpoints = Checkpoints(folder, identity="run")
        events: list[Event] = []

        def should_stop() -> bool:
            return sum(isinstance(event, StepDone) for event in events) == stop_after

        try:
            # Nothing counts as an improvement: the rate is reduced after the second epoch and after the third.
            changes = {"schedule": Schedule("plateau"), "plateau": Plateau(0.1, 0, 1e9)} if plateau else {}
            training = _training(model, train, val, checkpoints=checkpoints, should_stop=should_stop, **changes)
            for event in training.run():
                events.append(event)
        except Interrupted:
            pass
        return model, events

    undisturbed, events = trained(tmp_path / "one")
    _, before = trained(tmp_path / "two", stop_after)
    assert before[-1] == Stopped(stop_after)
    torch.manual_seed(999)  # whatever the global generator was at, the checkpoint's state counts
    resumed, after = trained(tmp_path / "two")
    (resumption,) = (event for event in after if isinstance(event, Resumed))
    assert resumption.step == stop_after
    assert list(resumption.history) == [event.result for event in before if isinstance(event, EpochDone)]
    for (key, parameter), (_, other) in zip(undisturbed.named_parameters(), resumed.named_parameters(), strict=True):
        assert torch.equal(parameter, other), key
    one, two = events[-1], after[-1]
    assert isinstance(one, TrainingDone)
    assert isinstance(two, TrainingDone)
    assert one.curve == two.curve == tuple((step, round(loss, 6)) for step, loss in one.curve)
    assert [(e.train_loss, e.val_loss, e.val_accuracy, e.learning_rate) for e in one.history] == [
        (e.train_loss, e.val_loss, e.val_accuracy, e.learning_rate) for e in two.history
    ]
    rates = [e.learning_rate for e in one.history]
    assert rates == pytest.approx([1e-3, 1e-4, 1e-5] if plateau else [1e-3 * 12 / 18, 1e-3 * 6 / 18, 0.0])
    assert (one.best_epoch, two.resumptions) == (two.best_epoch, 1)


@pytest.mark.gpu
@pytest.mark.parametrize(("name", "options"), [("full", {}), ("lora", {}), ("qlora", {"bits": 4})])
def test_resumes_on_a_gpu(tiny_masked_encoder: Path, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    train, val = _split(tiny_masked_encoder, 44, 1, pad=False), _split(tiny_masked_encoder, 18, 2, pad=False)

    def trained(folder: Path, stop_after: int | None = None) -> list[Event]:
        model = _model(tiny_masked_encoder, name, options).to("cuda")
        events: list[Event] = []

        def should_stop() -> bool:
            return sum(isinstance(event, StepDone) for event in events) == stop_after

        checkpoints = Checkpoints(folder, identity="run")
        training = _training(model, train, val, checkpoints=checkpoints, should_stop=should_stop)
        with contextlib.suppress(Interrupted):
            for event in training.run():
                events.append(event)
        return events

    undisturbed = trained(tmp_path / "one")[-1]
    trained(tmp_path / "two", 7)
    torch.manual_seed(999)
    after = trained(tmp_path / "two")
    assert [event.step for event in after if isinstance(event, Resumed)] == [7]
    assert isinstance(undisturbed, TrainingDone)
    assert isinstance(after[-1], TrainingDone)
    # A GPU adds up gradients of embeddings in any order, so the last digits may differ.
    for one, two in zip(undisturbed.history, after[-1].history, strict=True):
        assert two.train_loss == pytest.approx(one.train_loss, rel=1e-3)
        assert two.val_loss == pytest.approx(one.val_loss, rel=1e-3)


def test_a_damaged_newest_checkpoint_is_said_and_the_one_before_is_used(tiny_encoder: Path, tmp_path: Path) -> None:
    train, val = _split(tiny_encoder, 24, 1, pad=False), _split(tiny_encoder, 18, 2, pad=False)
    checkpoints = Checkpoints(tmp_path, identity="run")
    events = list(_training(_model(tiny_encoder, "head", {}), train, val, checkpoints=checkpoints).run())
    newest = max(tmp_path.glob("step-*"))
    (newest / "state.json").write_text(json.dumps({}), encoding="utf-8")
    again = list(_training(_model(tiny_encoder, "head", {}), train, val, checkpoints=checkpoints).run())
    assert isinstance(again[0], CheckpointPassedOver)
    assert isinstance(again[1], Resumed)
    assert again[1].step == 6  # two of three epochs of three steps
    assert again[-1].history[-1].val_loss == events[-1].history[-1].val_loss  # type: ignore[union-attr]


def test_a_checkpoint_of_another_version_is_an_error_with_a_remedy(tiny_encoder: Path, tmp_path: Path) -> None:
    train, val = _split(tiny_encoder, 24, 1, pad=False), _split(tiny_encoder, 18, 2, pad=False)
    checkpoints = Checkpoints(tmp_path, identity="run")
    list(_training(_model(tiny_encoder, "head", {}), train, val, checkpoints=checkpoints).run())
    newest, _ = checkpoints.newest()
    assert newest is not None
    lacking = {name: value for name, value in newest.state.items() if name != "stopping"}
    for state in (lacking, newest.state | {"of_a_later_version": 1}):
        checkpoints.save(newest.step, tensors=newest.tensors, state=state)
        with pytest.raises(CheckpointError, match=r"has other contents than .* remove the folder to start over"):
            list(_training(_model(tiny_encoder, "head", {}), train, val, checkpoints=checkpoints).run())


def test_a_loss_that_is_no_number_ends_the_run(tiny_encoder: Path) -> None:
    train, val = _split(tiny_encoder, 24, 1, pad=False), _split(tiny_encoder, 18, 2, pad=False)
    model = _model(tiny_encoder, "full", {})
    with pytest.raises(FloatingPointError, match="smaller learning rate"):
        list(_training(model, train, val, learning_rate=1e30).run())


def test_one_forward_serves_training_and_evaluation(tiny_encoder: Path) -> None:
    train, val = _split(tiny_encoder, 24, 1, pad=False), _split(tiny_encoder, 18, 2, pad=False)
    asked: list[tuple[bool, int]] = []

    def forward(model: nn.Module, batch: Batch) -> torch.Tensor:
        asked.append((model.training, len(batch)))
        return model_logits(model, batch)

    theirs, ours = _model(tiny_encoder, "full", {}), _model(tiny_encoder, "full", {})
    expected = list(_training(theirs, train, val, epochs=1).run())
    found = list(_training(ours, train, val, epochs=1, forward=forward).run())
    assert asked == [(True, 8), (True, 8), (True, 8), (False, 7), (False, 7), (False, 4)]
    assert [e.loss for e in found if isinstance(e, StepDone)] == [e.loss for e in expected if isinstance(e, StepDone)]
    for parameter, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(parameter, other)


def _long_split(encoder: Path, long_text: LongText, *, max_tokens: int) -> LabelledTokens:
    tokenizer = load_tokenizer(resolve_encoder(str(encoder)))
    documents = make_documents(14, seed=4)
    classes = np.array([NAMES.index(label) for label in documents.labels])
    tokens = tokenize(tokenizer, documents.texts, max_tokens=tokenized_length(long_text, max_tokens=max_tokens))
    return LabelledTokens(tokens, classes, pad_id=0, long_text=long_text, max_tokens=max_tokens)


def _pooled(encoder: Path, pooling: Pooling, long_text: LongText) -> nn.Module:
    source = resolve_encoder(str(encoder))
    model: nn.Module = load_classifier(source, label_names=NAMES, seed=SEED, pooling=pooling, long_text=long_text).model
    return model


@pytest.mark.parametrize("pooling", ["cls", "mean", "mean+max"])
def test_documents_that_fit_have_the_same_logits_however_long_ones_are_read(
    tiny_encoder: Path, pooling: Pooling
) -> None:
    ways: tuple[LongText, ...] = ("head", "head+tail", "windows")
    logits = [
        _result(
            evaluate(_pooled(tiny_encoder, pooling, way), _long_split(tiny_encoder, way, max_tokens=40), batch_size=4)
        ).logits
        for way in ways
    ]
    np.testing.assert_allclose(logits[1], logits[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(logits[2], logits[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean", "mean+max"])
def test_windows_of_a_split_are_averaged(tiny_encoder: Path, pooling: Pooling) -> None:
    model = _pooled(tiny_encoder, pooling, "windows")
    split = _long_split(tiny_encoder, "windows", max_tokens=8)
    batch = split.batch(range(len(split)))
    assert batch.documents is not None
    assert len(batch.input_ids) > 20, "too few documents are long"
    with torch.no_grad():
        # The head is linear: the mean of the windows' logits is the logits of the windows' mean.
        apart = model.eval()(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.numpy()
    numbers = batch.documents.numpy()
    expected = np.stack([apart[numbers == document].mean(axis=0) for document in range(len(split))])
    for batch_size in (1, 5, 100):
        found = _result(evaluate(model, split, batch_size=batch_size)).logits
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_learns_from_windows(tiny_encoder: Path) -> None:
    train, val = (_long_split(tiny_encoder, "windows", max_tokens=8) for _ in range(2))
    model = _pooled(tiny_encoder, "mean", "windows")
    done = list(_training(model, train, val, epochs=12, learning_rate=5e-3, stopping=EarlyStopping(None)).run())[-1]
    assert isinstance(done, TrainingDone)
    assert done.history[-1].val_loss < 0.5 * done.history[0].val_loss
