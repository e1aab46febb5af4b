"""Bundles: what is in them, which run they are made of, and what damage looks like."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from peft import PeftConfig
from safetensors.torch import load_file, save_file
from scipy.special import softmax

from tanzaku.analysis.intervals import accuracy_interval_of
from tanzaku.data.dataset import Dataset
from tanzaku.data.prepared import Preparation, write_prepared
from tanzaku.encoders.cache import tokenizer_fingerprint
from tanzaku.encoders.compact import unpack_weights
from tanzaku.encoders.load import load_tokenizer, resolve_encoder
from tanzaku.encoders.source import EncoderSource
from tanzaku.errors import BundleError, DataError, RecordError, TanzakuWarning
from tanzaku.files import folder_bytes, sha256_of_file
from tanzaku.measure.metrics import accuracy_interval
from tanzaku.ship.bundle import Bundle, EncoderBundleFacts, open_bundle
from tanzaku.ship.certificate import bundle_bytes
from tanzaku.ship.choosing import choose_run
from tanzaku.ship.classifier import Classifier
from tanzaku.ship.held_out import read_held_out
from tanzaku.ship.manifest import write_manifest
from tanzaku.ship.packing import pack
from tanzaku.study.plan import plan_study
from tanzaku.study.planned import PlannedEncoderRun
from tanzaku.study.predictions import read_predictions, write_predictions
from tanzaku.study.record import FailedRun, read_record, write_record
from tanzaku.study.run import run_encoder
from tanzaku.study.spec import StudySpec
from tests.checkpoints import make_mecab_bert
from tests.kinds import encoder_facts, encoder_run, finished
from tests.ship.conftest import METHODS, Study
from tests.tiny import make_dataset, make_encoder


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


_COMMON = {"README.md", "bundle.json", "held-out.safetensors", "manifest.json"}
_SETTINGS = {"encoder/config.json", "encoder/tokenizer_config.json", "encoder/vocab.txt"}


@pytest.mark.parametrize(
    ("method", "files"),
    [
        ("full", _COMMON | _SETTINGS | {"encoder/model.safetensors"}),
        ("head", _COMMON | _SETTINGS | {"model/head.safetensors"}),
        ("lora", _COMMON | _SETTINGS | {"model/adapter_model.safetensors", "model/adapter_config.json"}),
        ("houlsby", _COMMON | _SETTINGS | {"model/adapters.safetensors"}),
        ("tfidf-svm", _COMMON | {"model/terms.json", "model/weights.safetensors"}),
    ],
)
def test_a_bundle_holds_what_classifies_and_no_more(study: Study, method: str, files: set[str]) -> None:
    assert _files(study.bundles[method]) == files
    for name in files:
        assert (study.bundles[method] / name).stat().st_mode & 0o777 == 0o644, name  # others than its owner read it


@pytest.mark.parametrize("method", METHODS)
def test_a_bundle_says_where_it_comes_from(study: Study, method: str) -> None:
    facts, record = open_bundle(study.bundles[method]).facts, finished(read_record(study.runs[method]))
    assert facts.method == record.spec["method"]
    assert facts.run.run_id == record.run_id
    assert (facts.run.val.accuracy, facts.run.test.accuracy) == (record.val.accuracy, record.test.accuracy)
    assert facts.run.data.fingerprint == study.dataset.fingerprint
    assert facts.label_names == study.dataset.label_names
    assert facts.kind == record.spec["kind"]
    if isinstance(facts, EncoderBundleFacts):
        assert facts.encoder.model_dump(mode="json") == record.spec["encoder"]
        assert facts.base.fingerprint == resolve_encoder(str(study.encoder)).fingerprint
        assert facts.whole == (method == "full")


def test_the_same_run_gives_the_same_bytes(study: Study, tmp_path: Path) -> None:
    pack(study.runs["lora"], tmp_path / "again")
    for name in _files(tmp_path / "again"):
        assert (tmp_path / "again" / name).read_bytes() == (study.bundles["lora"] / name).read_bytes(), name


def test_a_whole_bundle_opens_in_plain_transformers_and_an_adapter_in_plain_peft(study: Study) -> None:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(study.bundles["full"] / "encoder")
    assert tuple(model.config.id2label.values()) == study.dataset.label_names
    assert PeftConfig.from_pretrained(study.bundles["lora"] / "model").r == 8


@pytest.mark.parametrize(
    "settings",
    [None, {}, {"word_tokenizer_type": "mecab"}, {"tokenizer_class": "BertJapaneseTokenizer"}],
    ids=["in full", "no file", "no class", "no dictionary"],
)
def test_a_whole_bundles_tokenizer_is_the_encoders_also_where_that_says_little(
    tmp_path: Path, settings: dict[str, Any] | None
) -> None:
    from tests.tiny import make_dataset

    encoder = make_mecab_bert(
        tmp_path / "encoder",
        tokenizer_settings=settings,
        config_settings={"tokenizer_class": "BertJapaneseTokenizer"},
    )
    source = resolve_encoder(str(encoder))
    spec = encoder_run(
        StudySpec.model_validate(
            {
                "name": "t",
                "data": {"source": "-"},
                "encoder": {"name": str(encoder), "max_tokens": 16},
                "training": {"epochs": 1, "learning_rate": 1e-3},
                "arms": [{"method": "full"}],
            }
        )
    )
    planned = PlannedEncoderRun(spec, tmp_path / "run", source)
    run_encoder(planned, dataset=make_dataset(train=6, val=3, test=3), study="t")
    bundle = pack(tmp_path / "run", tmp_path / "bundle")
    packed = load_tokenizer(EncoderSource("packed", bundle.folder / "encoder", ""))
    assert tokenizer_fingerprint(packed) == tokenizer_fingerprint(load_tokenizer(source))


@pytest.mark.parametrize("method", ["full", "lora", "houlsby"])
def test_in_eight_bits_a_bundle_takes_a_byte_a_weight_and_scores_nearly_alike(
    study: Study, method: str, tmp_path: Path
) -> None:
    wide = pack(study.runs[method], tmp_path / "wide", with_encoder=True)
    narrow = pack(study.runs[method], tmp_path / "narrow", int8=True)
    assert encoder_facts(narrow).weights == "int8"
    assert encoder_facts(narrow).whole
    name = "encoder/model.safetensors"
    tensors, lowered = load_file(wide.folder / name), load_file(narrow.folder / name)
    matrices = [t for key, t in tensors.items() if t.ndim == 2 and not key.startswith(("classifier", "bert.pooler"))]
    saved = sum(3 * matrix.numel() - 4 * len(matrix) for matrix in matrices)  # a row's scale takes four bytes
    assert len(matrices) > 10
    assert sum(t.nbytes for t in lowered.values()) == sum(t.nbytes for t in tensors.values()) - saved
    texts = study.dataset.test.texts
    expected = Classifier.load(wide.folder, precision="float32").scores(texts)
    found = Classifier.load(narrow.folder, precision="float32").scores(texts)
    # A number is off by 1/254 of its row's largest at most, and the errors of a sum partly cancel.
    assert 0 < np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)
    assert np.mean(found.argmax(axis=1) == expected.argmax(axis=1)) >= 0.9


def test_in_four_bits_a_bundle_classifies_as_its_rounded_weights_do(study: Study, tmp_path: Path) -> None:
    wide = pack(study.runs["lora"], tmp_path / "wide", with_encoder=True)
    narrow = pack(study.runs["lora"], tmp_path / "narrow", int4=True)
    eight = pack(study.runs["lora"], tmp_path / "eight", int8=True)
    assert (encoder_facts(narrow).weights, encoder_facts(narrow).bits) == ("int4", 4)
    sizes = [(bundle.folder / "encoder") for bundle in (narrow, eight, wide)]
    assert sorted(map(folder_bytes, sizes)) == list(map(folder_bytes, sizes))
    stored = load_file(narrow.folder / "encoder" / "model.q4.safetensors")
    unpacked = unpack_weights(stored)
    for name, tensor in load_file(wide.folder / "encoder" / "model.safetensors").items():
        if name + ".q4_scales" in stored:  # a step is an eighth of the largest weight of 32 neighbours
            steps = tensor.abs().unflatten(1, (-1, 32)).amax(dim=2, keepdim=True) / 8
            errors = (unpacked[name].float() - tensor).abs().unflatten(1, (-1, 32))
            assert (errors <= 1.01 * steps).all()
    assert sum(name.endswith(".q4_scales") for name in stored) > 10
    found = Classifier.load(narrow.folder, precision="float32").scores(study.dataset.test.texts)
    save_file(
        {name: tensor.float() for name, tensor in unpacked.items()}, wide.folder / "encoder" / "model.safetensors"
    )
    write_manifest(wide.folder)
    expected = Classifier.load(wide.folder, precision="float32").scores(study.dataset.test.texts)
    np.testing.assert_array_equal(found, expected)
    assert read_held_out(narrow.folder) is None  # not measured, since the data is not at hand
    with pytest.raises(BundleError, match="int8 and int4 exclude each other"):
        pack(study.runs["lora"], tmp_path / "both", int8=True, int4=True)


@pytest.mark.parametrize("method", ["lora", "houlsby"])
def test_unmerged_a_bundle_has_the_encoders_own_files_and_the_same_scores(
    study: Study, method: str, tmp_path: Path
) -> None:
    bundle = pack(study.runs[method], tmp_path / "bundle", with_encoder=True, merge=False)
    facts = encoder_facts(bundle)
    assert (facts.whole, facts.merged, facts.weights) == (True, False, "encoder")
    for path in study.encoder.glob("*.safetensors"):
        assert (bundle.folder / "encoder" / path.name).read_bytes() == path.read_bytes()
    texts = study.dataset.test.texts
    merged = pack(study.runs[method], tmp_path / "merged", with_encoder=True)
    expected = Classifier.load(merged.folder, precision="float32").scores(texts)
    found = Classifier.load(bundle.folder, precision="float32").scores(texts)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_eight_bits_say_how_many_validation_labels_they_changed(study: Study, tmp_path: Path) -> None:
    """Counted from outside, by the whole bundle and the one in 8 bits, of a model that hardly decides."""
    run = shutil.copytree(study.runs["full"], tmp_path / "run")
    dataset = replace(study.dataset, val=study.dataset.train)
    path = run / "model" / "model.safetensors"
    weights = load_file(path)
    for name, tensor in weights.items():
        if tensor.ndim == 2 and "encoder.layer" in name:  # one large number a row leaves few steps for the others
            tensor[:, 0] *= 100
    for part in ("rough", "undecided"):
        save_file(weights, path, metadata={"format": "pt"})
        wide = pack(run, tmp_path / part)
        weights["classifier.bias"] -= torch.from_numpy(np.median(_scores(wide, dataset), axis=0))
    with pytest.warns(TanzakuWarning, match="is not what the classifier was trained on"):
        narrow = pack(run, tmp_path / "narrow", int8=True, dataset=dataset)
    before, after = (_scores(bundle, dataset).argmax(axis=1) for bundle in (wide, narrow))
    classes = np.array([dataset.label_names.index(label) for label in dataset.val.labels])
    quantized = encoder_facts(narrow).quantized
    assert quantized is not None
    assert quantized.changed == (before != after).sum() > 0
    assert quantized.val_before.accuracy == pytest.approx((before == classes).mean())
    assert quantized.val.accuracy == pytest.approx((after == classes).mean())
    assert encoder_facts(wide).quantized is None
    # Its probabilities, and what it keeps of the validation documents, are those of the weights that it has.
    assert narrow.facts.calibration.documents == len(dataset.val)
    kept = read_held_out(narrow.folder)
    assert kept is not None
    assert kept.correct.sum() == (after == classes).sum()
    scores = _scores(narrow, dataset)
    expected = softmax(scores / narrow.facts.calibration.temperature, axis=1).max(axis=1)
    np.testing.assert_allclose(np.sort(kept.probabilities) + 0.5e-4, np.sort(expected), rtol=0, atol=0.6e-4)


def _scores(bundle: Bundle, dataset: Dataset) -> np.ndarray:
    return Classifier.load(bundle.folder).scores(dataset.val.texts)


def test_eight_bits_are_measured_on_the_runs_own_data_where_it_still_lies_there(study: Study, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_prepared(Preparation(study.dataset, source={}, options={}), data)
    run = shutil.copytree(study.runs["full"], tmp_path / "run")
    record = json.loads((run / "record.json").read_text(encoding="utf-8"))
    record["data"]["source"] = str(data)
    del record["sha256"]
    (run / "record.json").write_text(json.dumps(record), encoding="utf-8")
    quantized = encoder_facts(pack(run, tmp_path / "measured", int8=True)).quantized
    assert quantized is not None
    assert quantized.val.documents == len(study.dataset.val)
    assert str(tmp_path) not in (tmp_path / "measured" / "bundle.json").read_text(encoding="utf-8")
    # Other data in its place is not the run's; nor is a folder that is gone.
    other = replace(study.dataset, val=study.dataset.test)
    write_prepared(Preparation(other, source={}, options={}), data, force=True)
    assert encoder_facts(pack(run, tmp_path / "other", int8=True)).quantized is None
    shutil.rmtree(data)
    gone = pack(run, tmp_path / "gone", int8=True)
    assert encoder_facts(gone).quantized is None
    # What is known is the run's: a temperature that is near, but no validation documents as this bundle sees them.
    assert gone.facts.calibration == finished(read_record(run)).calibration
    assert read_held_out(gone.folder) is None


def test_what_a_bundle_says_is_over_the_groups_of_the_documents(study: Study, tmp_path: Path) -> None:
    run = shutil.copytree(study.runs["full"], tmp_path / "run")
    plain = pack(run, tmp_path / "plain")
    for split, name in ((study.dataset.val, "val-predictions.csv"), (study.dataset.test, "predictions.csv")):
        stored = read_predictions(run, name=name)
        groups = [number // 6 for number in range(len(split))]
        write_predictions(run, **stored._replace(groups=groups)._asdict(), name=name)
    grouped = pack(run, tmp_path / "grouped")
    of_plain, of_grouped = plain.facts.run, grouped.facts.run
    assert (of_plain.over_groups, of_grouped.over_groups) == (False, True)
    for one, other in ((of_plain.test, of_grouped.test), (of_plain.val, of_grouped.val)):
        assert one.accuracy == other.accuracy
        assert one.accuracy_interval != other.accuracy_interval
    assert of_plain.test_macro_f1_interval != of_grouped.test_macro_f1_interval
    kept, all_documents = read_held_out(grouped.folder), read_held_out(plain.folder)
    assert kept is not None
    assert all_documents is not None
    assert len(all_documents.correct) == len(study.dataset.val)
    assert len(kept.correct) == len(kept.probabilities) == len(study.dataset.val) // 6


def test_one_document_of_each_group_is_kept_of_those_that_are_classified_again(study: Study, tmp_path: Path) -> None:
    val = study.dataset.val
    groups = ("a", "a", "b", None, "b", None, *["c"] * (len(val) - 6))
    dataset = replace(study.dataset, val=replace(val, groups=groups))
    with pytest.warns(TanzakuWarning, match="is not what the classifier was trained on"):
        narrow = pack(study.runs["full"], tmp_path / "narrow", int8=True, dataset=dataset)
    kept, quantized = read_held_out(narrow.folder), encoder_facts(narrow).quantized
    assert kept is not None
    assert len(kept.correct) == len(kept.probabilities) == 5
    # What is said of them is over the groups too.
    assert quantized is not None
    found = [one.label for one in Classifier.load(narrow.folder)(val.texts)]
    correct = np.equal(found, val.labels)
    interval = accuracy_interval_of([quantized.val], correct[None], np.array([0, 0, 1, 2, 1, 3, *[4] * (len(val) - 6)]))
    assert interval is not None
    assert quantized.val.accuracy_interval == pytest.approx((interval.low, interval.high))
    assert quantized.val.accuracy_interval != accuracy_interval(int(correct.sum()), len(val))


@pytest.mark.parametrize("method", METHODS)
def test_a_bundle_counts_the_test_documents_that_got_each_label(study: Study, method: str) -> None:
    classes = open_bundle(study.bundles[method]).facts.run.test_classes
    assert classes is not None
    predicted = read_predictions(study.runs[method]).predicted
    names = study.dataset.label_names
    assert {name: one.predicted for name, one in classes.items()} == {
        name: predicted.count(index) for index, name in enumerate(names)
    }
    # Records have the confusion matrix, and stay as they are.
    assert "predicted" not in (study.runs[method] / "record.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("method", METHODS)
def test_a_bundle_keeps_the_runs_calibration_and_validation_documents(study: Study, method: str) -> None:
    facts, record = open_bundle(study.bundles[method]).facts, finished(read_record(study.runs[method]))
    assert facts.calibration == record.calibration
    kept = read_held_out(study.bundles[method])
    assert kept is not None
    assert (len(kept.correct), kept.correct.sum()) == (record.val.documents, record.val.correct)
    classifier = Classifier.load(study.bundles[method], precision="float32")
    found = [prediction.probability for prediction in classifier(study.dataset.val.texts)]
    np.testing.assert_allclose(np.sort(kept.probabilities) + 0.5e-4, np.sort(found), rtol=0, atol=0.6e-4)


def test_a_run_without_calibrated_predictions_is_not_packed(study: Study, tmp_path: Path) -> None:
    run = shutil.copytree(study.runs["tfidf-svm"], tmp_path / "run")
    (run / "val-predictions.csv").unlink()
    with pytest.raises(BundleError, match=r"no calibrated predictions .*\(val-predictions.csv\).* make the run again"):
        pack(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_data_with_other_labels_is_refused_before_anything_is_written(study: Study, tmp_path: Path) -> None:
    other = replace(study.dataset, label_names=("空", "海", "谷"))
    with pytest.raises(DataError, match="has the labels 空, 海, 谷, and the bundle"):
        pack(study.runs["full"], tmp_path / "out", int8=True, dataset=other)
    assert not (tmp_path / "out").exists()


def test_a_method_without_an_encoder_has_no_eight_bits(study: Study, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="int8 is for the weights of an encoder, and tfidf-svm has none"):
        pack(study.runs["tfidf-svm"], tmp_path / "out", int8=True)
    assert not (tmp_path / "out").exists()


# -- which run of a study ---------------------------------------------------------------------------------------------


def _copies(study: Study, folder: Path, changes: dict[str, Callable[[dict[str, Any]], None]]) -> Path:
    """A study of copies of the lora run, each record changed."""
    for name, change in changes.items():
        shutil.copytree(study.runs["lora"], folder / name)
        path = folder / name / "record.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content["run_id"] = name
        del content["sha256"]
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")
    return folder


def _measured(
    *, val: float, test: float = 0.5, saved_bytes: int = 1000, rank: int = 8, seed: int = 42
) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content["val"]["accuracy"], content["test"]["accuracy"] = val, test
        content["costs"]["saved_bytes"] = saved_bytes
        content["spec"]["method"]["rank"], content["spec"]["seed"] = rank, seed

    return change


def _failed(content: dict[str, Any]) -> None:
    content.update(status="failed", error="out of memory")
    for name in set(content) - set(FailedRun.model_fields):
        del content[name]


def test_the_recommended_arms_run_is_taken_never_by_the_test_set(study: Study, tmp_path: Path) -> None:
    runs = _copies(
        study,
        tmp_path / "runs",
        {
            "best": _measured(val=0.8, test=0.1, saved_bytes=3000, rank=32),
            "within": _measured(val=0.797, test=0.2, saved_bytes=1000, rank=8),
            "small": _measured(val=0.7, test=0.99, saved_bytes=500, rank=2),
            "failed": _failed,
        },
    )
    assert choose_run(runs).folder == runs / "within"
    assert choose_run(runs, margin=0).folder == runs / "best"
    assert choose_run(runs, margin=0.2).folder == runs / "small"
    assert pack(runs, tmp_path / "out").facts.run.run_id == "within"
    assert pack(runs, tmp_path / "other", margin=0).facts.run.run_id == "best"


def test_an_arm_is_chosen_by_the_mean_of_its_seeds_and_then_its_best_run(study: Study, tmp_path: Path) -> None:
    lucky = {f"lucky-{seed}": _measured(val=val, rank=2, seed=seed) for seed, val in enumerate((0.9, 0.5))}
    steady = {f"steady-{seed}": _measured(val=val, rank=4, seed=seed) for seed, val in enumerate((0.8, 0.82))}
    runs = _copies(study, tmp_path, lucky | steady)
    assert choose_run(runs).folder == runs / "steady-1"


def test_of_equal_arms_the_smallest_is_taken(study: Study, tmp_path: Path) -> None:
    sizes = {"a": 3000, "b": 1000, "c": 2000}
    changes = {
        name: _measured(val=0.8, saved_bytes=size, rank=rank)
        for rank, (name, size) in enumerate(sizes.items(), start=1)
    }
    runs = _copies(study, tmp_path, changes)
    assert choose_run(runs, margin=0).folder == runs / "b"


def test_a_run_that_is_no_better_than_the_most_frequent_class_is_never_taken(study: Study, tmp_path: Path) -> None:
    runs = _copies(
        study,
        tmp_path / "runs",
        {
            "one": _measured(val=0.01, saved_bytes=500, rank=1),
            "two": _measured(val=0.9, saved_bytes=1000, rank=2),
            "three": _measured(val=0.02, saved_bytes=500, rank=4),
        },
    )
    assert choose_run(runs, margin=0.89).folder == runs / "two"
    shutil.rmtree(runs / "two")
    with pytest.raises(BundleError, match="no arm is better on the validation set than always answering"):
        choose_run(runs)


def test_a_study_can_choose_by_macro_f1(study: Study, tmp_path: Path) -> None:
    def says(macro_f1: float, choose_by: str, **values: Any) -> Callable[[dict[str, Any]], None]:
        def change(content: dict[str, Any]) -> None:
            _measured(**values)(content)
            content["val"]["macro_f1"] = macro_f1
            content["spec"]["choose_by"] = choose_by

        return change

    changes = {"frequent": says(0.5, "macro_f1", val=0.99, rank=1), "rare": says(0.9, "macro_f1", val=0.95, rank=2)}
    runs = _copies(study, tmp_path / "runs", changes)
    assert choose_run(runs).folder == runs / "rare"
    assert choose_run(runs, choose_by="accuracy").folder == runs / "frequent"
    mixed = _copies(study, tmp_path / "mixed", {**changes, "old": says(0.4, "accuracy", val=0.4, rank=4)})
    with pytest.raises(RecordError, match=r"different values of choose_by \(accuracy, macro_f1\).*--choose-by"):
        choose_run(mixed)
    assert choose_run(mixed, choose_by="macro_f1").folder == mixed / "rare"


def test_runs_of_different_data_are_an_error(study: Study, tmp_path: Path) -> None:
    def other(content: dict[str, Any]) -> None:
        content["data"].update(fingerprint="f" * 64, name="other")

    runs = _copies(study, tmp_path, {"a": _measured(val=0.7), "b": other})
    with pytest.raises(BundleError, match=r"different data \(other, tiny\)"):
        choose_run(runs)


def test_runs_of_different_encoders_are_an_error(study: Study, tmp_path: Path) -> None:
    def other(content: dict[str, Any]) -> None:
        content["encoder"]["fingerprint"] = "f" * 64

    runs = _copies(study, tmp_path, {"a": _measured(val=0.7), "b": other})
    with pytest.raises(BundleError, match=r"are of 2 encoders \(.*, .*\), which are not compared"):
        choose_run(runs)


def test_where_nothing_can_be_packed_it_says_so(study: Study, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="contains no finished run"):
        pack(tmp_path, tmp_path / "out")
    runs = _copies(study, tmp_path / "runs", {"failed": _failed, "emptied": _measured(val=0.7)})
    with pytest.raises(BundleError, match=r"failed \(out of memory\)"):
        pack(runs / "failed", tmp_path / "out")

    def later(content: dict[str, Any]) -> None:
        content["spec"]["encoder"]["later"] = 1

    newer = _copies(study, tmp_path / "newer", {"run": later})
    with pytest.raises(BundleError, match="does not know the settings of the run"):
        pack(newer / "run", tmp_path / "out")
    shutil.rmtree(newer)
    shutil.rmtree(runs / "emptied" / "model")
    with pytest.raises(BundleError, match="has no model/ folder any more"):
        pack(runs / "emptied", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]


# -- where a bundle goes ----------------------------------------------------------------------------------------------


def test_nothing_is_overwritten_unless_it_is_a_bundle_and_wished(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    pack(study.runs["lora"], out)  # an empty folder is as good as none
    with pytest.raises(BundleError, match="already contains a bundle"):
        pack(study.runs["head"], out)
    pack(study.runs["head"], out, force=True)
    assert open_bundle(out).facts.method["name"] == "head"
    with pytest.raises(BundleError, match="contains something that is not a bundle"):
        pack(study.runs["lora"], study.encoder, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    write_prepared(Preparation(make_dataset(), source={}, options={}), tmp_path / "data")  # it has a manifest.json
    with pytest.raises(BundleError, match="contains something that is not a bundle"):
        pack(study.runs["lora"], tmp_path / "data", force=True)
    assert (tmp_path / "data" / "train.csv").is_file()
    (out / "README.md").write_text("of which there is a new one", encoding="utf-8")
    for mine in ("notes.txt", ".git/HEAD"):
        (out / mine).parent.mkdir(exist_ok=True)
        (out / mine).write_text("mine", encoding="utf-8")
        with pytest.raises(
            BundleError, match=rf"out contains {mine}, which is no part of the bundle and would be lost"
        ):
            pack(study.runs["lora"], out, force=True)
        (out / mine).unlink()
    (out / ".git").rmdir()
    (out / "manifest.json").write_text("cut off", encoding="utf-8")
    pack(study.runs["lora"], out, force=True)
    assert open_bundle(out).facts.method["name"] == "lora"


def test_a_link_to_a_bundle_stays_one(study: Study, tmp_path: Path) -> None:
    pack(study.runs["lora"], tmp_path / "news-v1")
    link = tmp_path / "current"
    link.symlink_to("news-v1")
    pack(study.runs["head"], link, force=True)
    assert link.is_symlink()
    assert open_bundle(tmp_path / "news-v1").facts.method["name"] == "head"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "news-v1"]


def test_no_path_of_a_teacher_is_packed(study: Study, tmp_path: Path) -> None:
    def distilled(content: dict[str, Any]) -> None:
        content["spec"]["training"]["distill"] = {"teacher": "/home/me/teacher", "texts": "/home/me/texts.txt"}

    runs = _copies(study, tmp_path / "runs", {"a": distilled})
    pack(runs / "a", tmp_path / "out")
    assert b"teacher" in (tmp_path / "out" / "bundle.json").read_bytes()
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or b"/home/me" not in path.read_bytes(), path


def test_the_run_that_one_stands_in_is_packed_but_not_to_there(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study.runs["head"])
    assert pack(Path(), tmp_path / "out").facts.method["name"] == "head"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="which has no name; name a new folder"):
        pack(study.runs["head"], Path())


def test_what_a_file_manager_leaves_is_neither_packed_nor_a_damage(study: Study, tmp_path: Path) -> None:
    runs = _copies(study, tmp_path / "runs", {"a": _measured(val=0.7)})
    out = tmp_path / "out"
    out.mkdir()
    for folder in (runs / "a" / "model", out):
        (folder / ".DS_Store").write_bytes(b"icons")
    pack(runs / "a", out)
    assert not list(out.rglob(".DS_Store"))
    (out / "encoder" / ".DS_Store").write_bytes(b"icons")
    assert open_bundle(out).facts.run.run_id == "a"


def test_what_git_and_the_hub_add_is_no_part_of_a_bundles_size(study: Study, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(study.bundles["lora"], tmp_path / "bundle"))
    size = bundle_bytes(bundle)
    assert size == folder_bytes(bundle) - (bundle / "README.md").stat().st_size
    added = (".git/objects/pack/a.pack", ".cache/huggingface/b", ".gitattributes", "certificate.json", ".DS_Store")
    for name in added:
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_bytes(bytes(1000))
    assert bundle_bytes(bundle) == size
    # Only at the top are these not the bundle's.
    (bundle / "model" / ".git").mkdir()
    (bundle / "model" / ".git" / "a").write_bytes(bytes(1000))
    assert bundle_bytes(bundle) == size + 1000


def test_a_file_that_no_bundle_holds_is_not_packed(study: Study, tmp_path: Path) -> None:
    runs = _copies(study, tmp_path / "runs", {"a": _measured(val=0.7)})
    (runs / "a" / "model" / "training_args.bin").write_bytes(b"pickle")
    with pytest.raises(BundleError, match=r"model/training_args.bin can't go into a bundle"):
        pack(runs / "a", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# -- damage -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def bundle(study: Study, tmp_path: Path) -> Bundle:
    folder = tmp_path / "bundle"
    shutil.copytree(study.bundles["lora"], folder)
    return open_bundle(folder)


def _flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("name", ["model/adapter_model.safetensors", "encoder/vocab.txt", "bundle.json"])
def test_a_flipped_bit_is_found_and_named(bundle: Bundle, name: str) -> None:
    _flip_a_byte(bundle.folder / name)
    with pytest.raises(BundleError, match=f"is damaged: the SHA-256 of {name}"):
        Classifier.load(bundle.folder)


def test_a_missing_and_an_extra_file_are_named(bundle: Bundle) -> None:
    extra = bundle.folder / "model" / "extra.py"
    extra.write_text("print('run')", encoding="utf-8")
    with pytest.raises(BundleError, match=r"holds model/extra.py, which its manifest does not name"):
        Classifier.load(bundle.folder)
    extra.unlink()
    (bundle.folder / "encoder" / "vocab.txt").unlink()
    with pytest.raises(BundleError, match=r"encoder/vocab.txt is missing"):
        Classifier.load(bundle.folder)


def test_a_pickle_is_refused_also_where_the_manifest_names_it(bundle: Bundle) -> None:
    path = bundle.folder / "model" / "adapter_model.bin"
    path.write_bytes(b"pickle")
    manifest = bundle.folder / "manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    content["files"]["model/adapter_model.bin"] = sha256_of_file(path)
    manifest.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BundleError, match=r"holds model/adapter_model.bin, and no bundle holds such a file"):
        Classifier.load(bundle.folder)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "manifest.json can't be read"),
        ("[]", "manifest.json is of another kind; give a folder that `tanzaku fit` or `tanzaku pack` wrote"),
        ('{"format": "tanzaku-data"}', "manifest.json is of another kind"),
        ('{"format": "tanzaku-bundle-9"}', "manifest.json has the format 'tanzaku-bundle-9'; .* install the one"),
        ('{"format": "tanzaku-bundle-1"}', "manifest.json names no files"),
    ],
)
def test_a_manifest_that_is_none_is_an_error(bundle: Bundle, content: str, complaint: str) -> None:
    (bundle.folder / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(BundleError, match=complaint):
        Classifier.load(bundle.folder)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is not a bundle: manifest.json is missing"):
        Classifier.load(tmp_path)


def _rewrite(bundle: Bundle, **changes: object) -> None:
    path = bundle.folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    write_manifest(bundle.folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 1}, "has version 1; this Tanzaku reads version 4; pack the run again with `tanzaku pack`"),
        ({"new": 1}, "does not describe a bundle of this Tanzaku"),
        ({"method": {"name": "later"}}, "there is no method 'later'"),
        ({"method": {"name": "lora", "later": 1}}, "the bundle's method can't be used"),
        ({"tanzaku": "\ud800"}, "does not describe a bundle of this Tanzaku .*Invalid JSON: .* hex escape"),
    ],
)
def test_a_bundle_of_another_tanzaku_says_so(bundle: Bundle, changes: dict[str, object], message: str) -> None:
    _rewrite(bundle, **changes)
    with pytest.raises(BundleError, match=message):
        Classifier.load(bundle.folder)


# -- the base encoder -------------------------------------------------------------------------------------------------


def test_another_encoder_is_refused_and_the_difference_named(study: Study, tmp_path: Path) -> None:
    other = make_encoder(tmp_path / "wider", hidden=64, pooler=False)
    with pytest.raises(BundleError, match=r"they differ in config.json\).*--with-encoder"):
        Classifier.load(study.bundles["lora"], encoder=str(other))
    weights = tmp_path / "weights"
    shutil.copytree(study.encoder, weights)
    _flip_a_byte(weights / "model.safetensors")
    with pytest.raises(BundleError, match=r"they differ in the weights\)"):
        Classifier.load(study.bundles["lora"], encoder=str(weights))


def test_a_missing_encoder_is_named_and_may_lie_elsewhere(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    texts = study.dataset.test.texts
    here = Classifier.load(study.bundles["lora"], precision="float32").scores(texts)
    moved = study.encoder.rename(tmp_path / "moved")
    try:
        with pytest.raises(BundleError, match=r"needs the encoder .*Or name a folder with the right one \(--encoder"):
            Classifier.load(study.bundles["lora"])
        with pytest.raises(BundleError, match="the run lora-s42 needs the encoder"):
            pack(study.runs["lora"], tmp_path / "out")
        there = Classifier.load(study.bundles["lora"], precision="float32", encoder=str(moved)).scores(texts)
        monkeypatch.chdir(tmp_path)
        repacked = pack(study.runs["lora"], tmp_path / "repacked", encoder="moved")
        monkeypatch.chdir(study.folder)
        assert (Classifier.load(repacked.folder, precision="float32").scores(texts) == here).all()
    finally:
        moved.rename(study.encoder)
    assert (here == there).all()


def test_a_relative_name_of_an_encoder_works_from_every_folder(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    content = {
        "name": "tiny",
        "data": {"source": "made by the test"},
        "training": {"epochs": 1, "learning_rate": 5e-3, "precision": "float32"},
        "arms": [{"method": "lora"}],
    }
    planned = {}
    for folder, name in ((study.encoder.parent, "encoder"), (study.encoder, "."), (tmp_path, str(study.encoder))):
        monkeypatch.chdir(folder)
        spec = StudySpec.model_validate(content | {"encoder": {"name": name, "max_tokens": 16}})
        (one,) = plan_study(spec, dataset=study.dataset, out=tmp_path / "runs").runs
        assert isinstance(one, PlannedEncoderRun)
        planned[name] = one
    assert {one.spec.encoder.name for one in planned.values()} == {str(study.encoder)}
    assert len({one.run_id for one in planned.values()}) == 1
    folder = planned["."].folder
    record = run_encoder(planned["."], dataset=study.dataset, study="tiny")
    assert record.spec["encoder"]["name"] == record.encoder.name == str(study.encoder)
    bundle = pack(folder, tmp_path / "bundle")
    assert Classifier.load(bundle.folder)(["空に雲"])  # the folder is now another than the study's
    # A name of the Hub stays when the encoder is given by a folder: it finds the encoder on other machines too.
    settings = record.spec | {"encoder": record.spec["encoder"] | {"name": "owner/encoder", "revision": "v2"}}
    write_record(record.model_copy(update={"spec": settings}), folder)
    encoder = encoder_facts(pack(folder, tmp_path / "other", encoder=str(study.encoder))).encoder
    assert (encoder.name, encoder.revision) == ("owner/encoder", "v2")
