"""Saving and loading some of a model's weights by name, for the methods that PEFT does not have."""

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from tanzaku.errors import MethodError


def head_names(model: nn.Module, head: Sequence[str]) -> set[str]:
    """The parameter names of the head's modules."""
    return {f"{module}.{name}" for module in head for name, _ in model.get_submodule(module).named_parameters()}


def head_parameters(model: nn.Module, head: Sequence[str]) -> int:
    """How many parameters the head's modules have."""
    return sum(parameter.numel() for module in head for parameter in model.get_submodule(module).parameters())


def save_trainable(model: nn.Module, path: Path) -> None:
    """Write the trainable parameters to a safetensors file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    trainable = {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}
    save_file({name: tensor.cpu().contiguous() for name, tensor in trainable.items()}, path)


def load_weights(model: nn.Module, path: Path, *, expected: set[str]) -> nn.Module:
    """Put the weights of a safetensors file onto `model`, which must be exactly the `expected` ones.

    Raises:
        MethodError: The file is missing or damaged, or its names or shapes are not the model's.
    """
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise MethodError(f"{path} can't be read as saved weights ({error}); save the model again") from error
    # Tied weights are stored once, under one of their names.
    missing, unexpected = expected - set(weights), set(weights) - expected
    if unexpected or missing - _tied_names(model):
        raise MethodError(
            f"{path} does not fit the model: missing {sorted(missing)[:5]}, unexpected {sorted(unexpected)[:5]}; "
            "load it onto the encoder and with the options that it was trained with"
        )
    try:
        model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise MethodError(f"{path} does not fit the model: {error}") from error
    return model


def _tied_names(model: nn.Module) -> set[str]:
    first: dict[int, str] = {}
    tied = set()
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if first.setdefault(id(parameter), name) != name:
            tied |= {name, first[id(parameter)]}
    return tied
