"""An ONNX graph as one of OpenVINO's, in float32 or in 8 bits by NNCF."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tanzaku.data.characters import clean_text
from tanzaku.encoders.reading import tokenized_length
from tanzaku.runtime.graphs import ONNX_FILE, OPENVINO_FILE
from tanzaku.runtime.rows import make_rows
from tanzaku.runtime.settings import JsonSettings, MecabSettings, ReadingSettings
from tanzaku.runtime.tokens import open_tokenizer

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Calibration:
    """Texts of which NNCF learns how large activations are, and how they become a graph's inputs."""

    texts: Sequence[str]
    tokenizer: MecabSettings | JsonSettings
    tokenizer_folder: Path
    reading: ReadingSettings

    def inputs(self) -> list[dict[str, np.ndarray]]:
        """The inputs for each text."""
        tokenize = open_tokenizer(self.tokenizer, self.tokenizer_folder)
        length = tokenized_length(self.reading.long_text, max_tokens=self.reading.max_tokens)
        documents = tokenize([clean_text(text) for text in self.texts], length)
        return [vars(make_rows([document], self.reading)) for document in documents]


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
