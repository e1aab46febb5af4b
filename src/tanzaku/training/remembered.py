"""Features of documents that are computed once, where nothing of the encoder is trained.

With a frozen encoder, an epoch after the first only trains the head on features that it has seen before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tanzaku.encoders.fast import FastForward
from tanzaku.training.batches import Batch
from tanzaku.training.forward import Forward, PooledForward


class RememberedFeatures:
    """A forward with the logits of another one whose features never change; see `remember_features`.

    What it gives does not depend on which documents it has seen before, so that a resumed training ends as an
    undisturbed one: in training, features are computed document by document, and in evaluation in whole batches, which
    are the same in every epoch.
    """

    def __init__(self, forward: FastForward | PooledForward) -> None:
        self._forward = forward
        self._known: dict[tuple[bool, bytes], Tensor] = {}

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """The logits (documents, labels) of `model`, which must be the one that the forward was made for."""
        parts = list(_documents(batch))
        keys = [(model.training, _digest(part)) for part in parts]
        missing = {key: part for key, part in zip(keys, parts, strict=True) if key not in self._known}
        if missing and not model.training:
            for key, features in zip(keys, self._features(batch), strict=True):
                self._known.setdefault(key, features)  # a document that occurs twice has those of the first batch
        elif missing:
            self._known |= {key: self._features(part)[0] for key, part in missing.items()}
        return self._forward.classify(torch.stack([self._known[key] for key in keys]), batch)

    @torch.no_grad()
    def _features(self, batch: Batch) -> Tensor:
        return self._forward.features(batch)


def remember_features(forward: Forward) -> Forward:
    """A forward that computes a document's features once where they never change, and `forward` itself elsewhere.

    They never change over a frozen encoder without dropout, as in linear probing. transformers' own classifiers, which
    compute them in between, are left as they are; only the fast path has their features.
    """
    if isinstance(forward, FastForward | PooledForward) and forward.has_fixed_features():
        return RememberedFeatures(forward)
    return forward


def _documents(batch: Batch) -> Iterator[Batch]:
    """Each document's rows, as a batch of one document."""
    for number in range(len(batch)):
        of_it = slice(number, number + 1) if batch.documents is None else batch.documents == number
        ids, mask = batch.input_ids[of_it], batch.attention_mask[of_it]
        width = max(1, int(mask.sum(dim=1).max()))
        documents = None if batch.documents is None else torch.zeros_like(batch.documents[of_it])
        yield Batch(ids[:, :width], mask[:, :width], batch.labels[number : number + 1], documents)


def _digest(document: Batch) -> bytes:
    """Of the tokens of each row, which padding has no part in."""
    digest = hashlib.blake2b(digest_size=16)
    for ids, mask in zip(document.input_ids, document.attention_mask, strict=True):
        row = ids[mask.bool()].cpu().numpy()
        digest.update(len(row).to_bytes(8, "little") + row.tobytes())
    return digest.digest()
