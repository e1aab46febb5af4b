"""The cross-entropy over a vocabulary, without the copies that PyTorch's own makes."""

from typing import Any

import torch
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean negative log probability of the labels, in nats, float32, (); 0 where there are none.

    The logits of a masked language model are its largest tensor by far: here they are passed over in their own dtype,
    and what the forward pass leaves is the gradient itself, softmax(logits) minus the one-hot labels (Bridle 1990).
    PyTorch's own takes float32 logits, and log probabilities and a gradient of the same size in addition.

    Args:
        logits: (rows, classes), float32 or bfloat16; sums are float32. Rows after the labels' do not count.
        labels: (labels,) int64, at most as many as there are rows.
    """
    loss: Tensor = _CrossEntropy.apply(logits, labels)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        rows = torch.arange(len(labels), device=labels.device)
        share = 1 / max(1, len(labels))
        largest, places = (best[: len(labels)] for best in logits.max(dim=1))  # (labels,)
        gradient = torch.softmax(logits, dim=1)  # (rows, classes)
        # The largest probability is at least 1 / classes, so that its logarithm is safe where the label's may not be.
        log_total = largest.float() - gradient[rows, places].float().log()  # (labels,)
        loss = (log_total - logits[rows, labels].float()).sum() * share
        gradient *= share
        gradient[rows, labels] -= share
        gradient[len(labels) :] = 0
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad.to(gradient.dtype), None
