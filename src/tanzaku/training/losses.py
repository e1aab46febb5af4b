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


@dataclass(frozen=True)
class Whole:
    """The sizes of a batch that several processes share: how many documents it has, and how many of them a label."""

    documents: int
    labelled: int


def batch_loss(
    logits: Tensor, batch: Batch, soft: SoftLabelLoss | None = None, *, whole: Whole | None = None
) -> Tensor:
    """The loss, (), of logits (documents, labels).

    Without soft labels, the mean cross-entropy of the documents, each times its weight. With them, the documents that
    have a label count so with 1 - weight, and all documents with the weight times the Kullback-Leibler divergence from
    the teacher's distribution to the model's, times the squared temperature, which keeps the size of its gradient.

    Where the documents are only a share of a batch, the losses of all shares of the `whole` add up to the batch's.
    """
    if soft is None or batch.soft is None:
        return _cross_entropy(logits, batch, whole)
    ours, theirs = ((one / soft.temperature).log_softmax(dim=1) for one in (logits, batch.soft))
    divergences = functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=1)  # (documents,)
    divergence = soft.temperature**2 * _mean(divergences, batch.weights, whole)
    if soft.weight == 1:
        return divergence
    return (1 - soft.weight) * _cross_entropy(logits, batch, whole) + soft.weight * divergence


def _cross_entropy(logits: Tensor, batch: Batch, whole: Whole | None) -> Tensor:
    if batch.soft is None and batch.weights is None and whole is None:
        return functional.cross_entropy(logits, batch.labels)
    losses = functional.cross_entropy(logits, batch.labels, reduction="none", ignore_index=UNLABELLED)
    labelled = batch.labels != UNLABELLED
    weighted = losses if batch.weights is None else losses * batch.weights
    # A batch may have no label at all.
    return weighted.sum() / (labelled.sum().clamp_min(1) if whole is None else max(1, whole.labelled))


def _mean(losses: Tensor, weights: Tensor | None, whole: Whole | None) -> Tensor:
    weighted = losses if weights is None else losses * weights
    return torch.mean(weighted) if whole is None else weighted.sum() / whole.documents
