"""From an adapted model to an ONNX graph: PyTorch's exporter for the encoder, and our own nodes for terms."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from tanzaku import __version__
from tanzaku.encoders.pooled import PooledClassifier
from tanzaku.encoders.terms import TermHead
from tanzaku.errors import BundleError
from tanzaku.exports.terms import add_terms, terms_of

if TYPE_CHECKING:
    import onnx

LOGITS = "logits"
_ENCODER_LOGITS = "encoder_logits"
# None of the sizes may be 0 or 1, or equal to another: PyTorch would take them for constants, or for one size.
_EXAMPLE_ROWS, _EXAMPLE_TOKENS, _EXAMPLE_DOCUMENTS = 3, 11, 2
# The exporter's own; ONNX Runtime has had it since version 1.17.
_OPSET = 20


class _PlainLogits(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


class _PooledLogits(nn.Module):
    """Without the terms. With `averages`, the features of a document are those of its rows, weighted by it."""

    def __init__(self, model: PooledClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, averages: Tensor | None = None) -> Tensor:
        features = self.model.features(input_ids, attention_mask)  # (rows, features)
        if averages is not None:
            features = averages @ features  # (documents, features)
        logits: Tensor = self.model.classifier(features)
        return logits


def encoder_graph(model: nn.Module, *, windows: bool) -> onnx.ModelProto:
    """The graph of a classifier in float32.

    Its inputs are those of `tanzaku.runtime.rows.Rows`, `averages` only with `windows`; its output is `logits`
    (documents, labels). All sizes but the number of labels are free.

    Args:
        model: What `tanzaku.ship.loading.load_model` gives: on the CPU, in evaluation mode.
        windows: Whether a document may have several rows.

    Raises:
        BundleError: PyTorch's exporter can't do this architecture.
    """
    # What PyTorch fuses becomes, as a graph, more work than the plain formula: a fifth of the time of a BERT.
    _plain(model).set_attn_implementation("eager")
    pooled = isinstance(_plain(model), PooledClassifier)
    module = _PooledLogits(cast(PooledClassifier, _plain(model))) if pooled else _PlainLogits(model)
    graph = _trace(module, windows=windows)
    head = _plain(model).terms if pooled else None
    if isinstance(head, TermHead):
        add_terms(
            graph,
            terms_of(head),
            encoder_logits=_rename_output(graph, _ENCODER_LOGITS),
            windows=windows,
        )
    else:
        _rename_output(graph, LOGITS)
    graph.producer_name, graph.producer_version = "tanzaku", __version__
    return graph


def save_graph(graph: onnx.ModelProto, path: Path) -> None:
    """Write a graph in one file, whose parts were checked against each other."""
    import onnx

    onnx.checker.check_model(graph)
    onnx.save_model(graph, str(path))


def _plain(model: nn.Module) -> Any:
    """The classifier itself, where PEFT wraps it."""
    return cast(Any, model).get_base_model() if hasattr(model, "get_base_model") else model


def _trace(module: nn.Module, *, windows: bool) -> onnx.ModelProto:
    from torch.export import Dim

    ids = torch.full((_EXAMPLE_ROWS, _EXAMPLE_TOKENS), 5)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    sizes: list[dict[int, Any]] = [{0: Dim("rows"), 1: Dim("tokens")}, {0: Dim("rows"), 1: Dim("tokens")}]
    arguments, names = [ids, mask], ["input_ids", "attention_mask"]
    if windows:
        arguments.append(torch.full((_EXAMPLE_DOCUMENTS, _EXAMPLE_ROWS), 1 / _EXAMPLE_ROWS))
        sizes.append({0: Dim("documents"), 1: Dim("rows")})
        names.append("averages")
    try:
        with _quiet_exporter():
            program = torch.onnx.export(
                module.eval(),
                tuple(arguments),
                dynamo=True,
                dynamic_shapes=tuple(sizes),
                input_names=names,
                output_names=[LOGITS],
                opset_version=_OPSET,
                verbose=False,
            )
    except Exception as error:  # the exporter's errors have no common class
        raise BundleError(
            f"PyTorch can't export this architecture as a graph ({_first_line(error)}); use the bundle as it is, or "
            "export it to transformers or sentence-transformers"
        ) from error
    assert program is not None
    return program.model_proto


def _first_line(error: Exception) -> str:
    lines: Sequence[str] = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


def _rename_output(graph: onnx.ModelProto, name: str) -> str:
    """Give the graph's only output another name, and return that."""
    (output,) = graph.graph.output
    if output.name != name:
        for node in graph.graph.node:
            node.output[:] = [name if one == output.name else one for one in node.output]
            node.input[:] = [name if one == output.name else one for one in node.input]
        output.name = name
    return name


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep back the exporter's remarks on its own progress, and on torchvision, which nothing here needs."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
