import pytest
import torch
from torch.nn import functional

from tanzaku.pretraining.cross_entropy import cross_entropy

ROWS, CLASSES = 37, 500


def _inputs(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    logits = 4 * torch.randn(ROWS, CLASSES, generator=random)
    return logits.to(dtype), torch.randint(CLASSES, (ROWS,), generator=random)


def _loss_and_gradient(
    function: object, logits: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    logits = logits.clone().requires_grad_()
    loss = 3 * function(logits, labels)  # type: ignore[operator]
    loss.backward()
    assert logits.grad is not None
    return loss.detach(), logits.grad


@pytest.mark.parametrize("shift", [0.0, 300.0])
def test_loss_and_gradient_are_pytorchs(shift: float) -> None:
    logits, labels = _inputs(torch.float32)
    expected = _loss_and_gradient(functional.cross_entropy, logits + shift, labels)
    found = _loss_and_gradient(cross_entropy, logits + shift, labels)
    # The same sums in float32; a common shift of 300 leaves the logits themselves three digits fewer.
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5 if shift == 0 else 1e-4, atol=1e-8)


@pytest.mark.parametrize("rows", [0, 4])
def test_without_labels_there_is_nothing_to_learn(rows: int) -> None:
    logits, labels = _inputs(torch.float32)
    loss, gradient = _loss_and_gradient(cross_entropy, logits[:rows], labels[:0])
    assert float(loss) == 0
    assert torch.equal(gradient, torch.zeros(rows, CLASSES))


def test_rows_after_the_labels_do_not_count() -> None:
    logits, labels = _inputs(torch.float32)
    expected_loss, expected = _loss_and_gradient(functional.cross_entropy, logits[:30], labels[:30])
    loss, gradient = _loss_and_gradient(cross_entropy, logits, labels[:30])
    torch.testing.assert_close(loss, expected_loss)
    torch.testing.assert_close(gradient[:30], expected, rtol=1e-5, atol=1e-8)
    assert (gradient[30:] == 0).all()


def test_bfloat16_costs_its_own_rounding_alone() -> None:
    logits, labels = _inputs(torch.bfloat16)
    expected_loss, expected = _loss_and_gradient(functional.cross_entropy, logits.float(), labels)
    loss, gradient = _loss_and_gradient(cross_entropy, logits, labels)
    assert (loss.dtype, gradient.dtype) == (torch.float32, torch.bfloat16)
    assert float(loss) == pytest.approx(float(expected_loss), rel=2e-3)
    # Eight bits, and some operations that each round.
    torch.testing.assert_close(gradient.float(), expected, rtol=3e-2, atol=1e-5)


def test_the_logits_are_left_as_they_are() -> None:
    logits, labels = _inputs(torch.float32)
    before = logits.clone()
    _loss_and_gradient(cross_entropy, logits, labels)
    assert torch.equal(logits, before)
