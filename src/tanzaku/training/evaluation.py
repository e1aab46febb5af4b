"""Classifying a split with a model, as it is trained or when it is."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import islice, zip_longest

import numpy as np
import torch
from torch import Tensor, nn

from tanzaku.machine import release_freed_memory
from tanzaku.training.batches import Batch, LabelledTokens
from tanzaku.training.events import EvaluationProgress, Interrupted
from tanzaku.training.forward import Forward, model_logits
from tanzaku.training.peers import Peers


@dataclass(frozen=True)
class Evaluation:
    """Logits (documents, labels) float32 and the mean cross-entropy over documents."""

    logits: np.ndarray
    loss: float


def evaluate(
    model: nn.Module,
    split: LabelledTokens,
    *,
    batch_size: int,
    forward: Forward = model_logits,
    should_stop: Callable[[], bool] = lambda: False,
    peers: Peers = Peers(),  # noqa: B008 - frozen
) -> Generator[EvaluationProgress, None, Evaluation]:
    """Classify a split without gradients or dropout; yields progress, and returns an `Evaluation`.

    A batch has at most `batch_size` rows (documents, or the windows that they are cut into), but always a whole
    document: so memory is bounded however long the documents are that share one. Several processes take the batches in
    turn, and each gets the whole `Evaluation`.

    Raises:
        Interrupted: `should_stop`, asked after each batch, said so.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    logits: list[Tensor] = []
    documents, batches = 0, split.in_order(batch_size)
    while turn := list(islice(batches, peers.count)):
        if peers.number < len(turn):
            logits.append(_without_gradients(forward, model, turn[peers.number].to(device)))
        documents += sum(map(len, turn))
        yield EvaluationProgress(documents, len(split))
        if any(peers.any(should_stop())):
            raise Interrupted
    model.train(was_training)
    turns = zip_longest(*peers.collect(logits))
    everything = torch.cat([part for turn in turns for part in turn if part is not None])  # (documents, labels)
    loss = nn.functional.cross_entropy(everything, torch.from_numpy(split.classes)).item()
    release_freed_memory()  # its batches are larger than those of training
    return Evaluation(logits=everything.numpy(), loss=loss)


# A function of its own: a generator that yields inside `no_grad` would leave gradients off for whoever listens.
@torch.no_grad()
def _without_gradients(forward: Forward, model: nn.Module, batch: Batch) -> Tensor:
    return forward(model, batch).float().cpu()
