"""`tanzaku export` as a whole: what is written, the certificate, and what is refused."""

import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from typer.testing import CliRunner, Result

from tanzaku.cli import app
from tanzaku.data.dataset import SAMPLE, Documents
from tanzaku.data.loading import load_dataset
from tanzaku.data.prepared import Preparation, write_prepared
from tanzaku.encoders.source import resolve_encoder
from tanzaku.errors import BundleError, TanzakuError
from tanzaku.exports.exporting import _choose, _remarks, calibration_texts
from tanzaku.ship.certificate import (
    Certificate,
    Dtype,
    Measured,
    Side,
    Texts,
    certify,
    check_certificate,
    read_certificate,
    write_certificate,
)
from tanzaku.ship.classifier import Classifier
from tanzaku.ship.hub import push
from tanzaku.ship.manifest import write_manifest
from tests.bundles import DATASET, make_bundle


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "data"
    write_prepared(Preparation(DATASET, source={}, options={}), folder)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, bert: Path) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "b", bert, "lora", {"rank": 2})


@pytest.fixture(scope="module")
def terms(tmp_path_factory: pytest.TempPathFactory, bert: Path) -> Path:
    return make_bundle(tmp_path_factory.mktemp("terms") / "b", bert, "tfidf-svm", {})


def test_an_export_has_a_certificate_of_the_data_that_was_given(bundle: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = _run("export", bundle, "--to", "transformers", "--out", out, "--data", data, "--max-flips", 0)
    assert done.exit_code == 0, (done.stderr, done.exception)
    assert done.stdout == f"{out}\n"
    found = read_certificate(out)
    assert (found.form, found.dtype, found.texts, found.flips) == ("transformers", "float32", len(DATASET.val), 0)
    assert found.token_ids_equal == found.texts
    assert found.flips_interval[0] < 1e-9 < found.flips_interval[1] < 0.3  # 0 of 12
    assert found.largest_logit_difference < 1e-4
    assert found.before.accuracy == found.after.accuracy is not None
    assert 0 < found.after.median_ms <= found.after.percentile_95_ms
    assert found.before.size_bytes > (out / "model.safetensors").stat().st_size
    assert "labels that changed: 0 (95 % interval" in done.stderr
    assert "one thread of" in done.stderr
    card = ModelCard.load(out / "README.md", ignore_metadata_errors=False)
    assert (card.data.library_name, card.data.tags[-1]) == ("transformers", "transformers")
    assert "pipeline(" in card.text
    assert "\npip install transformers torch fugashi ipadic\n" in card.text
    assert f"{found.after.median_ms:.1f}" in card.text
    assert str(bundle.parent) not in card.content
    private = [path for path in out.rglob("*.json") if str(bundle.parent) in path.read_text(encoding="utf-8")]
    assert private == []
    # What was damaged since then is not uploaded.
    weights = out / "model.safetensors"
    assert weights.name in push(out, "our-group/classifier", dry_run=True).files
    # Nor is what was not exported.
    (out / "customers.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BundleError, match=r"holds customers\.json, which is not part of an export; remove it"):
        push(out, "our-group/classifier", dry_run=True)
    (out / "customers.json").unlink()
    content = weights.read_bytes()
    weights.write_bytes(content[:-50])
    with pytest.raises(BundleError, match=r"model\.safetensors has been changed or damaged since the export was made"):
        push(out, "our-group/classifier", dry_run=True)
    weights.unlink()
    with pytest.raises(BundleError, match=r"model\.safetensors is missing; make the export again"):
        push(out, "our-group/classifier", dry_run=True)


def test_without_data_the_sample_corpus_is_classified(terms: Path, tmp_path: Path) -> None:
    done = _run("export", terms, "--to", "onnx", "--out", tmp_path / "out")
    assert done.exit_code == 0, (done.stderr, done.exception)
    found = read_certificate(tmp_path / "out")
    assert found.texts_from == "the validation texts of sample"
    assert (found.flips, found.token_ids_equal, found.before.accuracy) == (0, None, None)
    assert f"Next: tanzaku classify {tmp_path / 'out'} TEXT" in done.stderr
    lines = _run("classify", tmp_path / "out", "海に船がある。", "--format", "jsonl").stdout.splitlines()
    assert json.loads(lines[0])["label"] == Classifier.load(terms)(["海に船がある。"])[0].label
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert (card.data.library_name, card.data.tags[-1]) == ("tanzaku", "onnx")
    assert "pip install './tanzaku[runtime-mecab]'\n" in card.text  # it cuts words
    checked = _run("inspect", tmp_path / "out")
    assert checked.exit_code == 0, checked.stdout


def test_what_lies_in_the_folder_is_not_replaced(terms: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine", encoding="utf-8")
    refused = _run("export", terms, "--to", "onnx", "--out", out, "--force")
    assert isinstance(refused.exception, TanzakuError)
    assert "contains something that is not an export" in str(refused.exception)
    (out / "thesis.txt").unlink()
    assert _run("export", terms, "--to", "onnx", "--out", out).exit_code == 0
    again = _run("export", terms, "--to", "onnx", "--out", out)
    assert "already contains an export" in str(again.exception)
    assert _run("export", terms, "--to", "onnx", "--out", out, "--force").exit_code == 0
    twice = _run("export", out, "--to", "onnx", "--out", tmp_path / "twice")
    assert "was exported already" in str(twice.exception)


def test_files_of_others_in_an_export_are_not_lost(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "export"
    assert _run("export", bundle, "--to", "peft", "--out", out).exit_code == 0
    assert _run("export", bundle, "--to", "peft", "--out", out, "--force").exit_code == 0
    for name in ("classify_mails.py", "inner/bundle.json"):
        (mine := out / name).parent.mkdir(exist_ok=True)
        mine.write_text("mine", encoding="utf-8")
        refused = _run("export", bundle, "--to", "peft", "--out", out, "--force")
        assert isinstance(refused.exception, BundleError)
        assert f"contains {name}, which is no part of the export and would be lost" in str(refused.exception)
        mine.unlink()


def test_every_class_calibrates_8_bits() -> None:
    sample = load_dataset(SAMPLE)
    classes = dict(zip(sample.train.texts, sample.train.labels, strict=True))
    ordered = replace(sample, train=Documents(*zip(*sorted(classes.items(), key=lambda one: one[1]), strict=True)))
    texts = calibration_texts(ordered)
    assert len(set(texts)) == 200
    assert {classes[text] for text in texts[:40]} == set(sample.label_names)


def test_a_model_that_no_onnx_file_holds_is_refused_before_it_is_traced(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tanzaku.exports.runtime._LARGEST_GRAPH", 1000)
    monkeypatch.setattr("tanzaku.exports.graphs.encoder_graph", None)
    refused = _run("export", bundle, "--to", "onnx", "--out", tmp_path / "out")
    assert isinstance(refused.exception, BundleError)
    assert "holds at most 2; export it to transformers" in str(refused.exception)


def test_a_bundle_is_not_replaced_even_if_it_has_a_certificate(terms: Path, tmp_path: Path) -> None:
    eight_bits, link = tmp_path / "int8", tmp_path / "link"
    shutil.copytree(terms, eight_bits)
    side = Side(size_bytes=1, accuracy=None, median_ms=1, percentile_95_ms=1, documents_per_second=1)
    scores = np.array([[2.0, 1.0, 0.0]], np.float32)
    measured = Measured(scores, None, side)
    write_certificate(
        eight_bits, certify(measured, measured, Texts(["海"], None, "given"), form="bundle", dtype="int8")
    )
    write_manifest(eight_bits)
    link.symlink_to(eight_bits, target_is_directory=True)
    before = {path: path.read_bytes() for path in eight_bits.rglob("*") if path.is_file()}
    for source, out, message in (
        (terms, eight_bits, "contains something that is not an export"),
        (eight_bits, eight_bits, "itself; choose a new folder"),
        (eight_bits, link, "itself; choose a new folder"),
        (link, tmp_path / "other" / ".." / "int8", "itself; choose a new folder"),
        (eight_bits, link / "new", "itself; choose a new folder"),
    ):
        refused = _run("export", source, "--to", "onnx", "--out", out, "--force")
        assert isinstance(refused.exception, BundleError)
        assert message in str(refused.exception)
    assert {path: path.read_bytes() for path in eight_bits.rglob("*") if path.is_file()} == before


def test_without_bfloat16_instructions_nothing_is_exported_in_it(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be float32 that the certificate is about."""
    (tmp_path / "cpuinfo").write_text("flags\t: fpu avx2 fma\n", encoding="utf-8")
    monkeypatch.setattr("tanzaku.machine._CPUINFO", tmp_path / "cpuinfo")
    refused = _run("export", bundle, "--to", "openvino", "--dtype", "bfloat16", "--out", tmp_path / "out")
    assert isinstance(refused.exception, BundleError)
    assert "no instructions for bfloat16" in str(refused.exception)
    assert "choose float32 or int8 (--dtype)" in str(refused.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_peft_opens_an_adapter_of_the_included_encoder_as_the_card_says(tmp_path: Path) -> None:
    """Its weights are stored in 4 bits, which only Tanzaku reads, until they are written for transformers."""
    mini = resolve_encoder("tanzaku-mini").folder
    made = make_bundle(tmp_path / "bundle", mini, "lora", {"rank": 2, "targets": ["all-linear"]}, pooling="mean")
    out = tmp_path / "out"
    done = _run("export", made, "--to", "peft", "--out", out)
    assert done.exit_code == 0, (done.stderr, done.exception)
    assert read_certificate(out).largest_logit_difference < 1e-4
    _, _, rest = (out / "README.md").read_text(encoding="utf-8").partition("```python\n")
    code = rest.partition("```")[0]
    assert "tanzaku encoder export" in code
    assert _run("encoder", "export", "tanzaku-mini", out / "encoder").exit_code == 0
    command = [sys.executable, "-W", "error::UserWarning", "-c", code]
    shown = subprocess.run(command, cwd=out, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr[-2000:]
    logits = [float(number) for number in re.findall(r"-?\d+\.\d+(?:e[+-]?\d+)?", shown.stdout)]
    expected = Classifier.load(made, precision="float32").scores(["海に船がある。"])[0]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-3)  # as many digits as PyTorch prints


@pytest.mark.slow
@pytest.mark.xdist_group("graphs")
def test_auto_takes_the_faster_one_and_flips_over_the_limit_are_refused(
    bundle: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text("flags\t: fpu avx2 fma\n", encoding="utf-8")
    monkeypatch.setattr("tanzaku.machine._CPUINFO", tmp_path / "cpuinfo")
    done = _run("export", bundle, "--to", "onnx", "--dtype", "auto", "--data", data, "--out", tmp_path / "auto")
    assert done.exit_code == 0, (done.stderr, done.exception)
    chosen = read_certificate(tmp_path / "auto").dtype
    assert f"{chosen} was chosen, the fastest of those that may be used" in done.stderr
    assert "no instructions for products of 8 bits" not in done.stderr  # their speed was measured


def test_a_certificate_that_is_worse_than_allowed_is_refused(terms: Path, tmp_path: Path) -> None:
    assert _run("export", terms, "--to", "onnx", "--out", tmp_path / "out").exit_code == 0
    good = read_certificate(tmp_path / "out").model_copy(update={"texts": 200})
    check_certificate(good, max_flips=0.0)
    flipped = good.model_copy(update={"flips": 3, "dtype": "int8", "largest_logit_difference": 0.5})
    check_certificate(flipped, max_flips=None)
    check_certificate(flipped, max_flips=0.015)
    with pytest.raises(BundleError, match=r"3 of 200 texts \(1.50 %\) got another label, .*; nothing was written; "):
        check_certificate(flipped, max_flips=0.01)
    with pytest.raises(BundleError, match="more than rounding explains"):
        check_certificate(good.model_copy(update={"largest_logit_difference": 0.5}), max_flips=None)
    large = {"largest_logit": 40.0, "largest_logit_difference": 0.02}  # rounding is relative
    check_certificate(good.model_copy(update=large), max_flips=None)
    with pytest.raises(BundleError, match="are not finite numbers; nothing was written"):
        check_certificate(flipped.model_copy(update={"largest_logit_difference": math.nan}), max_flips=None)
    with pytest.raises(BundleError, match=r"\(--max-flips\); nothing was written; allow more"):
        check_certificate(good.model_copy(update={"flips": 3}), max_flips=0.0)
    with pytest.raises(BundleError, match="2 of 200 texts have other token ids"):
        check_certificate(good.model_copy(update={"token_ids_equal": 198}), max_flips=None)
    # A bundle is packed, and not exported.
    bundle = flipped.model_copy(update={"form": "bundle", "dtype": "int8"})
    for one, allowed in ((bundle, 0.01), (bundle.model_copy(update={"largest_logit_difference": math.nan}), None)):
        with pytest.raises(BundleError, match="pack without --int8 and --int4"):
            check_certificate(one, max_flips=allowed)


def _faster(side: Side, documents_per_second: float) -> Side:
    return side.model_copy(update={"documents_per_second": documents_per_second})


def test_where_8_bits_are_slower_this_is_said_and_float32_taken(terms: Path, tmp_path: Path) -> None:
    """On this processor, whichever that is: the speeds are made up."""
    assert _run("export", terms, "--to", "onnx", "--out", tmp_path / "out").exit_code == 0
    made = read_certificate(tmp_path / "out")
    bundle, exact, slow = _faster(made.before, 50), _faster(made.after, 60), _faster(made.after, 40)
    exports: dict[Dtype, Certificate] = {
        "float32": made.model_copy(update={"before": bundle, "after": exact}),
        "int8": made.model_copy(update={"before": bundle, "after": slow, "dtype": "int8"}),
    }
    notes: list[str] = []
    assert _choose(exports, None, notes) == "float32"
    assert notes.pop().endswith("documents per second on this processor are 60.0 in float32, 40.0 in int8.")
    fast = {"after": _faster(made.after, 80), "dtype": "bfloat16", "flips": 1, "texts": 100}
    exports["bfloat16"] = exports["float32"].model_copy(update=fast)
    assert _choose(exports, 0.01, []) == "bfloat16"
    assert _choose(exports, 0.0, notes) == "float32"
    assert notes == [
        "bfloat16 can't be used: 1 of 100 texts (1.00 %) got another label, and at most 0 % may (--max-flips).",
        "float32 was chosen, the fastest of those that may be used: documents per second on this processor are "
        "60.0 in float32, 40.0 in int8, 80.0 in bfloat16.",
    ]
    assert _remarks(exports["float32"], terms) == []
    (slower,) = _remarks(exports["int8"], terms)
    assert "slower in int8 (40.0 documents per second) than the bundle in float32 (50.0)" in slower
    half = exports["float32"].model_copy(update={"bfloat16_documents_per_second": 80.0})
    (faster,) = _remarks(half, tmp_path / "my bundle")
    assert "faster in bfloat16 (80.0 documents per second) than this export in float32 (60.0)" in faster
    assert f"tanzaku classify '{tmp_path}/my bundle' --precision bfloat16" in faster
