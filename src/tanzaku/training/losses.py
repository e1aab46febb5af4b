"""The loss of a batch: of its labels, and of a teacher's soft labels where there are any."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tanzaku.training.batches import UNLABELLED, Batch


@dataclass(frozen=True)
class SoftLabelLoss:
    """How soft labels count (Hinton, Vinyals and Dean 2015, arXiv 1503.02531, section 2).

    Args:
        temperature: Both distributions are the softmax of the logits divided by it.
        weight: Share of the loss that is of the soft labels.
    """

    temperature: float
    weight: float


def batch_loss(logits: Tensor, batch: Batch, soft: SoftLabelLoss | None = None) -> Tensor:
    """The loss, (), of logits (documents, labels).

    Without soft labels, the mean cross-entropy of the documents, each times its weight. With them, the documents that
    have a label count so with 1 - weight, and all documents with the weight times the Kullback-Leibler divergence from
    the teacher's distribution to the model's, times the squared temperature, which keeps the size of its gradient.
    """
    if soft is None or batch.soft is None:
        return _cross_entropy(logits, batch)
    ours, theirs = ((one / soft.temperature).log_softmax(dim=1) for one in (logits, batch.soft))
    divergences = functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=1)  # (documents,)
    divergence = soft.temperature**2 * _mean(divergences, batch.weights)
    if soft.weight == 1:
        return divergence
    return (1 - soft.weight) * _cross_entropy(logits, batch) + soft.weight * divergence


def _cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    if batch.soft is None and batch.weights is None:
        return functional.cross_entropy(logits, batch.labels)
    losses = functional.cross_entropy(logits, batch.labels, reduction="none", ignore_index=UNLABELLED)
    labelled = batch.labels != UNLABELLED
    # A batch may have no label at all.
    weighted = losses if batch.weights is None else losses * batch.weights
    return weighted.sum() / labelled.sum().clamp_min(1)


def _mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    return torch.mean(losses if weights is None else losses * weights)
