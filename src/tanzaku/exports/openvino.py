"""An ONNX graph as one of OpenVINO's, in float32 or in 8 bits by NNCF."""

from __future__ import annotations

import logging
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tanzaku.runtime.graphs import ONNX_FILE, OPENVINO_FILE

if TYPE_CHECKING:
    import onnx

    from tanzaku.exports.calibration import Calibration


def write_openvino(graph: onnx.ModelProto, folder: Path, *, calibration: Calibration | None) -> None:
    """Write `model.xml` and `model.bin`.

    Args:
        graph: In float32.
        folder: The export's.
        calibration: For 8 bits; None leaves the graph in float32.
    """
    import openvino

    from tanzaku.exports.graphs import save_graph

    path = folder / ONNX_FILE  # OpenVINO reads files
    save_graph(graph, path)
    model = openvino.Core().read_model(str(path))
    if calibration is not None:
        model = _quantize(model, calibration)
    # Weights stay as they are: by default it would write them in 16 bits.
    openvino.save_model(model, str(folder / OPENVINO_FILE), compress_to_fp16=False)
    del model
    path.unlink()


def _quantize(model: Any, calibration: Calibration) -> Any:
    import nncf

    names = {one.get_any_name() for one in model.inputs}
    inputs = [{name: value for name, value in one.items() if name in names} for one in calibration.inputs()]
    nncf.set_log_level(logging.ERROR)
    with redirect_stdout(sys.stderr):  # its bars of progress, where scripts expect the export's path
        return nncf.quantize(
            model,
            nncf.Dataset(inputs),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(inputs),
        )
