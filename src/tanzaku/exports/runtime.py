"""Writes bundles that classify without PyTorch: a graph, the tokenizer, and what `bundle.json` says of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tanzaku import __version__
from tanzaku.errors import BundleError
from tanzaku.exports.calibration import Calibration
from tanzaku.extras import require_extra
from tanzaku.files import sha256_of_file
from tanzaku.runtime.graphs import ONNX_FILE, Engine
from tanzaku.runtime.settings import (
    TOKENIZER_FOLDER,
    VOCABULARY_FILE,
    ReadingSettings,
    TermSettings,
    TokenizerSettings,
)
from tanzaku.ship.building import write_facts
from tanzaku.ship.bundle import (
    ENCODER_FOLDER,
    MODEL_FOLDER,
    Bundle,
    EncoderBundleFacts,
    GraphBundleFacts,
    TextBundleFacts,
)
from tanzaku.ship.certificate import Dtype
from tanzaku.ship.held_out import copy_held_out
from tanzaku.ship.manifest import MANIFEST_FILE, write_manifest

if TYPE_CHECKING:
    import onnx
    from torch import nn

    from tanzaku.methods.static import TokenTable

# What an exported bundle says otherwise than the bundle that it was made from.
_OWN_FACTS = {"version", "kind", "tanzaku"}
_LARGEST_GRAPH = 2**31 - 2**20  # a protobuf's bytes, less room for what is not a weight


def write_graph_bundle(
    bundle: Bundle, folder: Path, *, engine: Engine, dtype: Dtype, encoder: str | None, calibration: Sequence[str]
) -> None:
    """Export a bundle into an empty folder.

    Args:
        bundle: Of a method that adapts an encoder, of tfidf-svm or of static.
        folder: Empty.
        engine: What is to compute the graph.
        dtype: Of the matrices; bfloat16 is for OpenVINO, which computes in it with weights that are stored in float32.
        encoder: Where the bundle's encoder lies, if not under its name.
        calibration: Texts of which 8 bits are learnt: how weights are rounded, or how large activations are.

    Raises:
        BundleError: The method, the architecture or the tokenizer can't be exported.
        TanzakuError: An extra is not installed.
    """
    require_extra("onnx", purpose="the export of a graph")
    if engine == "openvino":
        require_extra("openvino", purpose="the export to OpenVINO")
    if isinstance(bundle.facts, TextBundleFacts):
        _write_text(bundle, bundle.facts, folder)
    elif isinstance(bundle.facts, EncoderBundleFacts):
        _write_encoder(bundle, bundle.facts, folder, engine, dtype, encoder, calibration)
    else:
        raise BundleError(f"{bundle.folder} was exported already; export the bundle that it was made from")
    if dtype == "float32":  # they are about these weights
        copy_held_out(bundle.folder, folder)
        write_manifest(folder)


def _write_text(bundle: Bundle, facts: TextBundleFacts, folder: Path) -> None:
    from tanzaku.exports.graphs import save_graph
    from tanzaku.exports.terms import term_graph, terms_of_pipeline
    from tanzaku.methods.static import StaticEmbeddings
    from tanzaku.methods.tfidf_svm import TfidfSvm

    method = facts.build_method()
    with method.named_errors():
        fitted = method.load(bundle.folder / MODEL_FOLDER)
    if isinstance(method, StaticEmbeddings):
        _write_table(bundle, fitted, folder)
        return
    if not isinstance(method, TfidfSvm):
        raise BundleError(f"{method.name} can't be exported to onnx")
    save_graph(term_graph(terms_of_pipeline(fitted, characters=method.analyzer == "character")), folder / ONNX_FILE)
    tokenizer = TermSettings(analyzer=method.analyzer, longest_ngram=method.longest_ngram)
    write_facts(folder, _facts(bundle, tokenizer, reading=None, engine="onnxruntime", dtype="float32"))


def _write_table(bundle: Bundle, table: TokenTable, folder: Path) -> None:
    from tanzaku.exports.graphs import save_graph
    from tanzaku.exports.tables import table_graph
    from tanzaku.exports.tokenizers import write_tokenizer

    save_graph(table_graph(table), folder / ONNX_FILE)
    vocabulary = bundle.folder / MODEL_FOLDER / VOCABULARY_FILE
    settings = write_tokenizer(table.tokenizer, vocabulary, folder / TOKENIZER_FOLDER)
    pad_id = table.tokenizer.pad_token_id
    reading = ReadingSettings(max_tokens=None, long_text="head", max_windows=None, pad_id=pad_id)
    write_facts(folder, _facts(bundle, settings, reading=reading, engine="onnxruntime", dtype="float32"))


def _write_encoder(
    bundle: Bundle,
    facts: EncoderBundleFacts,
    folder: Path,
    engine: Engine,
    dtype: Dtype,
    encoder: str | None,
    calibration: Sequence[str],
) -> None:
    from tanzaku.exports.graphs import encoder_graph
    from tanzaku.exports.tokenizers import write_tokenizer
    from tanzaku.ship.loading import load_model

    model, tokenizer = load_model(bundle.folder, facts, encoder=encoder)
    vocabulary = bundle.folder / ENCODER_FOLDER / VOCABULARY_FILE
    settings = write_tokenizer(tokenizer, vocabulary, folder / TOKENIZER_FOLDER)
    reading = ReadingSettings(
        max_tokens=facts.encoder.max_tokens,
        long_text=facts.encoder.long_text,
        max_windows=facts.encoder.max_windows,
        pad_id=tokenizer.pad_token_id,
    )
    _check_size(model, engine)
    graph = encoder_graph(model, windows=reading.long_text == "windows")
    texts = Calibration(calibration, settings, folder / TOKENIZER_FOLDER, reading) if dtype == "int8" else None
    if engine == "openvino":
        from tanzaku.exports.openvino import write_openvino

        write_openvino(graph, folder, calibration=texts)
    else:
        _write_onnx(graph, folder, calibration=texts)
    write_facts(folder, _facts(bundle, settings, reading=reading, engine=engine, dtype=dtype))


def _check_size(model: nn.Module, engine: Engine) -> None:
    """Refuse, before it is traced, a model that no ONNX file holds."""
    size = 4 * sum(parameter.numel() for parameter in model.parameters())
    if size > _LARGEST_GRAPH:
        raise BundleError(
            f"the model has {size / 2**30:.1f} GiB of weights in float32, and an ONNX graph, from which an export to "
            f"{engine} is made in any precision, holds at most 2; export it to transformers or sentence-transformers"
        )


def _write_onnx(graph: onnx.ModelProto, folder: Path, *, calibration: Calibration | None) -> None:
    from tanzaku.exports.graphs import save_graph
    from tanzaku.exports.int8 import quantize_graph

    if calibration is not None:
        quantize_graph(graph, calibration.inputs())
    save_graph(graph, folder / ONNX_FILE)


def _facts(
    bundle: Bundle,
    tokenizer: TokenizerSettings,
    *,
    reading: ReadingSettings | None,
    engine: Engine,
    dtype: Dtype,
) -> GraphBundleFacts:
    common = set(GraphBundleFacts.model_fields) & set(type(bundle.facts).model_fields) - _OWN_FACTS
    kept = {name: getattr(bundle.facts, name) for name in common - {"weights", "precision"}}
    return GraphBundleFacts(
        tanzaku=__version__,
        engine=engine,
        weights="int8" if dtype == "int8" else "float32",
        precision="bfloat16" if dtype == "bfloat16" else "float32",
        tokenizer=tokenizer,
        reading=reading,
        bits=bundle.facts.bits if isinstance(bundle.facts, EncoderBundleFacts) else None,
        exported_from=sha256_of_file(bundle.folder / MANIFEST_FILE),
        **kept,
    )
