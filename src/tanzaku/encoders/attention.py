"""Self-attention (Vaswani et al. 2017, equation 1) over documents that lie end to end, without padding."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tanzaku.encoders.dropout import draw_seed, kept
from tanzaku.encoders.shapes import attention_rows


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

    On a CPU document after document, so that what is computed stays in the processor's cache; on a GPU all at once,
    padded. PyTorch's fused kernel does it, except on a CPU in bfloat16 or with dropout, which `_Attention` computes
    faster.

    Args:
        query: (queries, hidden), finite: of all documents, end to end. There may be more rows after the last document.
        key: (tokens, hidden), finite, in the same dtype; here too there may be more rows.
        value: (tokens, hidden).
        heads: Into so many the hidden dimension is cut.
        lengths: Keys of each document.
        query_lengths: Queries of each document.
        dropout: Probability with which an attention probability is set to 0.

    Returns:
        (queries, hidden): zeros for the rows after the last document.
    """
    if query.device.type != "cpu":
        return _attend_padded(
            query, key, value, heads=heads, lengths=lengths, query_lengths=query_lengths, dropout=dropout
        )
    if query.dtype != torch.bfloat16 and not dropout:
        return _attend_fused(query, key, value, heads=heads, lengths=lengths, query_lengths=query_lengths)
    return _attend_kept(query, key, value, heads=heads, lengths=lengths, query_lengths=query_lengths, dropout=dropout)


def _attend_kept(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    heads: int,
    lengths: Sequence[int],
    query_lengths: Sequence[int],
    dropout: float = 0.0,
) -> Tensor:
    mixed: Tensor = _Attention.apply(query, key, value, heads, tuple(lengths), tuple(query_lengths), dropout)  # type: ignore[no-untyped-call]
    return mixed


def _attend_fused(
    query: Tensor, key: Tensor, value: Tensor, *, heads: int, lengths: Sequence[int], query_lengths: Sequence[int]
) -> Tensor:
    """One call of PyTorch's kernel for each document: it keeps no probabilities, and compiles nothing for a shape."""

    def of_documents(rows: Tensor, counts: Sequence[int]) -> list[Tensor]:
        documents = rows.split([*counts, len(rows) - sum(counts)])[:-1]
        return [_per_head(document, heads)[None] for document in documents]

    pieces = (of_documents(query, query_lengths), of_documents(key, lengths), of_documents(value, lengths))
    mixed = [functional.scaled_dot_product_attention(q, k, v)[0] for q, k, v in zip(*pieces, strict=True)]
    joined = torch.cat([rows.transpose(0, 1).flatten(1) for rows in mixed])  # (queries of all documents, hidden)
    return functional.pad(joined, (0, 0, 0, len(query) - len(joined)))


def _attend_padded(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    heads: int,
    lengths: Sequence[int],
    query_lengths: Sequence[int],
    dropout: float = 0.0,
) -> Tensor:
    def padded(x: Tensor, counts: Sequence[int]) -> Tensor:
        rows = torch.nn.utils.rnn.pad_sequence(list(x[: sum(counts)].split(list(counts))), batch_first=True)
        split: Tensor = rows.unflatten(2, (heads, -1))
        return split.transpose(1, 2)  # (documents, heads, longest, head)

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
    joined = torch.cat([row[:count] for row, count in zip(rows, query_lengths, strict=True)])
    return functional.pad(joined, (0, 0, 0, len(query) - len(joined)))


def _per_head(rows: Tensor, heads: int) -> Tensor:
    """A view (heads, tokens, head) of rows (tokens, hidden)."""
    split: Tensor = rows.unflatten(1, (heads, -1))
    return split.transpose(0, 1)


def _end_to_end(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where each document's rows begin, and how many they are."""
    start = 0
    for length in lengths:
        yield start, length
        start += length


class _Documents:
    """Each document's rows of a tensor (rows, hidden), and so many rows after them that few shapes occur."""

    def __init__(self, lengths: Sequence[int], *, heads: int) -> None:
        self._pieces = list(_end_to_end(lengths))
        self._heads = heads
        self._needed = max((start + attention_rows(length) for start, length in self._pieces), default=0)

    def of(self, rows: Tensor) -> Iterator[Tensor]:
        """Copies (heads, `attention_rows`, head). What follows a document's own rows is the next document's.

        Products of contiguous copies save a tenth of attention's time, many times what copying takes.
        """
        if self._needed > len(rows):
            rows = functional.pad(rows, (0, 0, 0, self._needed - len(rows)))
        return (
            _per_head(rows[start : start + attention_rows(length)], self._heads).contiguous()
            for start, length in self._pieces
        )

    def of_values(self, rows: Tensor) -> Iterator[Tensor]:
        """As `of`; where a number is not finite, what follows is zeros, since 0 times infinity is not 0."""
        # The sum is finite only where all numbers are, and takes a tenth of the time of asking each one.
        if bool(rows.sum(dtype=torch.float32).isfinite()):
            return self.of(rows)
        return (
            _per_head(
                functional.pad(rows[start : start + length], (0, 0, 0, attention_rows(length) - length)), self._heads
            )
            for start, length in self._pieces
        )

    def places_in(self, rows: Tensor) -> list[Tensor]:
        """Views (heads, length, head) of each document's own rows of a tensor (rows, hidden), to be written to."""
        rows[sum(length for _, length in self._pieces) :] = 0
        return [_per_head(rows[start : start + length], self._heads) for start, length in self._pieces]


class _Attention(torch.autograd.Function):
    """Keeps the probabilities for the backward pass, and draws the dropout again from its seeds.

    A document's rows are followed by others, up to a length that occurs often (`tanzaku.encoders.shapes`). Between its
    own queries and keys and those others all probabilities are exactly 0, and so is all that goes back from them.
    """

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
        queries, keys = _Documents(query_lengths, heads=heads), _Documents(lengths, heads=heads)
        output = torch.empty_like(query)
        probabilities, seeds = [], []
        is_learning = any(ctx.needs_input_grad[:3])  # otherwise one document's probabilities are enough
        for number, (q, k, v, place) in enumerate(
            zip(queries.of(query), keys.of(key), keys.of_values(value), queries.places_in(output), strict=True)
        ):
            p = _probabilities(torch.bmm(q, k.transpose(1, 2)), queries=query_lengths[number], keys=lengths[number])
            if is_learning:
                probabilities.append(p)
            if dropout:
                seeds.append(draw_seed())
                p = p * kept(p.shape, probability=dropout, dtype=p.dtype, seed=seeds[-1])
            place.copy_(torch.bmm(p, v)[:, : place.shape[1]])
        if is_learning:
            ctx.save_for_backward(query, key, value, *probabilities)
            ctx.facts = queries, keys, dropout, scale, seeds
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *probabilities = ctx.saved_tensors
        queries, keys, dropout, scale, seeds = ctx.facts
        grads = tuple(torch.empty_like(x) for x in (query, key, value))
        pieces = zip(queries.of(query), keys.of(key), keys.of(value), queries.of(grad), probabilities, strict=True)
        places = zip(queries.places_in(grads[0]), keys.places_in(grads[1]), keys.places_in(grads[2]), strict=True)
        for number, ((q, k, v, g, p), (place_q, place_k, place_v)) in enumerate(zip(pieces, places, strict=True)):
            factors = kept(p.shape, probability=dropout, dtype=p.dtype, seed=seeds[number]) if dropout else None
            grad_p = torch.bmm(g, v.transpose(1, 2))  # (heads, queries, tokens)
            if factors is not None:
                grad_p *= factors
            grad_v = torch.bmm((p if factors is None else p * factors).transpose(1, 2), g)
            grad_scores = torch._softmax_backward_data(grad_p, p, -1, p.dtype)
            grad_q = torch.bmm(grad_scores, k)
            grad_k = torch.bmm(grad_scores.transpose(1, 2), q)
            for place, gradient in ((place_q, grad_q), (place_k, grad_k), (place_v, grad_v)):
                place.copy_(gradient[:, : place.shape[1]])
        return grads[0].mul_(scale), grads[1], grads[2], None, None, None, None


def _probabilities(scores: Tensor, *, queries: int, keys: int) -> Tensor:
    """The softmax of the first so many queries over the first so many keys, and zeros: (heads, rows, columns)."""
    if keys < scores.shape[2]:
        scores[:, :, keys:] = -torch.inf
    p = torch.softmax(scores, dim=-1)
    if queries < scores.shape[1]:
        p[:, queries:] = 0
    return p
