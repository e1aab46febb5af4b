"""Processes that train together take the steps that one process takes with the whole batch."""

import os
import traceback
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tanzaku.encoders.tokens import TokenizedDocuments
from tanzaku.methods.interface import StepHooks
from tanzaku.training.batches import UNLABELLED, Batch, LabelledTokens
from tanzaku.training.checkpoint import Checkpoints
from tanzaku.training.events import EpochDone, Interrupted, StepDone, TrainingDone
from tanzaku.training.loop import Training
from tanzaku.training.losses import SoftLabelLoss
from tanzaku.training.optimizer import build_adamw
from tanzaku.training.peers import Peers, joined
from tanzaku.training.stopping import EarlyStopping

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

LABELS, WORDS, PROCESSES = 3, 20, 2
# 2 batches of 8 and one of 1, which leaves a process without a document; processes sum in another order than one does.
DOCUMENTS, BATCH, TOLERANCE = 17, 8, 1e-6


class _Bag(nn.Module):
    """The mean of a document's token vectors, dropout, and a linear head; and a parameter without a gradient."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.vectors, self.head = nn.Embedding(WORDS, 6), nn.Linear(6, LABELS)
        self.dropout, self.unused = nn.Dropout(dropout), nn.Parameter(torch.ones(4))


def _forward(model: nn.Module, batch: Batch) -> torch.Tensor:
    assert isinstance(model, _Bag)
    weights = batch.attention_mask.unsqueeze(2) / batch.attention_mask.sum(dim=1, keepdim=True).unsqueeze(2)
    logits: torch.Tensor = model.head(model.dropout((model.vectors(batch.input_ids) * weights).sum(dim=1)))
    return logits


class _Penalty(StepHooks):
    def penalty(self, model: nn.Module) -> torch.Tensor:
        assert isinstance(model, _Bag)
        return 0.1 * model.head.weight.square().sum()


def _split(count: int, seed: int) -> LabelledTokens:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 9, count)
    ids = random.integers(1, WORDS, lengths.sum()).astype(np.int32)
    tokens = TokenizedDocuments(ids, np.concatenate([[0], lengths.cumsum()]))
    return LabelledTokens(tokens, random.integers(0, LABELS, count), pad_id=0)


def _training(peers: Peers, *, dropout: float = 0.0, soft: bool = False, **changes: Any) -> Training:
    torch.manual_seed(3)
    model, train = _Bag(dropout), _split(DOCUMENTS, 1)
    if not peers.is_first:
        torch.manual_seed(100 + peers.number)  # for dropout, as `prepare_training` does
    if soft:
        random = np.random.default_rng(5)
        classes = np.where(random.random(DOCUMENTS) < 0.4, UNLABELLED, train.classes)
        logits = random.normal(size=(DOCUMENTS, LABELS)).astype(np.float32)
        weights = random.random(DOCUMENTS).astype(np.float32)
        train = replace(train, classes=classes, soft=logits, weights=weights)
    settings: dict[str, Any] = {
        "optimizer": build_adamw(model, learning_rate=0.05),
        "stopping": EarlyStopping(patience=5, threshold=0.0),
        "epochs": 3,
        "batch_size": BATCH,
        "eval_batch_size": 3,
        "max_grad_norm": 0.5,
        "seed": 4,
        "log_steps": 2,
        "forward": _forward,
        "soft_labels": SoftLabelLoss(temperature=2.0, weight=0.3) if soft else None,
        "peers": peers,
    }
    return Training(model=model, train=train, val=_split(11, 2), **settings | changes)


def _outcome(training: Training) -> dict[str, Any]:
    """The losses and the weights at the end."""
    outcome: dict[str, Any] = {"losses": [], "val": []}
    for event in training.run():
        match event:
            case StepDone(loss=loss):
                outcome["losses"].append(loss)
            case EpochDone(result=result):
                outcome["val"].append((result.val_loss, result.val_accuracy, result.train_loss))
            case TrainingDone(best_epoch=best, resumptions=resumptions, curve=curve):
                outcome |= {"best": best, "resumptions": resumptions, "curve": curve}
    return outcome | {"weights": {name: one.detach().numpy() for name, one in training.model.named_parameters()}}


def _together(work: Callable[..., Any], folder: Path, *arguments: Any, processes: int = PROCESSES) -> list[Any]:
    """What the function returns in each of several processes that have joined."""
    context = get_context("fork")  # the function and its arguments need not be found again
    ends = []
    store = folder / f"store-{len(list(folder.iterdir()))}"
    for number in range(processes):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_begin, args=(work, number, processes, store, theirs, arguments))
        process.start()
        theirs.close()
        ends.append((process, ours))
    results = []
    for process, ours in ends:
        result = ours.recv()
        process.join()
        assert not isinstance(result, str), result
        results.append(result)
    return results


def _begin(work: Any, number: int, processes: int, store: Path, pipe: Any, arguments: Any) -> None:
    try:
        torch.set_num_threads(1)
        with joined(number, processes, store=store) as peers:
            pipe.send(work(peers, *arguments))
    except BaseException:
        pipe.send(traceback.format_exc())
    os._exit(0)  # without the end of the tests' process


def _train(peers: Peers, settings: dict[str, Any]) -> dict[str, Any]:
    return _outcome(_training(peers, **settings))


def _assert_close(outcome: dict[str, Any], expected: dict[str, Any]) -> None:
    for name in ("losses", "val", "curve"):
        np.testing.assert_allclose(outcome[name], expected[name], atol=TOLERANCE)
    assert outcome["best"] == expected["best"]
    for name, weight in expected["weights"].items():
        np.testing.assert_allclose(
            outcome["weights"][name], weight, atol=20 * TOLERANCE
        )  # Adam divides by small numbers


def _assert_equal(outcome: dict[str, Any], expected: dict[str, Any]) -> None:
    assert {name: outcome[name] for name in ("losses", "val", "curve", "best")} == {
        name: expected[name] for name in ("losses", "val", "curve", "best")
    }
    for name, weight in expected["weights"].items():
        assert np.array_equal(outcome["weights"][name], weight)


@pytest.mark.parametrize("settings", [{}, {"soft": True}, {"hooks": _Penalty()}], ids=["labels", "soft", "penalty"])
def test_the_losses_are_those_of_one_process_with_the_whole_batch(settings: dict[str, Any], tmp_path: Path) -> None:
    first, second = _together(_train, tmp_path, settings)
    _assert_equal(second, first)
    _assert_close(first, _train(Peers(), settings))


def test_three_processes_with_fewer_documents_than_processes_agree(tmp_path: Path) -> None:
    outcomes = _together(_train, tmp_path, {"batch_size": 5}, processes=3)
    for outcome in outcomes[1:]:
        _assert_equal(outcome, outcomes[0])
    _assert_close(outcomes[0], _train(Peers(), {"batch_size": 5}))


def _train_in_parts(peers: Peers, folder: Path, stops: tuple[int, ...]) -> dict[str, Any]:
    """Train with dropout; only one process is asked to stop, at the given calls of `should_stop` of its own."""
    settings: dict[str, Any] = {"dropout": 0.3, "checkpoints": Checkpoints(folder, identity="r")}
    for stop in stops:
        calls = iter(range(1, 1000))
        last = peers.number == peers.count - 1
        asked = (lambda: next(calls) == stop) if last else (lambda: False)  # noqa: B023 - used in this turn only
        with pytest.raises(Interrupted):
            _outcome(_training(peers, should_stop=asked, **settings))
        peers.any(False)  # all have stopped before one begins to read
    return _outcome(_training(peers, **settings))


@pytest.mark.parametrize("stops", [(2,), (5, 1), (9,)], ids=["step", "evaluation and step", "second epoch"])
def test_resumes_bit_by_bit_with_the_dropout_of_every_process(stops: tuple[int, ...], tmp_path: Path) -> None:
    whole, _ = _together(_train, tmp_path, {"dropout": 0.3})
    parts, other = _together(_train_in_parts, tmp_path, tmp_path / "checkpoints", stops)
    assert parts["resumptions"] == len(stops)
    assert np.array_equal(parts["weights"]["head.weight"], whole["weights"]["head.weight"])
    assert parts["val"][-1] == whole["val"][-1]
    assert parts["curve"] == whole["curve"]
    assert np.array_equal(other["weights"]["head.weight"], whole["weights"]["head.weight"])


def test_another_number_of_processes_can_resume(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", identity="r")
    calls = iter(range(1, 1000))
    stopped = _training(Peers(), checkpoints=checkpoints, should_stop=lambda: next(calls) == 2)
    with pytest.raises(Interrupted):
        _outcome(stopped)
    resumed, _ = _together(_train, tmp_path, {"checkpoints": checkpoints})
    whole = _train(Peers(), {})
    np.testing.assert_allclose(resumed["val"], whole["val"], atol=TOLERANCE)
    assert resumed["resumptions"] == 1


def test_dropout_differs_between_the_processes(tmp_path: Path) -> None:
    def drawn(peers: Peers) -> np.ndarray:
        model = _training(peers, dropout=0.5).model
        assert isinstance(model, _Bag)
        drawn: np.ndarray = model.dropout(torch.ones(64)).numpy()
        return drawn

    first, second = _together(drawn, tmp_path)
    assert not np.array_equal(first, second)
