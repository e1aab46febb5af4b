"""Where a profile says that the time goes."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from benchmarks.clock import KINDS, OTHER, ProfilingClock, kinds_of


def test_kinds_share_all_the_time_and_the_products_have_a_speed() -> None:
    clock = ProfilingClock()
    one, other = torch.randn(300, 200), torch.randn(200, 400)
    norm = nn.LayerNorm(400)
    clock.begin()
    product = one @ other
    functional.gelu(norm(product))
    clock.end()
    kinds = {kind["kind"]: kind for kind in clock.kinds()}
    assert sum(kind["share"] for kind in kinds.values()) == pytest.approx(1)
    assert {"products with weights", "normalisation", "GELU"} <= set(kinds) <= {*KINDS, OTHER}
    # 2·300·200·400 operations, in less than the whole time between begin and end.
    assert kinds["products with weights"]["gflops"] > 2 * 300 * 200 * 400 / clock.seconds / 1e9
    assert kinds["GELU"]["gflops"] is None


def test_what_is_before_begin_and_after_end_does_not_count() -> None:
    clock = ProfilingClock()
    functional.gelu(torch.randn(10))
    clock.begin()
    torch.ones(10).sin()
    clock.end()
    functional.gelu(torch.randn(10))
    assert "GELU" not in {kind["kind"] for kind in clock.kinds()}


def test_nothing_profiled_has_no_kinds() -> None:
    assert kinds_of([], on_gpu=False) == []
