"""Texts of which a graph in 8 bits learns what passes through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tanzaku.data.characters import clean_text
from tanzaku.encoders.reading import tokenized_length
from tanzaku.runtime.rows import make_rows
from tanzaku.runtime.settings import JsonSettings, MecabSettings, ReadingSettings
from tanzaku.runtime.tokens import open_tokenizer
from tanzaku.threads import settled_threads

if TYPE_CHECKING:
    import onnx

# More would take longer, and hardly change the second moments.
_MOST_TOKENS = 8192


@dataclass(frozen=True)
class Calibration:
    """Texts, and how they become a graph's inputs."""

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


def second_moments(
    graph: onnx.ModelProto, names: Sequence[str], inputs: Sequence[dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The mean of x xᵀ over the tokens' activations x, (width, width) float32, by the activations' names.

    Args:
        graph: In float32.
        names: Of activations in it, (…, tokens, width).
        inputs: Of texts; those after the first 8,192 tokens are not needed.
    """
    import onnxruntime
    from onnx import TensorProto, helper

    outputs = len(graph.graph.output)
    graph.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settled_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as in tanzaku.runtime.graphs
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    del graph.graph.output[outputs:]
    asked = {one.name for one in session.get_inputs()}
    moments: dict[str, np.ndarray] = {}
    tokens = 0
    for one in inputs:
        values = session.run(list(names), {name: value for name, value in one.items() if name in asked})
        for name, value in zip(names, values, strict=True):
            rows = value.reshape(-1, value.shape[-1])
            moments[name] = moments.get(name, 0) + rows.T @ rows
        tokens += one["input_ids"].size
        if tokens >= _MOST_TOKENS:
            break
    return {name: value / tokens for name, value in moments.items()}
