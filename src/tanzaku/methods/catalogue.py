"""Every method with what it would train of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tanzaku.errors import MethodError
from tanzaku.methods import METHODS, EncoderMethod

if TYPE_CHECKING:
    from torch import nn

_BYTES_OF_FLOAT32 = 4


@dataclass(frozen=True)
class MethodFacts:
    """A method with its default options on one encoder.

    `trainable_parameters`, `share` (of the parameters of the encoder with its head) and `bytes` (in float32, without
    the small files next to the weights) are None if the method has no encoder, does not fit this one, or can't be
    imported; `error` says why.
    """

    name: str
    trainable_parameters: int | None
    share: float | None
    bytes: int | None
    mergeable: bool | None
    options: dict[str, Any]
    paper: str
    error: str | None = None


def describe_methods(model: nn.Module, *, head: Sequence[str]) -> list[MethodFacts]:
    """All methods, in the order of `METHODS`.

    Args:
        model: A bare classifier; its shapes are enough, so it may lie on the meta device.
        head: The names of the modules that its checkpoint lacks.
    """
    return [_describe(name, model, head) for name in METHODS]


def _describe(name: str, model: nn.Module, head: Sequence[str]) -> MethodFacts:
    try:
        method = METHODS[name]()
    except MethodError as error:
        return MethodFacts(name, None, None, None, None, {}, "", str(error))
    options = method.model_dump(mode="json")
    if not isinstance(method, EncoderMethod):
        return MethodFacts(name, None, None, None, None, options, method.paper)
    try:
        with method.named_errors():
            count = method.trainable_parameters(model, head=head)
    except MethodError as error:
        return MethodFacts(name, None, None, None, method.mergeable, options, method.paper, str(error))
    share = count / sum(parameter.numel() for parameter in model.parameters())
    return MethodFacts(name, count, share, _BYTES_OF_FLOAT32 * count, method.mergeable, options, method.paper)
