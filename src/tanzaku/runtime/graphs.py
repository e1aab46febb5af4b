"""An exported graph on this processor: by ONNX Runtime or OpenVINO."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from tanzaku.errors import BundleError, TanzakuWarning
from tanzaku.extras import require_extra
from tanzaku.threads import settled_threads

Engine = Literal["onnxruntime", "openvino"]
Precision = Literal["float32", "bfloat16"]
Run = Callable[[Mapping[str, np.ndarray]], np.ndarray]

ONNX_FILE = "model.onnx"
OPENVINO_FILE = "model.xml"
GRAPH_FILES: dict[Engine, str] = {"onnxruntime": ONNX_FILE, "openvino": OPENVINO_FILE}

_ERRORS_ONLY = 3
_CPU = "CPU"
# Takes longer than the sum and the normalization that it fuses: with tanzaku-mini on an AMD EPYC, 3 to 9 % more of the
# processor's time in float32, and 7 to 19 % in 8 bits.
_SLOWER = ["SkipLayerNormFusion"]


def open_graph(folder: Path, engine: Engine, *, precision: Precision = "float32") -> Run:
    """A function from a graph's inputs by name to its only output, (documents, labels) float32.

    Inputs that the graph does not have are left out. It computes with `settled_threads()` threads.

    Args:
        folder: The bundle's.
        engine: What computes the graph.
        precision: In which OpenVINO multiplies matrices; where the processor has no instructions for bfloat16, it is
            float32, with a warning.

    Raises:
        BundleError: The graph can't be used.
        TanzakuError: The engine is not installed.
    """
    path = folder / GRAPH_FILES[engine]
    try:
        return _open_onnx(path) if engine == "onnxruntime" else _open_openvino(path, precision)
    except (RuntimeError, ValueError, OSError) as error:
        raise BundleError(f"{path} can't be used ({error}); export the bundle again") from error


def _open_onnx(path: Path) -> Run:
    require_extra("runtime", purpose="classifying with an ONNX bundle", module="onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settled_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Threads that spin while they wait take the processor from everybody else; see tanzaku.threads.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOWER
        )
    except Exception as error:  # its exceptions have no common class
        raise BundleError(f"{path} can't be used by ONNX Runtime ({error}); export the bundle again") from error
    names = [one.name for one in session.get_inputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        (logits,) = session.run(None, {name: inputs[name] for name in names})
        return np.asarray(logits)

    return run


def _open_openvino(path: Path, precision: Precision) -> Run:
    require_extra("openvino", purpose="classifying with an OpenVINO bundle", module="openvino")
    import openvino

    core = openvino.Core()
    if precision == "bfloat16" and "BF16" not in core.get_property(_CPU, "OPTIMIZATION_CAPABILITIES"):
        warnings.warn(
            "the export is for bfloat16, for which this processor has no instructions; classifying in float32, so a "
            "few labels may differ",
            TanzakuWarning,
            stacklevel=2,
        )
        precision = "float32"
    # Without the hint it computes in bfloat16 where the processor can, and gives other labels there.
    settings = {
        "INFERENCE_NUM_THREADS": settled_threads(),
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(str(path), _CPU, settings)
    names = [one.get_any_name() for one in compiled.inputs]

    def run(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.array(compiled({name: inputs[name] for name in names})[0])

    return run
