"""Features of documents that are computed once, where nothing of the encoder is trained.

With a frozen encoder, an epoch after the first only trains the head on features that it has seen before.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig

from tanzaku.encoders.fast import FastForward, is_plain_bert
from tanzaku.encoders.pooled import is_pooled
from tanzaku.encoders.reading import LongText, Pooling
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
        self.met_new = False
        """Whether the last batch had documents whose features were not known."""

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """The logits (documents, labels) of `model`, which must be the one that the forward was made for."""
        keys = [(model.training, digest) for digest in _digests(batch)]
        missing = {key: number for number, key in enumerate(keys) if key not in self._known}
        self.met_new = bool(missing)
        if missing and not model.training:
            for key, features in zip(keys, self._features(batch), strict=True):
                self._known.setdefault(key, features)  # a document that occurs twice has those of the first batch
        elif missing:
            self._known |= {key: self._features(_alone(batch, number))[0] for key, number in missing.items()}
        return self._forward.classify(torch.stack([self._known[key] for key in keys]), batch)

    @torch.no_grad()
    def _features(self, batch: Batch) -> Tensor:
        return self._forward.features(batch)


def remember_features(forward: Forward) -> Forward:
    """A forward that computes a document's features once where they never change, and `forward` itself elsewhere.

    They never change over a frozen encoder without dropout, as in linear probing. transformers' own classifiers do not
    expose their features, so they are left as they are, except on the fast path.
    """
    if isinstance(forward, FastForward | PooledForward) and forward.has_fixed_features():
        return RememberedFeatures(forward)
    return forward


def can_remember(config: PretrainedConfig, *, pooling: Pooling, long_text: LongText) -> bool:
    """Whether `remember_features` does it for a frozen encoder without dropout, by how its documents are read."""
    return is_plain_bert(config) or is_pooled(pooling, long_text)


def _alone(batch: Batch, number: int) -> Batch:
    """One document's rows, as a batch of one document."""
    of_it = slice(number, number + 1) if batch.documents is None else batch.documents == number
    ids, mask = batch.input_ids[of_it], batch.attention_mask[of_it]
    width = max(1, int(mask.sum(dim=1).max()))
    documents = None if batch.documents is None else torch.zeros_like(batch.documents[of_it])
    return Batch(ids[:, :width], mask[:, :width], batch.labels[number : number + 1], documents)


def _digests(batch: Batch) -> list[bytes]:
    """Of each document: of the tokens of its rows, which padding has no part in.

    They are computed in NumPy, since this is most of what an epoch of known features takes.
    """
    owners = range(len(batch)) if batch.documents is None else batch.documents.tolist()
    digests = [hashlib.blake2b(digest_size=16) for _ in range(len(batch))]
    rows = zip(owners, batch.input_ids.cpu().numpy(), batch.attention_mask.bool().cpu().numpy(), strict=True)
    for owner, ids, present in rows:
        tokens = ids[present]
        digests[owner].update(len(tokens).to_bytes(8, "little") + tokens.tobytes())
    return [digest.digest() for digest in digests]
