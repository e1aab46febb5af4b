"""A graph's matrices in 8 bits: each weight's row and each token's activations have their own scale.

ONNX Runtime's own dynamic quantisation has one scale for all activations of a batch, so that the answer for a text
depends on the texts next to it. Here it doesn't. Weights use 7 of the 8 bits: processors without VNNI add pairs of
products in 16 bits, which then can't overflow, so that all processors compute with the same integers (ONNX Runtime's
issues 6004 and 14642 are about what happens otherwise).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

_LARGEST_WEIGHT = 63
_LARGEST_ACTIVATION = 127
# Activations are stored as integers without a sign, which the processors' instructions want: 0 is this.
_ZERO = 128
_LARGEST_EMBEDDING = 127  # these are looked up and not multiplied
_ONNX_RUNTIME = "com.microsoft"
# Smaller ones take little space and time.
_FEWEST_WEIGHTS = 256


def quantize_graph(graph: onnx.ModelProto) -> int:
    """Put products of integers in the place of the graph's products with constant matrices, and integers in the place
    of embeddings.

    The classification layer, which the exporter writes as `Gemm`, stays in float32.

    Args:
        graph: It is changed in place.

    Returns:
        How many matrices are stored in 8 bits.
    """
    from onnx import helper, numpy_helper

    constants = {tensor.name: tensor for tensor in graph.graph.initializer}
    changed: dict[str, list[Any]] = {}
    added: list[Any] = []
    nodes: list[Any] = []
    activations: dict[str, tuple[str, str]] = {}
    for node in graph.graph.node:
        name = _matrix_of(node, constants)
        if name is None:
            nodes.append(node)
            continue
        matrix = numpy_helper.to_array(constants[name])
        if name not in changed:
            changed[name] = _stored(name, matrix, axis=1 if node.op_type == "Gather" else 0)
        if node.op_type == "Gather":
            nodes += _look_up(node, name)
            continue
        if node.input[0] not in activations:
            activations[node.input[0]] = _lowered(node.input[0], nodes)
        nodes += _multiply(node, name, *activations[node.input[0]])
    if changed:
        added = _limits()
        graph.opset_import.append(helper.make_opsetid(_ONNX_RUNTIME, 1))
    _replace(graph, nodes, changed, added)
    return len(changed)


def _matrix_of(node: Any, constants: dict[str, Any]) -> str | None:
    """The constant matrix that the node multiplies with, or looks up rows of; None where it does neither."""
    place = {"MatMul": 1, "Gather": 0}.get(node.op_type)
    if place is None:
        return None
    tensor = constants.get(node.input[place])
    is_float = tensor is not None and tensor.data_type == 1  # TensorProto.FLOAT
    if tensor is None or not is_float or len(tensor.dims) != 2 or np.prod(tensor.dims) < _FEWEST_WEIGHTS:
        return None
    name: str = tensor.name
    return None if name.startswith("term_") else name


def _stored(name: str, matrix: np.ndarray, *, axis: int) -> list[Any]:
    """The matrix as integers, and the scales of its columns (axis 0) or rows (axis 1)."""
    from onnx import numpy_helper

    largest = _LARGEST_EMBEDDING if axis == 1 else _LARGEST_WEIGHT
    scales = np.maximum(np.abs(matrix).max(axis=axis, keepdims=True), np.finfo(np.float32).tiny) / np.float32(largest)
    integers = np.clip(np.rint(matrix / scales), -largest, largest).astype(np.int8)
    kept = scales if axis == 1 else scales[0]  # (rows, 1) or (columns,)
    return [
        numpy_helper.from_array(integers, f"{name}_int8"),
        numpy_helper.from_array(np.ascontiguousarray(kept, dtype=np.float32), f"{name}_scales"),
    ]


def _look_up(node: Any, matrix: str) -> list[Any]:
    from onnx import TensorProto, helper

    (output,), indices = node.output, node.input[1]
    return [
        helper.make_node("Gather", [f"{matrix}_int8", indices], [f"{output}_int8"]),
        helper.make_node("Gather", [f"{matrix}_scales", indices], [f"{output}_scales"]),
        helper.make_node("Cast", [f"{output}_int8"], [f"{output}_wide"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{output}_wide", f"{output}_scales"], [output]),
    ]


def _lowered(activations: str, nodes: list[Any]) -> tuple[str, str]:
    """The names of activations (…, tokens, width) as integers and of each token's scale (…, tokens, 1); the nodes that
    make them are added to `nodes`."""
    from onnx import TensorProto, helper

    integers, scales = f"{activations}_uint8", f"{activations}_scales"
    steps = {name: f"{activations}_{name}" for name in ("sizes", "largest", "positive", "inverse", "scaled", "shifted")}
    nodes += [
        helper.make_node("Abs", [activations], [steps["sizes"]]),
        helper.make_node("ReduceMax", [steps["sizes"], "int8_axis"], [steps["largest"]], keepdims=1),
        helper.make_node("Max", [steps["largest"], "int8_tiny"], [steps["positive"]]),
        helper.make_node("Div", [steps["positive"], "int8_limit"], [scales]),
        helper.make_node("Reciprocal", [scales], [steps["inverse"]]),
        helper.make_node("Mul", [activations, steps["inverse"]], [steps["scaled"]]),
        helper.make_node("Add", [steps["scaled"], "int8_shift"], [steps["shifted"]]),
        helper.make_node("Cast", [steps["shifted"]], [integers], to=TensorProto.UINT8),
    ]
    return integers, scales


def _multiply(node: Any, matrix: str, integers: str, scales: str) -> list[Any]:
    from onnx import helper

    (output,) = node.output
    # ONNX Runtime's own operator: the sums become floating-point numbers while they are in the processor's cache.
    inputs = [integers, f"{matrix}_int8", "int8_one", f"{matrix}_scales", "int8_zero"]
    return [
        helper.make_node("MatMulIntegerToFloat", inputs, [f"{output}_by_column"], domain=_ONNX_RUNTIME),
        helper.make_node("Mul", [f"{output}_by_column", scales], [output]),
    ]


def _limits() -> list[Any]:
    from onnx import numpy_helper

    return [
        numpy_helper.from_array(np.array([-1], np.int64), "int8_axis"),
        numpy_helper.from_array(np.array([np.finfo(np.float32).tiny], np.float32), "int8_tiny"),
        numpy_helper.from_array(np.array([_LARGEST_ACTIVATION], np.float32), "int8_limit"),
        # A cast cuts off what is after the point, so one half more rounds.
        numpy_helper.from_array(np.array([_ZERO + 0.5], np.float32), "int8_shift"),
        numpy_helper.from_array(np.array(_ZERO, np.uint8), "int8_zero"),
        numpy_helper.from_array(np.array(1, np.float32), "int8_one"),
    ]


def _replace(graph: onnx.ModelProto, nodes: list[Any], changed: dict[str, list[Any]], added: list[Any]) -> None:
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    del graph.graph.value_info[:]
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.graph.initializer if tensor.name in used]
    del graph.graph.initializer[:]
    graph.graph.initializer.extend([*kept, *added, *(tensor for tensors in changed.values() for tensor in tensors)])
