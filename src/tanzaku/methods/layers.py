"""Where the parts of a transformer layer stand, for the methods that choose places by what they do.

Three layouts are known, by the names inside a layer: that of BERT, which RoBERTa, ELECTRA and DeBERTa-v2 share,
that of DistilBERT and that of ModernBERT.
"""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from tanzaku.errors import MethodError
from tanzaku.methods.targets import place_of, reads_entities

Part = Literal["key", "value", "attention output", "feed-forward output"]

_NAMES: dict[Part, tuple[str, ...]] = {
    "key": ("attention.self.key", "attention.self.key_proj", "attention.k_lin"),
    "value": ("attention.self.value", "attention.self.value_proj", "attention.v_lin"),
    "attention output": ("attention.output.dense", "attention.out_lin", "attn.Wo"),
    "feed-forward output": ("output.dense", "ffn.lin2", "mlp.Wo"),
}


def names_in_a_layer(model: nn.Module, part: Part) -> str:
    """How this model's layers call the linear layer that is `part`, from the layer on: such as `output.dense`.

    Raises:
        MethodError: The layers have no such part, or there are none.
    """
    layers = _layers(model)
    for name in _NAMES[part]:
        if layers and all(_linear_at(layer, name) is not None for layer in layers.values()):
            return name
    raise MethodError(
        f"this encoder's layers have no {part} layer that is known by name; it takes BERT and RoBERTa, "
        "ELECTRA, DeBERTa-v2 or DistilBERT, or, for adapters, ModernBERT; lora takes any encoder, by its targets"
    )


def linear_layers(model: nn.Module, parts: Sequence[Part]) -> dict[str, nn.Linear]:
    """The linear layers that are these parts, by their full names, in the model's order.

    Raises:
        MethodError: As `names_in_a_layer`.
    """
    names = [names_in_a_layer(model, part) for part in parts]
    return {f"{place}.{name}": layer.get_submodule(name) for place, layer in _layers(model).items() for name in names}  # type: ignore[misc]


def linear_in_layers(model: nn.Module) -> list[str]:
    """The full names of all linear layers inside the transformer layers.

    Raises:
        MethodError: There is none.
    """
    found = [
        f"{place}.{name}"
        for place, layer in _layers(model).items()
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear)
    ]
    if not found:
        raise MethodError("this encoder has no transformer layers that are known by name; lora takes any")
    return found


def layer_norms(model: nn.Module, head: Sequence[str]) -> dict[str, nn.Module]:
    """The layer normalisations outside the head that have weights and that a text uses, by their full names.

    Raises:
        MethodError: There is none.
    """
    found: dict[str, nn.Module] = {
        name: module
        for name, module in model.named_modules()
        if _is_norm(module) and not _inside(name, head) and not reads_entities(name)
    }
    if not found:
        raise MethodError("this encoder has no layer normalisation to train; choose bitfit or lora")
    return found


def _is_norm(module: nn.Module) -> bool:
    """Whether it is a layer normalisation with a weight, also one of transformers' own, such as `DebertaLayerNorm`."""
    known = isinstance(module, nn.LayerNorm | nn.RMSNorm) or type(module).__name__.endswith(("LayerNorm", "RMSNorm"))
    return known and getattr(module, "weight", None) is not None


def _inside(name: str, head: Sequence[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in head)


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    places = ((place_of(name), module) for name, module in model.named_modules())
    return {place.layer: module for place, module in places if place and not place.inside}


def _linear_at(layer: nn.Module, name: str) -> nn.Linear | None:
    try:
        module = layer.get_submodule(name)
    except AttributeError:
        return None
    return module if isinstance(module, nn.Linear) else None
