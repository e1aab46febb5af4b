"""Exports to OpenVINO, which `make setup` installs."""

import os
from pathlib import Path

import numpy as np
import pytest

from tanzaku.exports.runtime import write_graph_bundle
from tanzaku.ship.bundle import open_bundle
from tanzaku.ship.certificate import Dtype
from tanzaku.ship.classifier import Classifier
from tests.bundles import DATASET, make_bundle
from tests.exports.conftest import TEXTS

if not os.environ.get("CI"):  # there, what is missing is an error
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    pytest.importorskip("nncf", reason="the extra openvino is not installed")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "long_text", "dtype"),
    [("prefix", "windows", "float32"), ("lora", "head+tail", "int8")],
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
    # In 8 bits the tiny encoder, whose weights are random, loses more than a trained one.
    allowed = 1e-4 if dtype == "float32" else 0.2 * np.abs(logits).max()
    np.testing.assert_allclose(found.scores(TEXTS), logits, rtol=0, atol=allowed)
