"""The counted operations are those that PyTorch's own counter finds."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.flops import forward_flops, layer_flops, layer_forward_flops, lora_step_flops
from benchmarks.models import HEAD
from benchmarks.scale import LABELS, Shape
from tanzaku.methods.lora import Lora

RANK = 3


def _shape(layers: int) -> Shape:
    return Shape(layers=layers, hidden=16, heads=2, intermediate=40, vocabulary=50)


def _bert(shape: Shape) -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate,
        num_labels=LABELS,
        attn_implementation="eager",  # the counter does not see into the fused kernel
    )
    model: nn.Module = BertForSequenceClassification(config)
    return model


@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("tokens", [5, 12])
def test_a_plain_lora_step_takes_what_the_formula_says(layers: int, tokens: int) -> None:
    shape = _shape(layers)
    model = Lora(rank=RANK, dropout=0.0).attach(_bert(shape), head=HEAD)
    ids = torch.randint(5, shape.vocabulary, (1, tokens))
    with FlopCounterMode(display=False) as counter:
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        nn.functional.cross_entropy(logits, torch.zeros(1, dtype=torch.long)).backward()
    plain = lora_step_flops([tokens], shape=shape, rank=RANK, labels=LABELS, last_layer_for_first_token=False)
    assert counter.get_total_flops() == plain


@pytest.mark.parametrize("layers", [1, 3])
def test_a_forward_pass_takes_what_the_formula_says(layers: int) -> None:
    shape, tokens = _shape(layers), 12
    ids = torch.randint(5, shape.vocabulary, (1, tokens))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        _bert(shape)(input_ids=ids, attention_mask=torch.ones_like(ids))
    # In the last layer all but the first token's query, attention and what follows are saved.
    saved = layer_forward_flops(tokens, queries=tokens, shape=shape) - layer_forward_flops(
        tokens, queries=1, shape=shape
    )
    assert counter.get_total_flops() == forward_flops([tokens], shape=shape, labels=LABELS) + saved
    assert saved > 0
    both = forward_flops([tokens, 1], shape=shape, labels=LABELS)
    assert both == sum(forward_flops([one], shape=shape, labels=LABELS) for one in (tokens, 1))


def test_documents_add_up_and_the_saving_is_one() -> None:
    shape = _shape(2)

    def count(lengths: list[int], **options: bool) -> int:
        return lora_step_flops(lengths, shape=shape, rank=RANK, labels=LABELS, **options)

    assert count([5, 9, 9]) == count([5]) + 2 * count([9])
    assert count([9]) < count([9], last_layer_for_first_token=False)
    # A document of one token has no other tokens to save on.
    assert count([1]) == count([1], last_layer_for_first_token=False)


@pytest.mark.parametrize("trained_below", [True, False])
@pytest.mark.parametrize("queries", [1, 7])
def test_a_layer_for_some_of_its_tokens_written_by_hand(queries: int, trained_below: bool) -> None:
    shape, tokens = _shape(1), 7
    hidden, inner = shape.hidden, shape.intermediate
    frozen = {name: torch.randn(hidden, hidden) for name in ("query", "key", "value", "out")}
    up, down = torch.randn(hidden, inner), torch.randn(inner, hidden)
    pairs = {
        name: (torch.randn(hidden, RANK, requires_grad=True), torch.randn(RANK, hidden, requires_grad=True))
        for name in ("query", "value")
    }
    states = torch.randn(tokens, hidden, requires_grad=trained_below)

    def updated(name: str, rows: Tensor) -> Tensor:
        a, b = pairs[name]
        return rows @ frozen[name] + rows @ a @ b

    with FlopCounterMode(display=False) as counter:
        query, value = updated("query", states[:queries]), updated("value", states)
        attended = (query @ (states @ frozen["key"]).T).softmax(dim=-1) @ value
        ((attended @ frozen["out"]) @ up @ down).sum().backward()
    expected = layer_flops(tokens, queries=queries, shape=shape, rank=RANK, trained_below=trained_below)
    assert counter.get_total_flops() == expected
