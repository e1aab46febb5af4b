"""Saving and loading some of a model's weights by name, for the methods that PEFT does not have."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from tanzaku.encoders.quiet import quiet_transformers
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
    weights = _read(path)
    _refuse_others(path, missing=expected - set(weights), unexpected=set(weights) - expected)
    try:
        model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise MethodError(f"{path} does not fit the model: {error}") from error
    return model


def load_whole_model(model: nn.Module, path: Path) -> nn.Module:
    """Put all weights that transformers saved onto `model`, which is one of its own.

    transformers reads them, since it saves the tensors of some architectures, such as NomicBERT, under other names.

    Raises:
        MethodError: As `load_weights`.
    """
    weights = _read(path)
    kind = cast("type[PreTrainedModel]", type(model))
    try:
        with quiet_transformers():
            saved, info = kind.from_pretrained(
                None,
                config=model.config,
                state_dict=weights,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # without it, transformers does not say which they are
                output_loading_info=True,
            )
    except (RuntimeError, ValueError) as error:
        raise MethodError(f"{path} does not fit the model: {error}") from error
    for name, found, wanted in info["mismatched_keys"]:
        raise MethodError(f"{path} does not fit the model: {name} has the shape {tuple(found)}, not {tuple(wanted)}")
    _refuse_others(path, missing=info["missing_keys"], unexpected=info["unexpected_keys"])
    model.load_state_dict(saved.state_dict())
    return model


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise MethodError(f"{path} can't be read as saved weights ({error}); save the model again") from error


def _refuse_others(path: Path, *, missing: Iterable[str], unexpected: Iterable[str]) -> None:
    if missing or unexpected:
        raise MethodError(
            f"{path} does not fit the model: missing {sorted(missing)[:5]}, unexpected {sorted(unexpected)[:5]}; "
            "load it onto the encoder and with the options that it was trained with"
        )
