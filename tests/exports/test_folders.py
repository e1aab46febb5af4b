"""Exports that other libraries open: every method, in a fresh process without Tanzaku."""

import ast
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import BertForSequenceClassification

from tanzaku.errors import BundleError
from tanzaku.exports.folders import base_options, write_folder
from tanzaku.exports.forms import choose_form
from tanzaku.exports.reading import read_folder
from tanzaku.exports.snippets import snippet_of
from tanzaku.methods import METHODS, EncoderMethod
from tanzaku.ship.bundle import EncoderBundleFacts, open_bundle
from tanzaku.ship.certificate import Form
from tanzaku.ship.classifier import Classifier
from tests.bundles import make_bundle
from tests.exports.conftest import TEXTS
from tests.methods.test_contract import ENCODER_METHODS

CLS: dict[str, Any] = {}
MEAN: dict[str, Any] = {"pooling": "mean"}
BOTH: dict[str, Any] = {"pooling": "mean+max"}
OPENS_IN_PEFT = ("lora", "lora-nested", "adalora", "ln-tuning", "ia3")

# The script has nothing of Tanzaku's. Each folder is opened as its README.md says.
_OPEN_ALL = """
import json, os, sys, warnings
warnings.filterwarnings("ignore")
import numpy as np, torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

def transformers(folder, encoder, pooling, labels):
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert list(model.config.id2label.values()) == labels, model.config.id2label
    return lambda tokens: model(**tokens).logits

def peft(folder, encoder, pooling, labels):
    from peft import PeftModel
    from safetensors.torch import load_file
    if pooling == "cls":
        base = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=len(labels))
        model = PeftModel.from_pretrained(base, folder).eval()
        return lambda tokens: model(**tokens).logits
    model = PeftModel.from_pretrained(AutoModel.from_pretrained(encoder), folder).eval()
    head = load_file(f"{folder}/head.safetensors")
    def logits(tokens):
        hidden = model(**tokens).last_hidden_state
        features = hidden.mean(dim=1)
        if pooling == "mean+max":
            features = torch.cat([features, hidden.amax(dim=1)], dim=-1)
        return features @ head["weight"].T + head["bias"]
    return logits

found = {}
given = json.load(sys.stdin)
for folder, (form, encoder, pooling) in given["folders"].items():
    if form == "sentence-transformers":
        from sentence_transformers import SentenceTransformer
        opened = SentenceTransformer(folder, device="cpu")
        assert getattr(opened[0].model, "pooler", None) is None  # of random weights, which transformers warns of
        found[folder] = opened.encode(given["texts"]).tolist()
        assert list(json.load(open(f"{folder}/config.json"))["id2label"].values()) == given["labels"]
        continue
    logits = {"transformers": transformers, "peft": peft}[form](folder, encoder, pooling, given["labels"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        found[folder] = np.concatenate(
            [logits(tokenizer(text, truncation=True, return_tensors="pt")).numpy() for text in given["texts"]]
        ).tolist()
assert not [name for name in sys.modules if name.partition(".")[0] == "tanzaku"]
json.dump(found, sys.stdout)
"""


def _facts(bundle: Path) -> EncoderBundleFacts:
    facts = open_bundle(bundle).facts
    assert isinstance(facts, EncoderBundleFacts)
    return facts


def _forms(name: str, reading: dict[str, Any]) -> list[Form]:
    """The exports that the table in docs/export.md has for a method."""
    method = METHODS[name]
    assert issubclass(method, EncoderMethod)
    forms: list[Form] = []
    if method.mergeable:
        forms.append("sentence-transformers" if reading else "transformers")
    if name in OPENS_IN_PEFT:
        forms.append("peft")
    return forms


@pytest.mark.slow
def test_every_method_opens_in_other_libraries_with_the_bundles_logits(
    tiny_masked_encoder: Path, roberta: Path, tmp_path: Path
) -> None:
    cases = [(name, options, CLS) for name, options in ENCODER_METHODS]
    # With another head it is the merged encoder that is written, however it was adapted, and PEFT's names that differ.
    cases += [(name, dict(ENCODER_METHODS)[name], MEAN) for name in ("full", *OPENS_IN_PEFT)]
    cases += [("lora", {"rank": 3}, BOTH), ("full", {}, BOTH)]
    expected, folders = {}, {}
    for number, (name, options, reading) in enumerate([*cases, ("lora", {}, CLS)]):
        if name == "lora+tfidf" and not reading:
            continue  # transformers' head can't see terms, so there is no such bundle
        encoder = roberta if number == len(cases) else tiny_masked_encoder
        bundle = make_bundle(tmp_path / f"bundle{number}", encoder, name, options, **reading)
        for form in _forms(name, reading):
            if form == "sentence-transformers" and find_spec("sentence_transformers") is None:
                continue
            folder = tmp_path / f"{number}-{name}-{form}"
            folder.mkdir()
            write_folder(open_bundle(bundle), folder, form=form, encoder=None)
            folders[str(folder)] = (form, str(encoder), reading.get("pooling", "cls"))
            expected[str(folder)] = Classifier.load(bundle, precision="float32").scores(TEXTS)
            # What the certificate compares, in which short texts are padded.
            padded = read_folder(open_bundle(bundle), folder, form=form, encoder=None).scores(TEXTS)
            np.testing.assert_allclose(padded, expected[str(folder)], rtol=0, atol=1e-4)
    assert len(folders) > 35
    content = {"folders": folders, "texts": TEXTS, "labels": ["山", "海", "空"]}
    content["labels"] = list(_facts(bundle).label_names)
    done = subprocess.run(
        [sys.executable, "-c", _OPEN_ALL],
        input=json.dumps(content),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": "", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},  # without PYTHONPATH
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    for name, logits in expected.items():
        np.testing.assert_allclose(found[name], logits, rtol=0, atol=1e-4, err_msg=name)
        assert (np.argmax(found[name], axis=1) == logits.argmax(axis=1)).all(), name


def test_the_head_of_a_fine_tuned_checkpoint_is_no_obstacle_to_peft(tiny_masked_encoder: Path, tmp_path: Path) -> None:
    tuned = shutil.copytree(tiny_masked_encoder, tmp_path / "tuned")
    BertForSequenceClassification.from_pretrained(tiny_masked_encoder, num_labels=5).save_pretrained(tuned)
    bundle = open_bundle(make_bundle(tmp_path / "bundle", tuned, "lora", {}))
    (folder := tmp_path / "peft").mkdir()
    write_folder(bundle, folder, form="peft", encoder=None)
    expected = Classifier.load(bundle.folder, precision="float32").scores(TEXTS)
    found = read_folder(bundle, folder, form="peft", encoder=None).scores(TEXTS)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("reading", [CLS, MEAN], ids=["cls", "mean"])
def test_a_peft_export_names_the_encoders_revision(
    tiny_masked_encoder: Path, tmp_path: Path, reading: dict[str, Any]
) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "bundle", tiny_masked_encoder, "lora", {}, **reading))
    facts = _facts(bundle.folder)
    pinned = facts.model_copy(
        update={"encoder": facts.encoder.model_copy(update={"name": "owner/encoder", "revision": "v2.1"})}
    )
    base = base_options(tiny_masked_encoder)
    (line,) = (line for line in snippet_of(pinned, "peft", base=base) if line.startswith("base = "))
    (call,) = (node for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Call))
    given = {one.arg: ast.literal_eval(one.value) for one in call.keywords if one.arg != "dtype"}
    assert given == {"revision": "v2.1"} | ({"num_labels": 3, **base} if not reading else {})
    (folder := tmp_path / "peft").mkdir()
    write_folder(replace(bundle, facts=pinned), folder, form="peft", encoder=str(tiny_masked_encoder))
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["base_model_name_or_path"], config["revision"]) == ("owner/encoder", "v2.1")


@pytest.mark.parametrize(
    ("method", "reading", "to", "reason"),
    [
        ("houlsby", CLS, "transformers", "can't be merged"),
        ("prefix", MEAN, "sentence-transformers", "can't be merged"),
        ("lora+tfidf", MEAN, "peft", "PEFT can't express"),
        ("lora+tfidf", MEAN, "openvino", "can't count terms"),
        ("qlora", CLS, "peft", "PEFT can't express"),
        ("full", CLS, "peft", "PEFT can't express"),
        ("lora", {"long_text": "head+tail"}, "transformers", "first tokens of a document only"),
        ("lora", {"long_text": "windows", **MEAN}, "sentence-transformers", "first tokens of a document only"),
        ("lora", CLS, "sentence-transformers", "export to transformers"),
        ("tfidf-svm", CLS, "openvino", "can be exported to onnx"),
    ],
)
def test_an_export_that_does_not_exist_says_why(
    bert: Path, tmp_path: Path, method: str, reading: dict[str, Any], to: Form, reason: str
) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "bundle", bert, method, {}, **reading))
    with pytest.raises(BundleError, match=reason):
        choose_form(bundle.folder, bundle.facts, to, "float32")


def test_8_bits_are_for_graphs(bert: Path, tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "bundle", bert, "head", {}))
    with pytest.raises(BundleError, match="no export to transformers in 8 bits"):
        choose_form(bundle.folder, bundle.facts, "transformers", "int8")
    assert choose_form(bundle.folder, bundle.facts, "onnx", "int8") == "onnx"


def test_other_heads_than_transformers_go_to_sentence_transformers(bert: Path, tmp_path: Path) -> None:
    facts = open_bundle(make_bundle(tmp_path / "bundle", bert, "lora", {}, **MEAN)).facts
    assert choose_form(tmp_path, facts, "transformers", "float32") == "sentence-transformers"
