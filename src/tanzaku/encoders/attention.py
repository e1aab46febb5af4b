"""Self-attention (Vaswani et al. 2017, equation 1) over documents that lie end to end, without padding."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tanzaku.encoders.dropout import draw_seed, kept


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    heads: int,
    lengths: Sequence[int],
    query_lengths: Sequence[int],
    dropout: float = 0.0,
) -> Tensor:
    """Each document's queries attend to its own keys.

    On a CPU document after document, so that one's probabilities stay in the processor's cache; on a GPU all at once,
    padded, by PyTorch's fused kernel.

    Args:
        query: (queries, hidden): of all documents, end to end.
        key: (tokens, hidden), in the same dtype.
        value: (tokens, hidden).
        heads: Into so many the hidden dimension is cut.
        lengths: Keys of each document.
        query_lengths: Queries of each document.
        dropout: Probability with which an attention probability is set to 0.

    Returns:
        (queries, hidden).
    """
    if query.device.type != "cpu":
        return _attend_padded(
            query, key, value, heads=heads, lengths=lengths, query_lengths=query_lengths, dropout=dropout
        )
    return _Attention.apply(query, key, value, heads, tuple(lengths), tuple(query_lengths), dropout)


def _attend_padded(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    heads: int,
    lengths: Sequence[int],
    query_lengths: Sequence[int],
    dropout: float,
) -> Tensor:
    def padded(x: Tensor, counts: Sequence[int]) -> Tensor:
        rows = torch.nn.utils.rnn.pad_sequence(list(x.split(list(counts))), batch_first=True)
        return rows.unflatten(2, (heads, -1)).transpose(1, 2)  # (documents, heads, longest, head)

    limits = torch.tensor(lengths, device=query.device)
    mask = torch.arange(max(lengths), device=query.device) < limits[:, None]  # (documents, longest)
    mixed = functional.scaled_dot_product_attention(
        padded(query, query_lengths),
        padded(key, lengths),
        padded(value, lengths),
        attn_mask=None if min(lengths) == max(lengths) else mask[:, None, None],
        dropout_p=dropout,
    )
    rows = mixed.transpose(1, 2).flatten(2)  # (documents, longest query, hidden)
    return torch.cat([row[:count] for row, count in zip(rows, query_lengths, strict=True)])


def _per_head(rows: Tensor, heads: int) -> Tensor:
    """(tokens, hidden) to (heads, tokens, head), without a copy."""
    return rows.unflatten(1, (heads, -1)).transpose(0, 1)


def _joined(x: Tensor) -> Tensor:
    """(heads, tokens, head) to (tokens, hidden)."""
    return x.transpose(0, 1).flatten(1)


class _Attention(torch.autograd.Function):
    """Keeps the probabilities for the backward pass, and draws the dropout anew from its seeds."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        heads: int,
        lengths: tuple[int, ...],
        query_lengths: tuple[int, ...],
        dropout: float,
    ) -> Tensor:
        scale = 1 / math.sqrt(query.shape[1] // heads)
        query = query * scale  # far fewer elements than the products of queries and keys
        outputs, probabilities, seeds = [], [], []
        for q, k, v in zip(query.split(query_lengths), key.split(lengths), value.split(lengths), strict=True):
            scores = torch.bmm(_per_head(q, heads), _per_head(k, heads).transpose(1, 2))
            p = torch.softmax(scores, dim=-1)  # (heads, queries, tokens)
            probabilities.append(p)
            if dropout:
                seeds.append(draw_seed())
                p = p * kept(p.shape, probability=dropout, dtype=p.dtype, seed=seeds[-1])
            outputs.append(_joined(torch.bmm(p, _per_head(v, heads))))
        ctx.save_for_backward(query, key, value, *probabilities)
        ctx.facts = heads, lengths, query_lengths, dropout, scale, seeds
        return torch.cat(outputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *probabilities = ctx.saved_tensors
        heads, lengths, query_lengths, dropout, scale, seeds = ctx.facts
        grads: list[tuple[Tensor, Tensor, Tensor]] = []
        pieces = zip(
            query.split(query_lengths),
            key.split(lengths),
            value.split(lengths),
            grad.split(query_lengths),
            probabilities,
            strict=True,
        )
        for number, (*rows, p) in enumerate(pieces):
            q, k, v, g = (_per_head(row, heads) for row in rows)
            factors = kept(p.shape, probability=dropout, dtype=p.dtype, seed=seeds[number]) if dropout else None
            grad_p = torch.bmm(g, v.transpose(1, 2))  # (heads, queries, tokens)
            if factors is not None:
                grad_p *= factors
            grad_v = torch.bmm((p if factors is None else p * factors).transpose(1, 2), g)
            grad_scores = torch._softmax_backward_data(grad_p, p, -1, p.dtype)
            grad_q = torch.bmm(grad_scores, k)
            grad_k = torch.bmm(grad_scores.transpose(1, 2), q)
            grads.append((_joined(grad_q), _joined(grad_k), _joined(grad_v)))
        grad_query, grad_key, grad_value = (torch.cat(parts) for parts in zip(*grads, strict=True))
        return grad_query * scale, grad_key, grad_value, None, None, None, None
