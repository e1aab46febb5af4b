"""The tensors of a checkpoint, without ever running code from it."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from tanzaku.encoders.compact import unpack_weights
from tanzaku.encoders.files import shard_names
from tanzaku.encoders.quantized import dequantize_matrices
from tanzaku.encoders.source import EncoderSource, files_of
from tanzaku.errors import EncoderError


def read_weights(source: EncoderSource) -> dict[str, torch.Tensor]:
    """All tensors of an encoder's checkpoint by name, on the CPU, floating-point ones as float32.

    What `tanzaku pack --int8` wrote in 8 bits is float32 again as well.

    Safetensors files hold nothing but tensors. A `pytorch_model.bin` is a pickle: it is read by PyTorch's
    weights-only loader, which builds tensors and refuses everything else.

    Raises:
        EncoderError: A file is damaged, or holds more than tensors, or values that are infinite or not numbers.
    """
    # Always a copy: a file mapped into memory could change under the model. In rows, also where a checkpoint that was
    # converted from TensorFlow has columns: a fused optimizer pairs weights and moments by their places in memory.
    return {
        name: tensor.to(
            torch.float32 if tensor.is_floating_point() else tensor.dtype,
            copy=True,
            memory_format=torch.contiguous_format,
        )
        for name, tensor in read_stored_weights(source).items()
    }


def read_stored_weights(source: EncoderSource) -> dict[str, torch.Tensor]:
    """All tensors of an encoder's checkpoint by name, on the CPU, in the dtypes that its files have.

    What Tanzaku stored in 4 bits is float16, what it stored in 8 bits float32. Tied tensors of a `pytorch_model.bin`
    share their memory.

    Raises:
        EncoderError: As `read_weights`.
    """
    files = files_of(source)
    read = _read_pytorch if files.weights_format == "pytorch" else _read_safetensors
    weights: dict[str, torch.Tensor] = {}
    for name in shard_names(source.folder, files):
        weights.update(read(source.folder / name))
    try:
        weights = dequantize_matrices(unpack_weights(weights) if files.weights_format == "q4" else weights)
    except (RuntimeError, ValueError) as error:
        raise EncoderError(
            f"encoder {source.name!r}: its quantized weights do not match their scales ({error}); download them again"
        ) from error
    if wrong := sorted(name for name, tensor in weights.items() if not _is_finite(tensor)):
        raise EncoderError(
            f"encoder {source.name!r}: {len(wrong)} of its {len(weights)} tensors hold values that are infinite or not "
            f"numbers, such as {wrong[0]}; fetch the weights again, or choose another encoder"
        )
    return weights


def converted(weights: Mapping[str, torch.Tensor], *, dtype: str) -> dict[str, torch.Tensor]:
    """The tensors with all floating-point ones in another dtype, such as "float16".

    Raises:
        EncoderError: A number is too large for it.
    """
    made: dict[str, torch.Tensor] = {}
    for name, tensor in weights.items():
        made[name] = tensor.to(getattr(torch, dtype)) if tensor.is_floating_point() else tensor
        if not _is_finite(made[name]):
            largest = float(tensor.abs().max())
            raise EncoderError(
                f"{name} has a weight of {largest:g}, which is too large for {dtype}; use --dtype float32"
            )
    return made


def parameters_of(weights: Mapping[str, torch.Tensor]) -> int:
    """How many numbers the floating-point tensors hold; tied ones count once."""
    tensors = {(one.data_ptr(), one.shape): one for one in weights.values() if one.is_floating_point()}
    return sum(tensor.numel() for tensor in tensors.values())


def without_shared_memory(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors as safetensors can store them: contiguous, and tied ones as copies."""
    stored: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in weights.items():
        shared = tensor.untyped_storage().data_ptr() in seen
        stored[name] = tensor.clone(memory_format=torch.contiguous_format) if shared else tensor.contiguous()
        seen.add(stored[name].untyped_storage().data_ptr())
    return stored


def _is_finite(tensor: torch.Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    wide = tensor if tensor.element_size() > 1 else tensor.float()  # PyTorch has no sums of 8-bit floats
    # The sum is finite only where all numbers are, and takes much less time than asking each one.
    return bool(wide.sum(dtype=torch.float32).isfinite()) or bool(wide.isfinite().all())


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise EncoderError(f"{path} is damaged or incomplete ({error}); download the encoder again") from error


def _read_pytorch(path: Path) -> dict[str, torch.Tensor]:
    try:
        with warnings.catch_warnings():
            # Of an unusual pickle protocol; the loader refuses by itself what it does not know.
            warnings.simplefilter("ignore", UserWarning)
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise EncoderError(
            f"{path} was not read: it is a pickle that holds more than tensors, or is damaged "
            f"({_first_line(error)}). Nothing in it was run. Download the encoder again from its publisher, or use one "
            "that comes as model.safetensors"
        ) from error
    except Exception as error:  # the reader of the format before PyTorch 1.6 fails in any way on a damaged file
        reason = _first_line(error)
        raise EncoderError(f"{path} is damaged or incomplete ({reason}); download the encoder again") from error
    if not isinstance(weights, dict):
        raise EncoderError(f"{path} holds a {type(weights).__name__}, not tensors by name; download the encoder again")
    wrong = [
        name for name, value in weights.items() if not isinstance(name, str) or not isinstance(value, torch.Tensor)
    ]
    if wrong:
        raise EncoderError(
            f"{path} holds more than tensors by name (such as {wrong[0]!r}); it looks like a training checkpoint, "
            "so save only the model with transformers' save_pretrained"
        )
    return weights


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
