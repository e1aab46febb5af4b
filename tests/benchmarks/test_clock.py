"""Where a profile says that the time goes."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from benchmarks.clock import KINDS, OTHER, CountingClock, ProfilingClock, kinds_of


def test_kinds_share_all_the_time_and_the_products_have_a_speed() -> None:
    one, other = torch.randn(300, 200, requires_grad=True), torch.randn(200, 400)
    norm = nn.LayerNorm(400)
    profiling, counting = ProfilingClock(), CountingClock()
    for clock in (profiling, counting):
        clock.begin()
        functional.gelu(norm(one @ other)).sum().backward()
        clock.end()
    # Forward, and the gradient of the first matrix: the second has none.
    assert counting.flops() == {"aten::mm": 2 * 2 * 300 * 200 * 400}
    kinds = {kind["kind"]: kind for kind in kinds_of(profiling.own_seconds(), counting.flops())}
    assert sum(kind["share"] for kind in kinds.values()) == pytest.approx(1)
    assert {"products with weights", "normalisation", "GELU"} <= set(kinds) <= {*KINDS, OTHER}
    # All of it, in less than the whole time between begin and end.
    assert kinds["products with weights"]["gflops"] > 2 * 2 * 300 * 200 * 400 / profiling.seconds / 1e9
    assert kinds["GELU"]["gflops"] is None


def test_what_is_before_begin_and_after_end_does_not_count() -> None:
    for clock in (ProfilingClock(), CountingClock()):
        one = torch.randn(10, 10)
        one @ one
        clock.begin()
        torch.ones(10).sin()
        clock.end()
        one @ one
        found = clock.own_seconds() if isinstance(clock, ProfilingClock) else clock.flops()
        assert "aten::mm" not in found


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs oneDNN")
def test_products_of_onednn_are_products_with_weights_too() -> None:
    rows, weight, bias = torch.randn(30, 20), torch.randn(40, 20), torch.randn(40)
    profiling, counting = ProfilingClock(), CountingClock()
    for clock in (profiling, counting):
        clock.begin()
        torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
        clock.end()
    assert counting.flops() == {"mkldnn::_linear_pointwise": 2 * 30 * 20 * 40}
    (kind,) = (one for one in kinds_of(profiling.own_seconds(), counting.flops()) if one["gflops"])
    assert kind["kind"] == "products with weights"


def test_fused_attention_on_a_cpu_is_two_products_and_five_back() -> None:
    query, key, value = (torch.randn(1, 3, rows, 8, requires_grad=True) for rows in (40, 60, 60))
    profiling, counting = ProfilingClock(), CountingClock()
    for clock in (profiling, counting):
        clock.begin()
        functional.scaled_dot_product_attention(query, key, value).sum().backward()
        clock.end()
    product = 2 * 3 * 40 * 60 * 8
    kernel = "aten::_scaled_dot_product_flash_attention_for_cpu"
    assert counting.flops() == {kernel: 2 * product, f"{kernel}_backward": 5 * product}
    (kind,) = (one for one in kinds_of(profiling.own_seconds(), counting.flops()) if one["gflops"])
    assert kind["kind"] == "attention"


def test_shares_and_speeds_by_hand() -> None:
    seconds = {"aten::mm": 3.0, "aten::addmm": 1.0, "aten::bmm": 2.0, "aten::_softmax": 2.0, "aten::copy_": 2.0}
    flops = {"aten::mm": 6e9, "aten::addmm": 6e9, "aten::bmm": 5e9}
    assert kinds_of(seconds, flops) == [
        {"kind": "attention", "share": 0.4, "gflops": 2.5},
        {"kind": "products with weights", "share": 0.4, "gflops": 3.0},
        {"kind": "copies and casts", "share": 0.2, "gflops": None},
    ]
    assert kinds_of({}, {}) == []
