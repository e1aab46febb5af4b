"""Early stopping against the callback that it must count like."""

import json
import math
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import EarlyStoppingCallback, TrainerControl, TrainerState, TrainingArguments

from tanzaku.training.stopping import EarlyStopping, watched_value


def _reference(losses: list[float], patience: int, threshold: float, arguments: TrainingArguments) -> tuple[int, int]:
    """After how many epochs Trainer stops, and its best epoch."""
    callback = EarlyStoppingCallback(patience, threshold)
    state, control = TrainerState(), TrainerControl()
    best_epoch = 0
    for epoch, loss in enumerate(losses, start=1):
        callback.on_evaluate(arguments, state, control, metrics={"eval_loss": loss})
        # What Trainer._determine_best_metric does after the callbacks.
        best = math.inf if state.best_metric is None else state.best_metric
        if loss < best:
            state.best_metric, best_epoch = loss, epoch
        elif state.best_metric is None:
            state.best_metric = best
        if control.should_training_stop:
            return epoch, best_epoch
    return len(losses), best_epoch


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return SimpleNamespace(metric_for_best_model="loss", greater_is_better=False)


@given(
    losses=st.lists(st.sampled_from([0.1 * step for step in range(12)]) | st.floats(0, 3), min_size=1, max_size=15),
    patience=st.integers(1, 5),
    threshold=st.sampled_from([0.0, 0.005, 0.1, 0.3]),
)
def test_counts_as_the_callback_does(
    arguments: TrainingArguments, losses: list[float], patience: int, threshold: float
) -> None:
    stopping = EarlyStopping(patience, threshold)
    epochs = 0
    for epochs, loss in enumerate(losses, start=1):
        stopping.update(loss, epoch=epochs)
        if stopping.should_stop:
            break
    assert (epochs, stopping.best_epoch) == _reference(losses, patience, threshold, arguments)


def test_small_falls_move_the_best_but_use_up_patience() -> None:
    stopping = EarlyStopping(patience=2, threshold=0.1)
    assert stopping.update(1.0, epoch=1)
    assert stopping.update(0.95, epoch=2)
    assert not stopping.should_stop
    assert stopping.update(0.94, epoch=3)
    assert stopping.should_stop
    assert (stopping.best_epoch, stopping.best_value) == (3, 0.94)


def test_a_fall_by_just_the_threshold_uses_up_patience() -> None:
    stopping = EarlyStopping(patience=1, threshold=0.25)
    stopping.update(1.0, epoch=1)
    assert stopping.update(0.75, epoch=2)
    assert stopping.should_stop


def test_without_patience_it_never_stops() -> None:
    stopping = EarlyStopping(patience=None)
    for epoch in range(1, 50):
        stopping.update(1.0 + epoch, epoch=epoch)
    assert not stopping.should_stop
    assert stopping.best_epoch == 1


def _kept(accuracies: list[float], documents: int) -> tuple[list[int], EarlyStopping]:
    """The epochs that were the best so far, one after the other."""
    stopping = EarlyStopping(patience=2)
    values = [watched_value(loss=9.0, accuracy=accuracy, best_by="accuracy") for accuracy in accuracies]
    kept = [n for n, value in enumerate(values, start=1) if stopping.update(value, epoch=n, documents=documents)]
    return kept, stopping


def test_by_accuracy_the_latest_within_a_standard_error_is_the_best() -> None:
    accuracies = [0.5, 0.8, 0.77, 0.75, 0.78, 0.7]
    kept, stopping = _kept(accuracies, documents=100)  # the standard error of 80 % is 4 points
    assert (kept, stopping.best_epoch) == ([1, 2, 3, 5], 5)
    assert stopping.best_value == pytest.approx(0.2)
    assert stopping.epochs_without_improvement == 4, "patience counts from the most accurate epoch"
    assert _kept(accuracies, documents=300)[0] == [1, 2, 5]  # 2.3 points
    assert _kept([0.8, 0.76], documents=100)[0] == [1, 2], "by just the standard error, whatever the rounding"
    assert _kept(accuracies, documents=10_000)[0] == [1, 2]  # 0.4 points


def test_by_accuracy_the_latest_of_equals_is_the_best_also_without_an_error() -> None:
    assert _kept([0.9, 1.0, 1.0, 0.99], documents=100)[0] == [1, 2, 3]
    assert _kept([0.0, 0.0, 0.25], documents=4)[0] == [1, 2, 3]


@given(correct=st.lists(st.integers(0, 100), min_size=1, max_size=12))
@example(correct=[80, 76])
@example(correct=[90, 87])
def test_by_accuracy_the_best_epoch_is_that_of_the_whole_history(correct: list[int]) -> None:
    highest = max(correct)  # in whole numbers: at most √(h (100 − h) / 100) documents fewer
    within = [n for n, one in enumerate(correct, start=1) if 100 * (highest - one) ** 2 <= highest * (100 - highest)]
    assert _kept([one / 100 for one in correct], documents=100)[1].best_epoch == within[-1]


@given(st.lists(st.floats(0, 3), min_size=1, max_size=12))
def test_by_loss_the_best_epoch_is_the_first_of_the_least(losses: list[float]) -> None:
    stopping = EarlyStopping(patience=None)
    for epoch, loss in enumerate(losses, start=1):
        stopping.update(watched_value(loss=loss, accuracy=0.5, best_by="loss"), epoch=epoch)
    assert stopping.best_epoch == losses.index(min(losses)) + 1


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 1.5, 0.5, 0.7]])
def test_a_checkpoint_restores_all_that_decides(values: list[float]) -> None:
    stopping, restored = EarlyStopping(patience=2), EarlyStopping(patience=2)
    for epoch, value in enumerate(values, start=1):
        stopping.update(value, epoch=epoch)
    restored.restore(json.loads(json.dumps(stopping.state(), allow_nan=False)))
    assert restored == stopping
    for epoch, value in enumerate([0.6, 0.4, 0.8, 0.9], start=len(values) + 1):
        assert restored.update(value, epoch=epoch) == stopping.update(value, epoch=epoch)
        assert restored == stopping
