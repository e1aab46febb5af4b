"""Which layers LoRA updates: by name, or by a preset that finds them in any encoder of BERT's family."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

from pydantic import AfterValidator, BeforeValidator, Field

from tanzaku.errors import MethodError
from tanzaku.methods.labels import OptionLabel

if TYPE_CHECKING:
    from torch import Tensor, nn

EMBEDDINGS = "embeddings"
PRESETS = ("qv", "attention", "ffn", "all-linear", EMBEDDINGS)

# encoder.layer.0, transformer.layer.0, model.layers.0, albert_layers.0: a layer, its number, and what is inside it.
_LAYER = re.compile(r"((?:.*?[._])?layers?\.(\d+))(?:\.(.+))?")
_POOLER = re.compile(r"(?:^|\.)(?:pooler|pooler\.dense|head\.dense)$")  # head.dense is ModernBERT's
# BERT's, ModernBERT's, EuroBERT's, and XLM's, whose other embeddings have longer names.
_WORD_TABLE = re.compile(r"(?:^|\.)(?:(?:word|tok)_embeddings\.|embed_tokens\.|embeddings\.weight$)")
_QUERY = {"query", "query_proj", "q_proj", "q_lin"}
_KEY = {"key", "key_proj", "k_proj", "k_lin"}
_VALUE = {"value", "value_proj", "v_proj", "v_lin"}
_FUSED = {"Wqkv", "qkv", "qkv_proj", "in_proj"}  # one matrix for query, key and value: ModernBERT, DeBERTa
_ATTENDED = {"dense", "out_lin", "out_proj", "o_proj", "Wo"}
_OF_ENTITIES = re.compile(r"(?:^|\.)(?:entity_embeddings|w2e_query|e2w_query|e2e_query)(?:\.|$)")  # LUKE's


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _no_table(value: tuple[str, ...]) -> tuple[str, ...]:
    if EMBEDDINGS in value:
        raise ValueError("this method updates linear layers alone; leave 'embeddings' out, or choose lora")
    return value


# One name or several, as the methods' option `targets`.
Targets = Annotated[
    tuple[str, ...],
    BeforeValidator(_several, json_schema_input_type=str | tuple[str, ...]),
    Field(min_length=1),
    OptionLabel("targets {value}", ja="適用する層 {value}"),
]
LinearTargets = Annotated[Targets, AfterValidator(_no_table)]


class LayerPlace(NamedTuple):
    """Where a module is: its transformer layer's full name, that layer's number from 0, and what follows ("" for the
    layer itself)."""

    layer: str
    number: int
    inside: str


def place_of(name: str) -> LayerPlace | None:
    """Where the module of this full name is; None outside of the transformer layers."""
    found = _LAYER.fullmatch(name)
    return LayerPlace(found[1], int(found[2]), found[3] or "") if found else None


def named_presets(targets: Sequence[str]) -> list[str]:
    """Those of the targets that are presets."""
    return [target for target in targets if target in PRESETS]


def names_word_table(parameter: str) -> bool:
    """Whether a parameter of this full name is the table of word embeddings, or adapts it."""
    return _WORD_TABLE.search(parameter) is not None


def reads_entities(name: str) -> bool:
    """Whether the module or parameter of this full name is used only if a text comes with entities, which none does
    here: nothing would ever train it."""
    return _OF_ENTITIES.search(name) is not None


def is_embedding(module: nn.Module) -> bool:
    """Whether it is a table that is looked up in, not a matrix that is multiplied with."""
    from torch import nn

    return isinstance(module, nn.Embedding)


def shape_of(layer: nn.Module) -> tuple[int, int]:
    """Of the weights: (outputs, inputs), or (words, features) of an embedding."""
    first, second = cast("Tensor", layer.weight).shape
    return first, second


def is_called(name: str, wanted: str) -> bool:
    """Whether the full `name` ends in the whole words `wanted`, as PEFT matches names."""
    return name == wanted or name.endswith(f".{wanted}")


def find_targets(
    model: nn.Module, targets: Sequence[str], *, head: Sequence[str], pooler: bool = False
) -> dict[str, nn.Module]:
    """The modules that `targets` (names and presets) mean, by their full names, in the model's order.

    Args:
        model: A bare model; the meta device does.
        targets: Presets, or ends of linear layers' names.
        head: Modules that are trained in full, which are never among the result.
        pooler: Whether the pooler's linear layer is one more.

    Raises:
        MethodError: A target means nothing in this encoder; the message says what there is.
    """
    from torch import nn

    inside_head = tuple(f"{name}." for name in head)
    linear = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and name not in head
        and not name.startswith(inside_head)
        and not reads_entities(name)
    }
    found: set[str] = set()
    for target in targets:
        if target == EMBEDDINGS:
            found.add(_word_embedding(model))
        else:
            found |= _linear_targets(linear, target)
    if pooler:
        found |= _poolers(linear)
    return {name: module for name, module in model.named_modules() if name in found}


def _word_embedding(model: nn.Module) -> str:
    table = model.get_input_embeddings()  # type: ignore[operator]
    embedding: str = next(name for name, module in model.named_modules() if module is table)
    return embedding


def _linear_targets(linear: Mapping[str, nn.Module], target: str) -> set[str]:
    inside = {name: place.inside for name in linear if (place := place_of(name))}
    if target not in PRESETS:
        matches = {name for name in linear if is_called(name, target)}
    else:
        matches = {name for name, rest in inside.items() if _BELONGS[target](rest)}
    if matches:
        return matches
    choices = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
    if target == "qv" and any(_last(rest) in _FUSED for rest in inside.values()):
        raise MethodError(
            f"targets: 'qv' means query and value, which this encoder computes in one matrix with key; "
            f"choose 'attention', which takes that matrix, or names of {choices}"
        )
    kind = "of the preset" if target in PRESETS else "called"
    raise MethodError(
        f"targets: no linear layer is {kind} {target!r}; this encoder has {choices}, and the presets are "
        f"{', '.join(PRESETS)}"
    )


def _poolers(linear: Mapping[str, nn.Module]) -> set[str]:
    if matches := {name for name in linear if _POOLER.search(name)}:
        return matches
    raise MethodError(
        "pooler = true, but outside the head, which is trained in full, this encoder has no pooler; leave it out"
    )


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _is_attention(rest: str) -> bool:
    return any("attention" in part or part.endswith("attn") for part in rest.split("."))


def _is_of_attention(rest: str) -> bool:
    return _is_attention(rest) and _last(rest) in _QUERY | _KEY | _VALUE | _FUSED | _ATTENDED


# By preset: whether a linear layer whose name inside its transformer layer is `rest` belongs to it.
_BELONGS: dict[str, Callable[[str], bool]] = {
    "qv": lambda rest: _is_attention(rest) and _last(rest) in _QUERY | _VALUE,
    "attention": _is_of_attention,
    "ffn": lambda rest: not _is_attention(rest),
    "all-linear": lambda rest: rest != "",
}
