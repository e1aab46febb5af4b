"""`tanzaku inspect`: what a bundle is, and whether it is whole and classifies."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tanzaku.cli import app
from tanzaku.errors import BundleError
from tanzaku.exports.exporting import export
from tanzaku.ship.building import write_facts
from tanzaku.ship.bundle import read_facts
from tanzaku.ship.certificate import bundle_bytes
from tanzaku.ship.compress import compress
from tanzaku.ship.held_out import HELD_OUT_FILE
from tanzaku.ship.manifest import write_manifest
from tanzaku.ship.packing import pack
from tests.ship.conftest import METHODS, Study, study

__all__ = ["study"]  # the fixture


def _inspect(*arguments: object) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(app, ["inspect", *map(str, arguments), "--json"])
    content = json.loads(result.stdout)
    assert content["ok"] == (result.exit_code == 0)
    return result.exit_code, {check["name"]: check for check in content["checks"]}


@pytest.mark.parametrize("method", METHODS)
def test_it_says_what_a_bundle_is(study: Study, method: str) -> None:
    bundle = study.bundles[method]
    status, checks = _inspect(bundle)
    assert status == 0
    assert f"{bundle_bytes(bundle):,} bytes" in checks["bundle"]["detail"]
    assert checks["method"]["detail"].startswith(method)
    assert checks["labels"]["detail"] == "3: 山, 海, 空"
    assert "18 validation documents" in checks["calibration"]["detail"]
    assert "error rates can be promised with the 18 validation documents" in checks["calibration"]["detail"]
    assert "of the study tiny" in checks["origin"]["detail"]
    assert "(48 training documents)" in checks["origin"]["detail"]
    needed = {"full": "included, in float32", "tfidf-svm": "none is needed"}
    assert needed.get(method, "not included: it is found by this name") in checks["encoder"]["detail"]
    assert checks["classifying"]["status"] == "ok"


def test_it_prints_a_line_for_each(study: Study) -> None:
    done = CliRunner().invoke(app, ["inspect", str(study.bundles["tfidf-svm"])])
    assert done.exit_code == 0
    names = [line.split()[1] for line in done.stdout.splitlines()]
    assert names == ["bundle:", "method:", "labels:", "encoder:", "calibration:", "origin:", "classifying:"]


def test_a_damaged_file_and_a_missing_encoder_fail(study: Study, tmp_path: Path) -> None:
    broken = shutil.copytree(study.bundles["tfidf-svm"], tmp_path / "broken")
    (broken / "model" / "terms.json").write_text("{}", encoding="utf-8")
    status, checks = _inspect(broken)
    assert status == 1
    assert "is damaged: the SHA-256 of model/terms.json" in checks["bundle"]["detail"]
    assert list(checks) == ["bundle"]
    lost = shutil.copytree(study.bundles["lora"], tmp_path / "lost")
    facts = json.loads((lost / "bundle.json").read_text(encoding="utf-8"))
    facts["encoder"]["name"] = str(tmp_path / "nowhere")
    (lost / "bundle.json").write_text(json.dumps(facts), encoding="utf-8")
    write_manifest(lost)
    status, checks = _inspect(lost)
    assert (status, checks["classifying"]["status"]) == (1, "fail")
    assert "--with-encoder" in checks["classifying"]["remedy"]
    assert _inspect(lost, "--encoder", study.encoder)[0] == 0
    assert _inspect(tmp_path / "none")[0] == 1


def test_weights_that_were_changed_later_are_named(study: Study, tmp_path: Path) -> None:
    bundle = pack(study.runs["lora"], tmp_path / "bundle", int8=True, dataset=study.dataset)
    checks = _inspect(bundle.folder)[1]
    assert "then lowered to 8 bits, measured" in checks["origin"]["detail"]
    assert "included, in int8" in checks["encoder"]["detail"]
    unmeasured = pack(study.runs["lora"], tmp_path / "unmeasured", int8=True)
    checks = _inspect(unmeasured.folder)[1]
    assert "then lowered to 8 bits, not measured" in checks["origin"]["detail"]
    assert "error rates can't be promised" in checks["calibration"]["detail"]


@pytest.mark.parametrize(
    ("name", "int8", "encoder", "changed"),
    [
        ("lora", True, "part of the graph", "; then lowered to 8 bits, not measured; then exported as a graph"),
        ("tfidf-svm", False, "none is needed", "; then exported as a graph for onnxruntime in float32"),
    ],
)
def test_what_was_done_before_an_export_is_named(
    study: Study, tmp_path: Path, name: str, int8: bool, encoder: str, changed: str
) -> None:
    packed = pack(study.runs[name], tmp_path / "bundle", int8=int8).folder
    export(packed, tmp_path / "onnx", to="onnx", dataset=study.dataset)
    checks = _inspect(tmp_path / "onnx")[1]
    assert checks["encoder"]["detail"] == encoder
    assert changed in checks["origin"]["detail"]
    with pytest.raises(BundleError, match="onnx was exported; compress the bundle that it was made from"):
        compress(tmp_path / "onnx", tmp_path / "smaller", rank=1)


def test_it_shows_to_which_rank_an_adapter_was_cut(study: Study, tmp_path: Path) -> None:
    once = compress(study.bundles["lora"], tmp_path / "once", rank=2).folder
    assert "; then compressed from rank 8 to rank 2, not measured;" in _inspect(once)[1]["origin"]["detail"]
    twice = compress(once, tmp_path / "twice", rank=1).folder
    assert "; then compressed from rank 8 to rank 1, not measured;" in _inspect(twice)[1]["origin"]["detail"]


def test_labels_of_one_name_are_no_bundle(study: Study, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(study.bundles["tfidf-svm"], tmp_path / "bundle"))
    facts = read_facts(bundle)
    write_facts(bundle, facts.model_copy(update={"label_names": facts.label_names[:1] * len(facts.label_names)}))
    with pytest.raises(BundleError, match=r"does not describe a bundle .*two labels have the same name"):
        read_facts(bundle)


def test_it_shows_no_accuracy_on_documents_that_were_trained_on(study: Study, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(study.bundles["tfidf-svm"], tmp_path / "bundle"))
    facts = read_facts(bundle)
    alike = facts.model_copy(update={"run": facts.run.model_copy(update={"test_is_validation": True})})
    write_facts(bundle, alike)
    origin = _inspect(bundle)[1]["origin"]["detail"]
    assert ("validation " in origin, "test " in origin) == (True, False)
    (bundle / HELD_OUT_FILE).unlink()
    trained = {"calibration": facts.calibration.model_copy(update={"documents": 0})}
    write_facts(bundle, alike.model_copy(update=trained))
    checks = _inspect(bundle)[1]
    assert "accuracy of the run: unknown, since all documents were trained on" in checks["origin"]["detail"]
    assert "keeps no results of the present weights on held-out documents" in checks["calibration"]["detail"]
