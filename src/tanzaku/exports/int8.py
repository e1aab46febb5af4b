"""A graph's matrices in 8 bits: each weight's row and each token's activations have their own scale.

ONNX Runtime's own dynamic quantisation has one scale for all activations of a batch, so that the answer for a text
depends on the texts next to it. Here it doesn't. Weights use 7 of the 8 bits: processors without VNNI add pairs of
products in 16 bits, which then can't overflow, so that all processors compute with the same integers (ONNX Runtime's
issues 6004 and 14642 are about what happens otherwise).

Three things bring the logits nearer to those of float32. Weights are rounded so that their errors make up for each
other on the activations of some texts (`tanzaku.exports.rounding`). After a normalization, channels with large
activations are divided, and the weights that they meet multiplied (SmoothQuant: Xiao et al. 2022,
https://arxiv.org/abs/2211.10438). The values of GELU, which are hardly negative, use all 8 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tanzaku.exports.calibration import second_moments
from tanzaku.exports.rounding import factors_of, largest_of, round_matrix

if TYPE_CHECKING:
    import onnx

_LARGEST_WEIGHT = 63
_LARGEST_EMBEDDING = 127  # these are looked up and not multiplied
_ONNX_RUNTIME = "com.microsoft"
_NORMALIZATION = "LayerNormalization"  # whose channels differ most
# Smaller ones take little space and time.
_FEWEST_WEIGHTS = 256


@dataclass(frozen=True)
class _Range:
    """How activations become integers without a sign, which the processors' instructions want.

    Attributes:
        name: The beginning of the names of its constants.
        zero: The integer that 0 becomes.
        limit: How many integers are above it.
        smallest: The least that the token's largest activation counts as, so that none is below the integer 0.
        signed: Whether the size counts, and not only what is above 0.
    """

    name: str
    zero: int
    limit: int
    smallest: float
    signed: bool


_SYMMETRIC = _Range("int8", 128, 127, float(np.finfo(np.float32).tiny), signed=True)
# GELU is never below -0.17. With this zero, an activation of 1.6 already has all integers above it.
_GELU = _Range("int8_gelu", 24, 231, 0.17 * 231 / 24, signed=False)
_RANGES = {"Gelu": _GELU}


def quantize_graph(graph: onnx.ModelProto, inputs: Sequence[dict[str, np.ndarray]]) -> int:
    """Put products of integers in the place of the graph's products with constant matrices, and integers in the place
    of embeddings.

    The classification layer, which the exporter writes as `Gemm`, stays in float32.

    Args:
        graph: It is changed in place.
        inputs: The graph's, of texts like those that it will classify.

    Returns:
        How many matrices are stored in 8 bits.
    """
    from onnx import helper, numpy_helper

    constants = {tensor.name: tensor for tensor in graph.graph.initializer}
    producers = {output: node.op_type for node in graph.graph.node for output in node.output}
    factors, columns = _columns_of(graph, constants, producers, inputs)
    changed = _rows_of(graph, constants) | columns
    nodes: list[Any] = []
    lowered: set[str] = set()
    for node in graph.graph.node:
        name = _matrix_of(node, constants)
        if name is None:
            nodes.append(node)
        elif node.op_type == "Gather":
            nodes += _look_up(node, name)
        else:
            activations = node.input[0]
            kind = _RANGES.get(producers.get(activations, ""), _SYMMETRIC)
            if activations not in lowered:
                nodes += _lower(activations, kind, balanced=activations in factors)
                lowered.add(activations)
            nodes += _multiply(node, name, kind)
    changed |= {name: [numpy_helper.from_array(value, f"{name}_factors")] for name, value in factors.items()}
    if changed:
        graph.opset_import.append(helper.make_opsetid(_ONNX_RUNTIME, 1))
    _replace(graph, nodes, changed, _limits() if changed else [])
    return len(changed) - len(factors)


def _rows_of(graph: onnx.ModelProto, constants: dict[str, Any]) -> dict[str, list[Any]]:
    """The embeddings as integers, and the scales of their rows, by the matrices' names."""
    from onnx import numpy_helper

    stored = {}
    for node in graph.graph.node:
        if node.op_type == "Gather" and (name := _matrix_of(node, constants)) and name not in stored:
            matrix = numpy_helper.to_array(constants[name])
            scales = largest_of(matrix.T)[:, None] / np.float32(_LARGEST_EMBEDDING)  # (rows, 1)
            stored[name] = _tensors(name, np.rint(matrix / scales).astype(np.int8), scales)
    return stored


def _columns_of(
    graph: onnx.ModelProto,
    constants: dict[str, Any],
    producers: dict[str, str],
    inputs: Sequence[dict[str, np.ndarray]],
) -> tuple[dict[str, np.ndarray], dict[str, list[Any]]]:
    """By what some activations are multiplied first, (width,) float32; and by the matrices' names, the integers with
    the scales of their columns."""
    from onnx import numpy_helper

    users: dict[str, list[str]] = {}
    for node in graph.graph.node:
        if node.op_type == "MatMul" and (name := _matrix_of(node, constants)):
            users.setdefault(name, []).append(node.input[0])
    read = sorted({one for several in users.values() for one in several})
    moments = second_moments(graph, read, inputs)
    matrices = {name: numpy_helper.to_array(constants[name]) for name in users}
    factors = {}
    for activations in (one for one in read if producers.get(one) == _NORMALIZATION):
        met = [name for name, several in users.items() if activations in several]
        if all(len(users[name]) == 1 for name in met):  # some encoders share their layers' weights
            factors[activations] = factors_of([matrices[name] for name in met], moments[activations])
            for name in met:
                matrices[name] = matrices[name] / factors[activations][:, None]
            moments[activations] *= np.outer(factors[activations], factors[activations])
    seen = {name: np.sum([moments[one] for one in several], axis=0) for name, several in users.items()}
    rounded = {name: round_matrix(matrices[name], seen[name], largest=_LARGEST_WEIGHT) for name in users}
    return factors, {name: _tensors(name, *one) for name, one in rounded.items()}


def _tensors(name: str, integers: np.ndarray, scales: np.ndarray) -> list[Any]:
    from onnx import numpy_helper

    return [numpy_helper.from_array(integers, f"{name}_int8"), numpy_helper.from_array(scales, f"{name}_scales")]


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


def _look_up(node: Any, matrix: str) -> list[Any]:
    from onnx import TensorProto, helper

    (output,), indices = node.output, node.input[1]
    return [
        helper.make_node("Gather", [f"{matrix}_int8", indices], [f"{output}_int8"]),
        helper.make_node("Gather", [f"{matrix}_scales", indices], [f"{output}_scales"]),
        helper.make_node("Cast", [f"{output}_int8"], [f"{output}_wide"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{output}_wide", f"{output}_scales"], [output]),
    ]


def _lower(activations: str, kind: _Range, *, balanced: bool) -> list[Any]:
    """The nodes that make integers of activations (…, tokens, width), and each token's scale (…, tokens, 1).

    With `balanced`, the activations are multiplied by their factors first.
    """
    from onnx import TensorProto, helper

    names = ("sizes", "largest", "positive", "scales", "inverse", "scaled", "shifted", "uint8")
    sizes, largest, positive, scales, inverse, scaled, shifted, integers = (f"{activations}_{name}" for name in names)
    nodes, values = [], activations
    if balanced:
        values = f"{activations}_balanced"
        nodes.append(helper.make_node("Mul", [activations, f"{activations}_factors"], [values]))
    if kind.signed:
        nodes.append(helper.make_node("Abs", [values], [sizes]))
    return [
        *nodes,
        helper.make_node("ReduceMax", [sizes if kind.signed else values, "int8_axis"], [largest], keepdims=1),
        helper.make_node("Max", [largest, f"{kind.name}_smallest"], [positive]),
        helper.make_node("Div", [positive, f"{kind.name}_limit"], [scales]),
        helper.make_node("Reciprocal", [scales], [inverse]),
        helper.make_node("Mul", [values, inverse], [scaled]),
        helper.make_node("Add", [scaled, f"{kind.name}_shift"], [shifted]),
        helper.make_node("Cast", [shifted], [integers], to=TensorProto.UINT8),
    ]


def _multiply(node: Any, matrix: str, kind: _Range) -> list[Any]:
    from onnx import helper

    (output,), activations = node.output, node.input[0]
    # ONNX Runtime's own operator: the sums become floating-point numbers while they are in the processor's cache.
    inputs = [f"{activations}_uint8", f"{matrix}_int8", "int8_one", f"{matrix}_scales", f"{kind.name}_zero"]
    return [
        helper.make_node("MatMulIntegerToFloat", inputs, [f"{output}_by_column"], domain=_ONNX_RUNTIME),
        helper.make_node("Mul", [f"{output}_by_column", f"{activations}_scales"], [output]),
    ]


def _limits() -> list[Any]:
    from onnx import numpy_helper

    made: dict[str, np.ndarray] = {"int8_axis": np.array([-1], np.int64), "int8_one": np.array(1, np.float32)}
    for kind in (_SYMMETRIC, _GELU):
        made[f"{kind.name}_smallest"] = np.array([kind.smallest], np.float32)
        made[f"{kind.name}_limit"] = np.array([kind.limit], np.float32)
        # A cast cuts off what is after the point, so one half more rounds.
        made[f"{kind.name}_shift"] = np.array([kind.zero + 0.5], np.float32)
        made[f"{kind.name}_zero"] = np.array(kind.zero, np.uint8)
    return [numpy_helper.from_array(value, name) for name, value in made.items()]


def _replace(graph: onnx.ModelProto, nodes: list[Any], changed: dict[str, list[Any]], added: list[Any]) -> None:
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    del graph.graph.value_info[:]
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.graph.initializer if tensor.name in used]
    del graph.graph.initializer[:]
    graph.graph.initializer.extend([*kept, *added, *(tensor for tensors in changed.values() for tensor in tensors)])
