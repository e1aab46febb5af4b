"""Bundles whose files are damaged, swapped, or lead elsewhere: the only errors are ours."""

import json
import shutil
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tanzaku.errors import BundleError, TanzakuError
from tanzaku.exports.runtime import write_graph_bundle
from tanzaku.ship.bundle import BUNDLE_FILE, open_bundle
from tanzaku.ship.certificate import CERTIFICATE_FILE, read_certificate
from tanzaku.ship.classifier import Classifier
from tanzaku.ship.inspection import check_bundle
from tanzaku.ship.manifest import MANIFEST_FILE, write_manifest
from tests.bundles import DATASET, make_bundle
from tests.corruption import damaged, outcome
from tests.tiny import make_encoder

KINDS = ["text", "encoder", "graph"]
_SOME = settings(max_examples=60, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("whole")
    encoder = make_encoder(folder / "encoder", layers=1, pooler=False)
    text = make_bundle(folder / "text", encoder, "tfidf-svm", {"analyzer": "character"})
    graph = folder / "graph"
    graph.mkdir()
    write_graph_bundle(open_bundle(text), graph, engine="onnxruntime", dtype="float32", encoder=None, calibration=())
    return {"text": text, "encoder": make_bundle(folder / "b", encoder, "lora", {"rank": 2}), "graph": graph}


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _copy(source: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(source, folder))


def _classify(folder: Path) -> None:
    Classifier.load(folder)(["海に船がある。", ""])


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_refused(bundles: dict[str, Path], kind: str, tmp_path: Path) -> None:
    names = _files(bundles[kind])

    @given(st.data())
    @_SOME
    def read(data: st.DataObject) -> None:
        folder = _copy(bundles[kind], tmp_path / "b")
        path = folder / data.draw(st.sampled_from(names))
        path.write_bytes(data.draw(damaged(path.read_bytes())))
        found = outcome(lambda: Classifier.load(folder), TanzakuError)
        if isinstance(found, TanzakuError):
            assert str(folder) in str(found)
            return
        # Only white space in the manifest, and the case of what it does not read, may differ.
        assert path.name == MANIFEST_FILE
        assert found.scores(DATASET.test.texts[:2]).shape == (2, len(DATASET.label_names))

    read()


@pytest.mark.filterwarnings("ignore:Unexpected keyword arguments:UserWarning")  # PEFT's, of a later version's settings
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_that_the_manifest_names_is_an_error_of_ours_or_classifies(
    bundles: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    """As somebody could make it on purpose."""
    # A graph is ONNX Runtime's to read, which is not meant for graphs that somebody made to harm it.
    names = [name for name in _files(bundles[kind]) if name not in (MANIFEST_FILE, "model.onnx")]

    @given(st.data())
    @settings(_SOME, max_examples=20 if kind == "encoder" else 60)  # an encoder takes longer to load
    def read(data: st.DataObject) -> None:
        folder = _copy(bundles[kind], tmp_path / "b")
        path = folder / data.draw(st.sampled_from(names))
        path.write_bytes(data.draw(damaged(path.read_bytes())))
        write_manifest(folder)
        outcome(partial(_classify, folder), TanzakuError)

    read()


def _with_facts(folder: Path, **changed: object) -> Path:
    path = folder / BUNDLE_FILE
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changed}), encoding="utf-8")
    write_manifest(folder)
    return folder


@pytest.mark.parametrize("kind", ["text", "graph"])
@pytest.mark.parametrize("labels", [("a", "b"), tuple("abcdefgh")], ids=["too few", "too many"])
def test_as_many_labels_as_the_model_has_are_needed(
    bundles: dict[str, Path], kind: str, labels: tuple[str, ...], tmp_path: Path
) -> None:
    folder = _with_facts(_copy(bundles[kind], tmp_path / "b"), label_names=labels)
    classifier = Classifier.load(folder)
    message = (
        rf"the bundle of the run \S+ has {len(labels)} labels, but its model's scores of 1 text have the shape \(1, 3\)"
    )
    for classify in (classifier, classifier.scores, lambda texts: classifier(texts, all_labels=True)):
        with pytest.raises(BundleError, match=message):
            classify(["海に船がある。"])
    assert [check.status for check in check_bundle(folder) if check.name == "classifying"] == ["fail"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [{}, {"name": None}, {"name": ["lora"]}], ids=["none", "null", "list"])
def test_a_method_without_a_name_is_refused(
    bundles: dict[str, Path], kind: str, method: dict[str, object], tmp_path: Path
) -> None:
    folder = _with_facts(_copy(bundles[kind], tmp_path / "b"), method=method)
    with pytest.raises(BundleError, match=r"bundle\.json does not describe a bundle .*method.*no name") as raised:
        open_bundle(folder)
    assert str(folder) in str(raised.value)
    assert [check.status for check in check_bundle(folder)] == ["fail"]


@pytest.mark.parametrize("kind", KINDS)
def test_swapped_files_are_refused(bundles: dict[str, Path], kind: str, tmp_path: Path) -> None:
    names = [name for name in _files(bundles[kind]) if name != MANIFEST_FILE]
    for one, other in pairwise(names):
        folder = _copy(bundles[kind], tmp_path / "b")
        contents = [(folder / name).read_bytes() for name in (one, other)]
        for name, content in zip((other, one), contents, strict=True):
            (folder / name).write_bytes(content)
        with pytest.raises(TanzakuError, match="SHA-256"):
            Classifier.load(folder)
        write_manifest(folder)
        outcome(partial(_classify, folder), TanzakuError)


@pytest.mark.parametrize("name", ["../outside.json", "/etc/hostname", "model/../../outside.json", "C:\\outside.json"])
def test_a_manifest_can_not_name_files_outside(bundles: dict[str, Path], name: str, tmp_path: Path) -> None:
    (tmp_path / "outside.json").write_text("{}", encoding="utf-8")
    folder = _copy(bundles["text"], tmp_path / "b")
    content = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    content["files"][name] = "0" * 64
    (folder / MANIFEST_FILE).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(TanzakuError, match="is missing"):
        Classifier.load(folder)


def test_a_damaged_certificate_is_an_error_of_ours(tmp_path: Path) -> None:
    path = tmp_path / CERTIFICATE_FILE

    @given(damaged(b'{"version": 1, "form": "onnx", "dtype": "int8", "texts": 3}'))
    @_SOME
    def read(content: bytes) -> None:
        path.write_bytes(content)
        with pytest.raises(TanzakuError, match="can't be read as a certificate"):
            read_certificate(tmp_path)

    read()
