"""Exports to OpenVINO, which `make setup` installs."""

import os
from pathlib import Path

import numpy as np
import pytest

from tanzaku.compute import choose_precision
from tanzaku.errors import BundleError
from tanzaku.exports.exporting import export
from tanzaku.exports.runtime import write_graph_bundle
from tanzaku.ship.bundle import open_bundle
from tanzaku.ship.cards.install import install_lines
from tanzaku.ship.certificate import Dtype
from tanzaku.ship.classifier import Classifier
from tests.bundles import DATASET, make_bundle
from tests.exports.conftest import TEXTS

if not os.environ.get("CI"):  # there, what is missing is an error
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    pytest.importorskip("nncf", reason="the extra openvino is not installed")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*processor has no instructions")
@pytest.mark.parametrize(
    ("method", "long_text", "dtype"),
    [("prefix", "windows", "float32"), ("lora", "head+tail", "int8"), ("bitfit", "head", "bfloat16")],
)
def test_openvino_gives_the_bundles_tokens_and_logits(
    bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str, long_text: str, dtype: Dtype
) -> None:
    bundle = make_bundle(tmp_path / "bundle", bert, method, {}, pooling="mean", long_text=long_text)
    out = tmp_path / "out"
    out.mkdir()
    write_graph_bundle(
        open_bundle(bundle),
        out,
        engine="openvino",
        dtype=dtype,
        encoder=None,
        calibration=DATASET.train.texts,
    )
    assert capsys.readouterr().out == ""
    assert install_lines(out, "openvino") == ["pip install './tanzaku[openvino,runtime-mecab]'"]
    assert {path.name for path in out.iterdir()} == {
        "bundle.json",
        "manifest.json",
        "model.bin",
        "model.xml",
        "tokenizer",
    }
    expected, found = Classifier.load(bundle, precision="float32"), Classifier.load(out)
    for ours, theirs in zip(expected.token_ids(TEXTS) or [], found.token_ids(TEXTS) or [], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    logits = expected.scores(TEXTS)
    # In 8 bits the tiny encoder, whose weights are random, loses more than a trained one; most on processors without
    # VNNI, whose sums of 8-bit products may saturate.
    allowed = {"float32": 1e-4, "bfloat16": 0.02 * np.abs(logits).max(), "int8": 0.3 * np.abs(logits).max()}[dtype]
    difference = np.abs(found.scores(TEXTS) - logits).max()
    assert difference <= allowed
    if dtype == "bfloat16" and choose_precision("auto", device="cpu") == "bfloat16":
        assert difference > 1e-4  # it did not compute in float32


@pytest.mark.slow
@pytest.mark.skipif(
    choose_precision("auto", device="cpu") == "float32", reason="this processor has no instructions for bfloat16"
)
def test_in_bfloat16_the_bundles_own_speed_is_measured(bert: Path, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", bert, "bitfit", {})
    made = export(bundle, tmp_path / "out", to="openvino", dtype="bfloat16").certificate
    assert made.dtype == "bfloat16"
    assert made.bfloat16_documents_per_second is not None


@pytest.mark.slow
def test_only_openvino_computes_in_bfloat16(bert: Path, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", bert, "bitfit", {})
    with pytest.raises(BundleError, match="no export to onnx that computes in bfloat16; export to openvino"):
        export(bundle, tmp_path / "out", to="onnx", dtype="bfloat16")
