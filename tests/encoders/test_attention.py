"""Attention without padding, against PyTorch's own on each document."""

import weakref
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tanzaku.encoders.attention import _attend_fused, _attend_kept, _attend_padded, _probabilities, attend
from tanzaku.encoders.dropout import kept

HEADS, SIZE = 3, 4
IMPLEMENTATIONS = [_attend_fused, _attend_kept, _attend_padded]


def _rows(count: int, *, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, HEADS * SIZE, generator=generator, dtype=torch.float64).requires_grad_()


def _by_document(query: Tensor, key: Tensor, value: Tensor, lengths: list[int], queries: list[int]) -> Tensor:
    outputs = []
    for q, k, v in zip(query.split(queries), key.split(lengths), value.split(lengths), strict=True):
        parts = (x.view(1, -1, HEADS, SIZE).transpose(1, 2) for x in (q, k, v))
        mixed = torch.nn.functional.scaled_dot_product_attention(*parts)
        outputs.append(mixed.transpose(1, 2).reshape(len(q), -1))
    return torch.cat(outputs)


@given(
    documents=st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=5),
    function=st.sampled_from(IMPLEMENTATIONS),
)
@settings(deadline=None, max_examples=60)
def test_each_document_attends_to_itself_alone(
    documents: list[tuple[int, bool]], function: Callable[..., Tensor]
) -> None:
    lengths = [length for length, _ in documents]
    queries = [1 if alone else length for length, alone in documents]  # [CLS] alone, or every token
    rows = _rows(sum(queries), seed=0), _rows(sum(lengths), seed=1), _rows(sum(lengths), seed=2)
    found = function(*rows, heads=HEADS, lengths=lengths, query_lengths=queries)
    expected = _by_document(*rows, lengths=lengths, queries=queries)
    torch.testing.assert_close(found, expected)
    weights = _rows(sum(queries), seed=3).detach()
    for mine, theirs in zip(
        torch.autograd.grad((found * weights).sum(), rows),
        torch.autograd.grad((expected * weights).sum(), rows),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_without_a_backward_pass_one_documents_probabilities_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Tensor]] = []

    def noted(scores: Tensor, *, queries: int, keys: int) -> Tensor:
        assert all(earlier() is None for earlier in made[:-1])  # the last one's name is taken by the next
        made.append(weakref.ref(p := _probabilities(scores, queries=queries, keys=keys)))
        return p

    monkeypatch.setattr("tanzaku.encoders.attention._probabilities", noted)
    rows = [_rows(20, seed=seed) for seed in range(3)]
    found = _attend_kept(*(row.detach() for row in rows), heads=HEADS, lengths=[5] * 4, query_lengths=[5] * 4)
    assert len(made) == 4
    monkeypatch.undo()
    query, key, value = rows
    torch.testing.assert_close(found, _by_document(query, key, value, lengths=[5] * 4, queries=[5] * 4).detach())


@pytest.mark.parametrize("function", IMPLEMENTATIONS)
def test_rows_after_the_last_document_are_nobodys(function: Callable[..., Tensor]) -> None:
    lengths = [3, 40]
    rows = [_rows(sum(lengths) + 9, seed=seed) for seed in range(3)]
    found = function(*rows, heads=HEADS, lengths=lengths, query_lengths=lengths)
    query, key, value = (row[: sum(lengths)] for row in rows)
    expected = _by_document(query, key, value, lengths=lengths, queries=lengths)
    torch.testing.assert_close(found[: sum(lengths)], expected)
    assert (found[sum(lengths) :] == 0).all()
    for gradient in torch.autograd.grad(found.square().sum(), rows):
        assert (gradient[: sum(lengths)] != 0).any(dim=1).all()
        assert (gradient[sum(lengths) :] == 0).all()


def test_the_gradient_with_dropout_is_that_of_the_masks_drawn_forward() -> None:
    lengths = [3, 5]
    rows = [_rows(8, seed=seed) for seed in range(3)]

    def function(*inputs: Tensor) -> Tensor:
        torch.manual_seed(7)  # so that every evaluation of the numerical gradient draws the same
        return attend(*inputs, heads=HEADS, lengths=lengths, query_lengths=lengths, dropout=0.4)

    assert torch.autograd.gradcheck(function, rows)


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.9])
def test_dropout_keeps_the_share_and_the_mean(probability: float) -> None:
    factors = kept((400, 501), probability=probability, dtype=torch.float32, seed=5)
    assert factors.shape == (400, 501)
    share = float((factors == 0).float().mean())
    standard_error = (probability * (1 - probability) / factors.numel()) ** 0.5
    assert abs(share - probability) <= 5 * standard_error + 1e-5
    assert abs(float(factors.mean()) - 1) <= 5 * standard_error / (1 - probability) + 1e-5
    assert len(factors.unique()) <= 2


def test_dropout_is_independent_from_element_to_element_and_seed_to_seed() -> None:
    def centred(seed: int) -> Tensor:
        return kept((200_000,), probability=0.5, dtype=torch.float64, seed=seed) - 1

    first, second = centred(0), centred(1)
    limit = 5 / len(first) ** 0.5  # five standard errors of a correlation
    assert abs(float((first * second).mean())) < limit
    for shift in (1, 2, 3, 4, 8):
        assert abs(float((first[:-shift] * first[shift:]).mean())) < limit
