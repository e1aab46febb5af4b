"""Learned keys and values before those of the text, in every layer (Li and Liang 2021, arXiv 2101.00190)."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

_SPREAD = 0.02  # as BERT's own weights begin: at first the prefix takes attention and gives next to nothing


class Prefix(nn.Module):
    """The keys and values, each (layers, length, hidden)."""

    def __init__(self, *, layers: int, length: int, hidden: int) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.randn(layers, length, hidden) * _SPREAD)
        self.values = nn.Parameter(torch.randn(layers, length, hidden) * _SPREAD)


def takes_prefix(encoder: PreTrainedModel) -> bool:
    """Whether the encoder's attention can look at keys and values from before."""
    parameters = inspect.signature(encoder.forward).parameters
    return {"past_key_values", "position_ids", "attention_mask"} <= set(parameters) and not encoder.config.is_decoder


def add_prefix(encoder: PreTrainedModel, *, length: int) -> None:
    """Give the encoder a `Prefix` under the name `prefix`, which each of its forwards then begins with.

    The text keeps its own positions, so that it may be as long as without a prefix.
    """
    config = encoder.config
    prefix = Prefix(layers=config.num_hidden_layers, length=length, hidden=config.hidden_size)
    encoder.prefix = prefix.to(next(encoder.parameters()).device)
    encoder.register_forward_pre_hook(_see_prefix, with_kwargs=True)


def prefix_of(encoder: PreTrainedModel) -> Prefix | None:
    """The encoder's prefix, if it has one."""
    prefix = getattr(encoder, "prefix", None)
    return prefix if isinstance(prefix, Prefix) else None


def _see_prefix(encoder: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
    input_ids = arguments[0] if arguments else named["input_ids"]  # (rows, tokens)
    mask = arguments[1] if len(arguments) > 1 else named.get("attention_mask")
    mask = torch.ones_like(input_ids) if mask is None else mask
    length = encoder.prefix.keys.shape[1]
    seen = {
        "input_ids": input_ids,
        "attention_mask": torch.cat([mask.new_ones(mask.shape[0], length), mask], dim=1),  # (rows, length + tokens)
        "position_ids": _positions(encoder, input_ids),
        "past_key_values": _cache(encoder, rows=input_ids.shape[0]),
    }
    return (), named | seen


def _positions(encoder: Any, input_ids: Tensor) -> Tensor:
    """What the encoder gives a text that nothing comes before: (rows, tokens)."""
    embeddings = encoder.embeddings
    if hasattr(embeddings, "create_position_ids_from_input_ids"):  # RoBERTa and its kin count on from the padding's id
        positions: Tensor = embeddings.create_position_ids_from_input_ids(input_ids, embeddings.padding_idx)
        return positions
    return torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)


def _cache(encoder: Any, *, rows: int) -> DynamicCache:
    heads = encoder.config.num_attention_heads

    def per_head(table: Tensor) -> Tensor:
        """(length, hidden) to (rows, heads, length, head)."""
        split: Tensor = table.unflatten(1, (heads, -1))
        return split.transpose(0, 1).expand(rows, -1, -1, -1)

    prefix = encoder.prefix
    return DynamicCache(
        [(per_head(keys), per_head(values)) for keys, values in zip(prefix.keys, prefix.values, strict=True)]
    )
