"""Which exports exist for a bundle, and why others don't."""

from __future__ import annotations

from pathlib import Path

from tanzaku.errors import BundleError
from tanzaku.ship.bundle import BundleFacts, EncoderBundleFacts, GraphBundleFacts, TextBundleFacts
from tanzaku.ship.certificate import Dtype, Form

# Methods without an encoder that can be exported as graphs.
TEXT_METHODS = ("tfidf-svm", "static")
GRAPH_FORMS: tuple[Form, ...] = ("onnx", "openvino")


def choose_form(folder: Path, facts: BundleFacts, to: Form, dtype: Dtype) -> Form:
    """What a bundle is exported to: `to`, but sentence-transformers where transformers has no such head.

    Args:
        folder: The bundle's, for messages.
        facts: What it says of itself.
        to: What was asked for.
        dtype: The same.

    Raises:
        BundleError: There is no such export; the message says why, and which there is.
    """
    if isinstance(facts, GraphBundleFacts):
        raise BundleError(f"{folder} was exported already; export the bundle that it was made from")
    if dtype == "int8" and to not in GRAPH_FORMS:
        raise BundleError(
            f"there is no export to {to} in 8 bits: it would compute in float32; export to onnx or openvino, or store "
            "a bundle in 8 bits with `tanzaku pack --int8`"
        )
    if dtype == "bfloat16" and to != "openvino":
        raise BundleError(
            f"there is no export to {to} that computes in bfloat16; export to openvino, or classify with the bundle "
            "itself (--precision bfloat16)"
        )
    if isinstance(facts, TextBundleFacts):
        _check_text(facts, to, dtype)
        return to
    if to == "openvino":
        _check_openvino(facts)
    if to in GRAPH_FORMS:
        return to
    _check_folder(facts, to)
    if to == "peft":
        _check_peft(facts)
        return to
    if to == "sentence-transformers" and facts.encoder.pooling == "cls":
        raise BundleError(
            "this bundle's head reads [CLS] (pooling = \"cls\") as transformers' own head does; export to transformers"
        )
    form: Form = "transformers" if facts.encoder.pooling == "cls" else "sentence-transformers"
    _check_mergeable(facts, form)
    return form


def _check_text(facts: TextBundleFacts, to: Form, dtype: Dtype) -> None:
    name = facts.method["name"]
    if to != "onnx" or name not in TEXT_METHODS:
        raise BundleError(
            f"{name} adapts no encoder, so there is no export to {to}; bundles of {' and '.join(TEXT_METHODS)} can be "
            "exported to onnx"
        )
    if dtype == "int8":
        raise BundleError(f"{name} has no matrix products that 8 bits would make faster; choose float32 (--dtype)")


def _check_openvino(facts: EncoderBundleFacts) -> None:
    if facts.method["name"] == "lora+tfidf":
        raise BundleError("OpenVINO can't count terms, which lora+tfidf does; export to onnx")


def _check_folder(facts: EncoderBundleFacts, to: Form) -> None:
    """What transformers, sentence-transformers and PEFT all can't do."""
    long_text = facts.encoder.long_text
    if long_text != "head":
        raise BundleError(
            f"{to} reads the first tokens of a document only, and this bundle reads long documents by long_text = "
            f'"{long_text}", so their labels would differ; export to onnx'
        )


def _check_peft(facts: EncoderBundleFacts) -> None:
    method = facts.build_method()
    if not method.opens_in_peft:
        raise BundleError(f"PEFT can't express what {method.name} adds to the encoder; export to onnx")
    if facts.merged:
        # Where the study pretrained the encoder, it is packed in any case.
        how = (
            "with --with-encoder --no-merge" if facts.encoder.pretrain else "without --with-encoder, --int8 and --int4"
        )
        raise BundleError(f"the adapter is merged into this bundle's encoder; pack the run {how}, and export that")


def _check_mergeable(facts: EncoderBundleFacts, to: Form) -> None:
    method = facts.build_method()
    if not method.mergeable:
        raise BundleError(
            f"{method.name} adds parts to the encoder that {to} does not have and that can't be merged; export to onnx"
        )
