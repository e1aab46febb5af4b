"""Bundles exported as graphs: the same tokens, logits and labels as the bundle's, also where PyTorch is missing."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest

from tanzaku.errors import BundleError, TanzakuWarning
from tanzaku.exports.calibration import Calibration
from tanzaku.exports.int8 import quantize_graph
from tanzaku.exports.runtime import write_graph_bundle
from tanzaku.runtime.settings import TOKENIZER_FOLDER, TermSettings
from tanzaku.serving.engine import Engine
from tanzaku.serving.tasks import Tasks
from tanzaku.ship.bundle import Bundle, GraphBundleFacts, open_bundle, read_facts
from tanzaku.ship.cards.install import install_lines
from tanzaku.ship.classifier import Classifier
from tanzaku.ship.manifest import write_manifest
from tanzaku.ship.scorers import load_scorer
from tests.bundles import DATASET, make_bundle
from tests.exports.conftest import TEXTS
from tests.methods.test_contract import ENCODER_METHODS, TEXT_METHODS

# One of each way in which a graph is made; the others' models are merged into a plain encoder before that. All of them
# are exported where TANZAKU_EVERY_EXPORT is set, which takes some minutes.
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("tfidf-svm", {}, {}),
    ("tfidf-svm", {"analyzer": "character", "longest_ngram": 3}, {}),
    ("static", {"vectors_from": "TINY"}, {}),
    ("lora+tfidf", {"rank": 2, "max_terms": 50}, {"pooling": "mean+max", "long_text": "windows"}),
    ("prefix", {"length": 3}, {"long_text": "head+tail"}),
]
_ONE_OF_EACH = len(CASES)
if os.environ.get("TANZAKU_EVERY_EXPORT"):
    CASES += [(name, options, {"pooling": "mean"}) for name, options in [*ENCODER_METHODS, *TEXT_METHODS]]
_CASE_IDS = [f"{name}-{number}" for number, (name, _, _) in enumerate(CASES)]


class Pair(NamedTuple):
    """A bundle, and its export."""

    bundle: Path
    graph: Path


def _export(bundle: Path, out: Path) -> Pair:
    out.mkdir()
    write_graph_bundle(open_bundle(bundle), out, engine="onnxruntime", dtype="float32", encoder=None, calibration=())
    return Pair(bundle, out)


@pytest.fixture(scope="module")
def pairs(
    tmp_path_factory: pytest.TempPathFactory, bert: Path, tiny_masked_encoder: Path, roberta: Path
) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("graphs")
    made = {}
    for number, (name, (method, options, reading)) in enumerate(zip(_CASE_IDS, CASES, strict=True)):
        # Some of the options of every method are about a second layer.
        encoder = bert if number < _ONE_OF_EACH else tiny_masked_encoder
        bundle = make_bundle(folder / "bundles" / name, encoder, method, options, **reading)
        made[name] = _export(bundle, folder / name)
    bundle = make_bundle(folder / "bundles" / "roberta", roberta, "lora", {})
    made["roberta"] = _export(bundle, folder / "roberta")
    return made


@pytest.mark.slow
@pytest.mark.xdist_group("graphs")
@pytest.mark.parametrize("name", [*_CASE_IDS, "roberta"])
def test_a_graph_gives_the_bundles_tokens_and_logits(pairs: dict[str, Pair], name: str) -> None:
    bundle = Classifier.load(pairs[name].bundle, precision="float32")
    graph = Classifier.load(pairs[name].graph)
    expected, found = bundle.token_ids(TEXTS), graph.token_ids(TEXTS)
    assert (expected is None) == name.startswith(("tfidf-svm", "static"))
    for text, one, other in zip(TEXTS, expected or [], found or [], strict=False):
        np.testing.assert_array_equal(one, other, err_msg=text)
    scores = bundle.scores(TEXTS)
    np.testing.assert_allclose(graph.scores(TEXTS), scores, rtol=0, atol=1e-4)
    for ours, theirs in zip(graph(TEXTS), bundle(TEXTS), strict=True):
        assert ours.label == theirs.label
        assert ours.probability == pytest.approx(theirs.probability, abs=1e-4)  # with the same calibration


def _calibration(folder: Path) -> list[dict[str, np.ndarray]]:
    facts = open_bundle(folder).facts
    assert isinstance(facts, GraphBundleFacts)
    assert facts.reading is not None
    assert not isinstance(facts.tokenizer, TermSettings)
    return Calibration(DATASET.train.texts, facts.tokenizer, folder / TOKENIZER_FOLDER, facts.reading).inputs()


@pytest.mark.slow
@pytest.mark.xdist_group("graphs")
@pytest.mark.parametrize("name", [case for case in [*_CASE_IDS, "roberta"] if not case.startswith(("tfidf", "static"))])
def test_in_8_bits_a_text_gets_the_same_logits_whatever_is_next_to_it(
    pairs: dict[str, Pair], name: str, tmp_path: Path
) -> None:
    graph = onnx.load(str(pairs[name].graph / "model.onnx"))
    before = graph.ByteSize()
    assert quantize_graph(graph, _calibration(pairs[name].graph)) > 6  # the layer's six matrices, and embeddings
    assert graph.ByteSize() < before
    lowered = tmp_path / "int8"
    for path in pairs[name].graph.rglob("*"):
        if path.is_file():
            target = lowered / path.relative_to(pairs[name].graph)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    onnx.save_model(graph, str(lowered / "model.onnx"))
    write_manifest(lowered)
    classifier = Classifier.load(lowered)
    together = classifier.scores(TEXTS)
    alone = np.concatenate([classifier.scores([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-4)
    exact = Classifier.load(pairs[name].graph).scores(TEXTS)
    assert 0 < np.abs(together - exact).max() < 0.1 * np.abs(exact).max()


_WITHOUT_PYTORCH = """
import json, sys

BLOCKED = {"torch", "transformers", "peft", "sklearn", "scipy", "pyarrow", "onnx", "huggingface_hub"}

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
from tanzaku import Classifier
from tanzaku.errors import BundleError
texts, folders = json.load(sys.stdin)
for folder in folders:
    try:
        Classifier.load(folder).threshold(0.4)
    except BundleError:
        pass  # so few documents promise nothing, but finding that out needs no other package
scores = {folder: Classifier.load(folder).scores(texts).tolist() for folder in folders}
print(json.dumps({"scores": scores, "modules": list(sys.modules)}))
"""


@pytest.mark.slow
@pytest.mark.xdist_group("graphs")
def test_a_graph_needs_neither_pytorch_nor_transformers(pairs: dict[str, Pair]) -> None:
    folders = [str(pair.graph) for pair in pairs.values()]
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_PYTORCH], input=json.dumps([TEXTS, folders]), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # What only trains, or only reads files of texts, would make the first label late.
    assert not {"tanzaku.methods", "tanzaku.study.record", "tanzaku.study.spec", "rich"} & set(found["modules"])
    for folder, scores in found["scores"].items():
        np.testing.assert_allclose(scores, Classifier.load(folder).scores(TEXTS), rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.xdist_group("graphs")
def test_a_server_classifies_with_a_graph(pairs: dict[str, Pair]) -> None:
    """Next to a task with an encoder, over the same engine."""
    pair = pairs["roberta"]
    tasks, engine = Tasks(), Engine()
    for name, folder in (("graph", pair.graph), ("bundle", pair.bundle)):
        tasks.load(name, folder)
    later = time.monotonic() + 60
    graph, bundle = (tasks.get(name).classifier(engine, deadline=later) for name in ("graph", "bundle"))
    np.testing.assert_allclose(graph.scores(TEXTS[:4]), bundle.scores(TEXTS[:4]), atol=1e-4)
    engine.close()


@pytest.mark.slow
@pytest.mark.xdist_group("graphs")
def test_a_graphs_bundle_says_where_it_comes_from(pairs: dict[str, Pair]) -> None:
    pair = pairs["roberta"]
    facts, source = open_bundle(pair.graph).facts, open_bundle(pair.bundle).facts
    assert isinstance(facts, GraphBundleFacts)
    assert (facts.run, facts.method, facts.label_names) == (source.run, source.method, source.label_names)
    assert facts.calibration == source.calibration
    assert (facts.engine, facts.weights, facts.tokenizer.kind) == ("onnxruntime", "float32", "tokenizers")


@pytest.mark.slow
@pytest.mark.xdist_group("graphs")
def test_a_graphs_card_installs_what_its_tokenizer_needs(pairs: dict[str, Pair], tmp_path: Path) -> None:
    extras = ("runtime-mecab", "runtime", "runtime-mecab", "runtime-mecab", "runtime-mecab", "runtime")
    for name, extra in zip([*_CASE_IDS[:_ONE_OF_EACH], "roberta"], extras, strict=True):
        assert install_lines(pairs[name].graph, "onnx") == [f"pip install './tanzaku[{extra}]'"], name
    assert install_lines(pairs["roberta"].bundle, "bundle") == ["pip install './tanzaku[train]' ./tanzaku/mini"]
    facts = open_bundle(pairs["roberta"].graph).facts.model_dump(mode="json")
    words = {"dictionary": "unidic_lite", "normalize": True, "lowercase": False, "pieces": "wordpiece"}
    mecab = words | {"kind": "mecab", "longest_word": 100, "unknown": "u", "first": "f", "last": "l", "special": {}}
    (tmp_path / "bundle.json").write_text(json.dumps(facts | {"tokenizer": mecab}), encoding="utf-8")
    assert install_lines(tmp_path, "onnx") == ["pip install './tanzaku[runtime-mecab]' unidic-lite"]


@pytest.mark.slow
@pytest.mark.xdist_group("graphs")
def test_a_damaged_graph_or_tokenizer_is_named(pairs: dict[str, Pair], tmp_path: Path) -> None:
    source = pairs["roberta"].graph
    for damaged in ("model.onnx", "tokenizer/tokenizer.json"):
        folder = tmp_path / damaged.replace("/", "-")
        for path in source.rglob("*"):
            if path.is_file():
                target = folder / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(b"damaged" if path == source / damaged else path.read_bytes())
        with pytest.raises(BundleError, match=f"SHA-256 of {damaged}"):
            Classifier.load(folder)
        write_manifest(folder)
        with pytest.raises(BundleError, match=f"{Path(damaged).name} can't be"):
            Classifier.load(folder)


@pytest.mark.slow
@pytest.mark.xdist_group("graphs")
def test_terms_of_a_graph_that_are_too_long_are_refused(pairs: dict[str, Pair], tmp_path: Path) -> None:
    facts = open_bundle(
        next(pair.graph for name, pair in pairs.items() if name.startswith("tfidf-svm"))
    ).facts.model_dump(mode="json")
    facts["tokenizer"]["longest_ngram"] = 10**15
    (tmp_path / "bundle.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(BundleError, match=r"tokenizer.*longest_ngram.*less than or equal to 5"):
        read_facts(tmp_path)


@pytest.mark.slow
@pytest.mark.xdist_group("graphs")
def test_options_that_a_graph_can_not_have_are_refused(pairs: dict[str, Pair]) -> None:
    with pytest.raises(BundleError, match="computes on the CPU"):
        Classifier.load(pairs["roberta"].graph, device="cuda")
    # No option changes in which precision a graph computes.
    bundle = open_bundle(pairs["roberta"].graph)
    options: dict[str, Any] = {"encoder": None, "device": "auto", "batch_tokens": 64}
    own = {"float32": {}, "int8": {"weights": "int8"}, "bfloat16": {"precision": "bfloat16"}}
    for dtype, update in own.items():
        made = Bundle(bundle.folder, bundle.facts.model_copy(update=update))
        for precision in ("float32", "bfloat16"):
            if precision == dtype:
                load_scorer(made, **options, precision=precision)
                continue
            with pytest.raises(BundleError, match=f"precision = {precision}, but this export computes in {dtype}"):
                load_scorer(made, **options, precision=precision)


@pytest.mark.slow
@pytest.mark.xdist_group("graphs")
def test_8_bits_are_warned_of_where_the_processor_lacks_them(
    pairs: dict[str, Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tanzaku.machine._CPUINFO", tmp_path / "cpuinfo")
    bundle = open_bundle(pairs["roberta"].graph)
    lowered = Bundle(bundle.folder, bundle.facts.model_copy(update={"weights": "int8"}))
    options: dict[str, Any] = {"encoder": None, "device": "auto", "precision": "auto", "batch_tokens": 64}
    (tmp_path / "cpuinfo").write_text("flags\t: fpu avx2 fma\n", encoding="utf-8")
    load_scorer(bundle, **options)
    with pytest.warns(TanzakuWarning, match="no instructions for products of 8 bits"):
        load_scorer(lowered, **options)
    (tmp_path / "cpuinfo").write_text("flags\t: fpu avx2 avx_vnni\n", encoding="utf-8")
    load_scorer(lowered, **options)
