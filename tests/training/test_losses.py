"""The loss of soft labels, against the paper's formula."""

import torch
from torch.nn import functional

from tanzaku.training.batches import UNLABELLED, Batch
from tanzaku.training.losses import SoftLabelLoss, batch_loss

_GENERATOR = torch.Generator().manual_seed(0)
_LOGITS, _SOFT = torch.randn(5, 3, generator=_GENERATOR), torch.randn(5, 3, generator=_GENERATOR)
_LABELS = torch.tensor([0, 2, UNLABELLED, 1, UNLABELLED])
_LABELLED = [0, 1, 3]


def _batch(labels: torch.Tensor = _LABELS, **parts: torch.Tensor) -> Batch:
    ids = torch.zeros(len(labels), 2, dtype=torch.int64)
    return Batch(ids, ids + 1, labels, **parts)


def _divergence(temperature: float) -> torch.Tensor:
    """Hinton's sum, written out: (documents,)."""
    theirs, ours = (_SOFT / temperature).softmax(dim=1), (_LOGITS / temperature).softmax(dim=1)
    return (theirs * (theirs / ours).log()).sum(dim=1)


def test_labels_and_soft_labels_share_the_loss() -> None:
    labels = functional.cross_entropy(_LOGITS[_LABELLED], _LABELS[_LABELLED])
    expected = 0.3 * labels + 0.7 * 4.0 * _divergence(2.0).mean()
    found = batch_loss(_LOGITS, _batch(soft=_SOFT), SoftLabelLoss(temperature=2.0, weight=0.7))
    torch.testing.assert_close(found, expected)
    found = batch_loss(_LOGITS, _batch(soft=_SOFT), SoftLabelLoss(temperature=3.0, weight=1.0))
    torch.testing.assert_close(found, 9.0 * _divergence(3.0).mean())


def test_a_batch_may_have_no_label() -> None:
    labels = torch.full((5,), UNLABELLED)
    found = batch_loss(_LOGITS, _batch(labels, soft=_SOFT), SoftLabelLoss(temperature=1.0, weight=0.5))
    torch.testing.assert_close(found, 0.5 * _divergence(1.0).mean())


def test_weights_count_in_both_parts() -> None:
    weights = torch.tensor([0.5, 1.5, 1.0, 2.0, 1.0])
    each = functional.cross_entropy(_LOGITS[_LABELLED], _LABELS[_LABELLED], reduction="none")
    expected = 0.5 * (each * weights[_LABELLED]).mean() + 0.5 * (_divergence(1.0) * weights).mean()
    found = batch_loss(_LOGITS, _batch(soft=_SOFT, weights=weights), SoftLabelLoss(temperature=1.0, weight=0.5))
    torch.testing.assert_close(found, expected)
    labels = torch.tensor([0, 2, 0, 1, 1])
    plain = (functional.cross_entropy(_LOGITS, labels, reduction="none") * weights).mean()
    torch.testing.assert_close(batch_loss(_LOGITS, _batch(labels, weights=weights)), plain)


def test_the_gradient_vanishes_where_the_model_is_the_teacher() -> None:
    logits = _SOFT.clone().requires_grad_(True)
    batch_loss(logits + 5, _batch(soft=_SOFT), SoftLabelLoss(temperature=2.0, weight=1.0)).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), rtol=0, atol=1e-6)
