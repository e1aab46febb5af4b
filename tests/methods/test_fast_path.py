"""What the fast path does with each method: the same as transformers, or nothing."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tanzaku.encoders.fast import fast_forward
from tanzaku.training.batches import Batch
from tanzaku.training.forward import model_logits
from tests.methods.test_contract import ENCODER_METHODS, Case, _load, _method, _train_a_little, case_for


def _declined(options: dict[str, Any]) -> bool:
    """Whether transformers' own forward is taken: DoRA's is another one."""
    return bool(options.get("dora"))


def _batch() -> Batch:
    ids = torch.randint(5, 20, (4, 9), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    return Batch(ids * mask, mask, torch.tensor([0, 1, 2, 0]))


def _gradients(model: nn.Module, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
    model.zero_grad()
    nn.functional.cross_entropy(logits, batch.labels).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad and p.grad is not None}


@pytest.mark.parametrize(("name", "options"), ENCODER_METHODS)
def test_computes_what_transformers_computes_or_declines(
    tiny_encoder: Path, name: str, options: dict[str, Any]
) -> None:
    loaded = _load(case_for(name, tiny_encoder))
    model = _method(name, options).attach(loaded.model, head=loaded.head)
    _train_a_little(model)
    reference, batch = copy.deepcopy(model).eval(), _batch()
    forward = fast_forward(model.eval(), precision="float32")
    assert (forward is None) == _declined(options)
    if forward is None:
        return
    expected, found = model_logits(reference, batch), forward(model, batch)
    # Sums over some dozens of float32 terms in another order differ only by rounding.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    gradients = _gradients(model, found, batch)
    for key, gradient in _gradients(reference, expected, batch).items():
        torch.testing.assert_close(gradients[key], gradient, rtol=1e-4, atol=1e-5, msg=key)


def test_what_is_done_before_the_encoders_forward_is_left_to_transformers(tiny_encoder: Path) -> None:
    model = _load(Case(tiny_encoder)).model
    model.base_model.register_forward_pre_hook(lambda module, arguments: None)
    assert fast_forward(model, precision="float32") is None


@pytest.mark.parametrize(("name", "options"), ENCODER_METHODS)
def test_bfloat16_leaves_what_is_trained_in_float32(tiny_encoder: Path, name: str, options: dict[str, Any]) -> None:
    loaded = _load(case_for(name, tiny_encoder))
    model = _method(name, options).attach(loaded.model, head=loaded.head)
    _train_a_little(model)
    batch = _batch()
    expected = model_logits(copy.deepcopy(model).eval(), batch).detach()
    forward = fast_forward(model.eval(), precision="bfloat16")
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    if forward is None:
        return
    difference = (forward(model, batch) - expected).detach()
    # Eight binary digits: each of a dozen roundings is off by at most 1 in 256, and by chance they cancel.
    assert difference.norm() < 0.05 * expected.norm()
