"""Schedules against those of transformers, and the plateau against PyTorch's."""

import json
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from transformers.optimization import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
    get_wsd_schedule,
)

from tanzaku.training.schedule import Plateau, Schedule, ScheduleName

_DECAY = 0.3


def _optimizer(rate: float = 1.0) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def _wsd(optimizer: torch.optim.Optimizer, warmup: int, total: int) -> LRScheduler:
    decay = min(math.ceil(_DECAY * total), total - warmup)
    schedule: LRScheduler = get_wsd_schedule(optimizer, warmup, decay, num_training_steps=total, decay_type="1-sqrt")
    return schedule


_THEIRS: dict[ScheduleName, Callable[[torch.optim.Optimizer, int, int], LRScheduler]] = {
    "linear": get_linear_schedule_with_warmup,
    "cosine": get_cosine_schedule_with_warmup,
    "constant": lambda optimizer, warmup, _: get_constant_schedule_with_warmup(optimizer, warmup),
    "wsd": _wsd,
}


@pytest.mark.parametrize("name", _THEIRS)
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.1, 0.66])
@pytest.mark.parametrize("total", [1, 2, 7, 60, 331])
def test_every_step_has_the_factor_of_transformers(name: ScheduleName, warmup: float, total: int) -> None:
    optimizer = _optimizer()
    theirs = _THEIRS[name](optimizer, math.ceil(warmup * total), total)
    ours = Schedule(name, warmup, _DECAY)
    # The rate after the last step is shown, and never used; where all steps are warm-up they need not agree on it.
    for step in range(total + (math.ceil(warmup * total) < total)):
        assert ours.factor(step, total_steps=total) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


@given(
    st.sampled_from(["linear", "cosine", "constant", "wsd", "plateau"]),
    st.floats(0, 0.99),
    st.floats(0.001, 1),
    st.integers(1, 400),
)
def test_it_rises_and_never_rises_again(name: ScheduleName, warmup: float, decay: float, total: int) -> None:
    factors = [Schedule(name, warmup, decay).factor(step, total_steps=total) for step in range(total + 1)]
    peak = factors.index(max(factors))
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert all(0 <= factor <= 1 for factor in factors)
    assert math.ceil(warmup * total) in (peak, total) or warmup == 0
    if name in ("linear", "cosine", "wsd"):
        assert factors[-1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["linear", "cosine", "constant", "wsd"])
@pytest.mark.parametrize("warmup", [0.0, 0.1])
def test_a_share_of_the_budget_has_the_factor_of_as_large_a_share_of_the_steps(
    name: ScheduleName, warmup: float
) -> None:
    schedule = Schedule(name, warmup, _DECAY)
    for step in range(101):
        assert schedule.factor_at(step / 100) == pytest.approx(schedule.factor(step, total_steps=100), abs=1e-12)


@pytest.mark.parametrize(
    ("progress", "linear", "cosine"),
    [(0.05, 0.5, 0.5), (0.1, 1.0, 1.0), (0.55, 0.5, 0.5), (0.325, 0.75, 0.853553), (1.0, 0.0, 0.0), (1.01, 0.0, 0.0)],
)
def test_the_factor_rises_and_falls_with_the_budget(progress: float, linear: float, cosine: float) -> None:
    assert Schedule("linear", 0.1).factor_at(progress) == pytest.approx(linear)
    assert Schedule("cosine", 0.1).factor_at(progress) == pytest.approx(cosine, abs=1e-6)


# Few values, so that equal losses and falls of just the threshold are among them.
_LOSSES = st.lists(st.integers(0, 20).map(lambda number: number / 8), max_size=40)


@given(_LOSSES, st.sampled_from([0.5, 0.1, 0.9]), st.integers(0, 4), st.sampled_from([0.0, 0.125, 0.5]))
def test_the_plateau_is_that_of_pytorch(losses: list[float], factor: float, patience: int, threshold: float) -> None:
    optimizer = _optimizer(3e-4)
    theirs = ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience, threshold=threshold, threshold_mode="abs", eps=0.0
    )
    ours = Plateau(factor, patience, threshold)
    for loss in losses:
        theirs.step(loss)
        ours.update(loss)
        assert 3e-4 * ours.reduction == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)


@given(_LOSSES, _LOSSES, st.integers(0, 3))
def test_a_restored_plateau_goes_on_as_the_one_that_was_saved(
    before: list[float], after: list[float], patience: int
) -> None:
    one, two = Plateau(0.1, patience), Plateau(0.1, patience)
    for loss in before:
        one.update(loss)
    two.restore(json.loads(json.dumps(one.state())))
    for loss in after:
        one.update(loss)
        two.update(loss)
    assert one == two
