"""Weights in 4 bits without loss, for an encoder that is to be carried in little space.

Blocks of 32 neighbouring weights of a row share a scale in float16; each weight is the scale times a whole number from
-8 to 7, and two of these numbers make a byte. This is the layout that llama.cpp calls Q4_0: a checkpoint whose weights
were once rounded to it and then saved in float16 can be stored in it again, 4.5 bits a weight, and comes back equal to
the last bit. Matrices that are not of this kind, and all vectors, are stored in float16 as they are.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tanzaku.errors import EncoderError

_BLOCK = 32
_LOWEST, _HIGHEST = -8, 7
_SCALES = ".q4_scales"
Q4_IS_FOR = (
    "q4 is for encoders whose matrices were once rounded to 4 bits, such as tanzaku-mini or one trimmed from it; "
    "choose float16"
)
"""The remedy in errors about encoders that can't be stored in 4 bits."""


def pack_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as they are stored in 4 bits: matrices that lose nothing as bytes and scales, others in float16.

    Args:
        weights: By name; floating-point tensors whose values float16 holds exactly, or integers.

    Raises:
        EncoderError: A tensor has values that float16 does not hold, so that storing it would change it.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if not tensor.is_floating_point():
            packed[name] = tensor
            continue
        narrow = tensor.to(torch.float16)
        if not torch.equal(narrow.to(torch.float32), tensor.to(torch.float32)):
            raise EncoderError(
                f"tensor {name} has values that float16 does not hold, so it can't be stored in q4 without loss; "
                f"{Q4_IS_FOR}"
            )
        if (blocks := _pack(narrow)) is None:
            packed[name] = narrow.contiguous()
        else:
            packed[name], packed[name + _SCALES] = blocks
    return packed


def has_four_bits(packed: Mapping[str, Tensor]) -> bool:
    """Whether `pack_weights` stored at least one matrix in 4 bits."""
    # A matrix of zeros always fits, whatever the encoder, and has only scales of zero.
    return any(bool(tensor.any()) for name, tensor in packed.items() if name.endswith(_SCALES))


def round_weights(weights: Mapping[str, Tensor], *, head: Sequence[str]) -> dict[str, Tensor]:
    """The nearest tensors that `pack_weights` takes: matrices outside the `head` in 4 bits, others in float16.

    Matrices whose columns are no multiple of 32 are not in 4 bits either.

    Args:
        weights: By name.
        head: The names of the modules that are the head.
    """
    rounded = {}
    for name, tensor in weights.items():
        in_head = any(name.startswith(f"{module}.") for module in head)
        narrow = tensor.to(torch.float16) if tensor.is_floating_point() else tensor
        if tensor.is_floating_point() and tensor.ndim == 2 and tensor.shape[1] % _BLOCK == 0 and not in_head:
            numbers, scales = _nearest(tensor)
            narrow = (numbers * scales).to(torch.float16).flatten(1)
        rounded[name] = narrow
    return rounded


def unpack_weights(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `pack_weights` was given, its floating-point tensors in float16."""
    return {
        name: _unpack(tensor, packed[name + _SCALES]) if name + _SCALES in packed else tensor
        for name, tensor in packed.items()
        if not name.endswith(_SCALES)
    }


def _pack(matrix: Tensor) -> tuple[Tensor, Tensor] | None:
    """Bytes (rows, columns / 2) uint8 and scales (rows, columns / 32) float16 of a matrix (rows, columns) in float16;
    None where it would not come back equal."""
    if matrix.ndim != 2 or matrix.shape[1] % _BLOCK:
        return None
    numbers, scales = _nearest(matrix)
    if not torch.equal((numbers * scales).to(torch.float16), matrix.unflatten(1, (-1, _BLOCK))):
        return None
    nibbles = (numbers - _LOWEST).to(torch.uint8).flatten(1)  # (rows, columns), 0 to 15
    return nibbles[:, 0::2] | (nibbles[:, 1::2] << 4), scales.squeeze(2)


def _nearest(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The whole numbers (rows, blocks, 32) float32 and scales (rows, blocks, 1) float16 of the nearest weights."""
    blocks = matrix.float().unflatten(1, (-1, _BLOCK))  # (rows, blocks, 32)
    largest = blocks.gather(2, blocks.abs().argmax(dim=2, keepdim=True))  # with its sign
    # The weight that is largest in absolute value is -8 times the scale; a power of two, so this division is exact.
    scales = (largest / _LOWEST).to(torch.float16)
    divisors = torch.where(scales == 0, 1, scales.float())
    return (blocks / divisors).round().clamp(_LOWEST, _HIGHEST), scales


def _unpack(packed: Tensor, scales: Tensor) -> Tensor:
    """The matrix (rows, columns) float16 of `_pack`'s bytes and scales."""
    nibbles = torch.stack([packed & 15, packed >> 4], dim=2).flatten(1)  # (rows, columns)
    numbers: Tensor = nibbles.to(torch.float32).add_(_LOWEST).unflatten(1, (-1, _BLOCK))
    return numbers.mul_(scales.float()[:, :, None]).to(torch.float16).flatten(1)
