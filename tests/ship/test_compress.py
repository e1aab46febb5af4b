"""A compressed bundle classifies as the nearest adapter of its rank does, and says what that cost."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tanzaku.errors import BundleError, DataError
from tanzaku.exports.exporting import export
from tanzaku.methods.adapter import read_adapter
from tanzaku.ship.bundle import open_bundle
from tanzaku.ship.certificate import read_certificate
from tanzaku.ship.classifier import Classifier
from tanzaku.ship.compress import compress
from tanzaku.ship.held_out import read_held_out
from tanzaku.study.run import run
from tests.kinds import encoder_facts, encoder_run
from tests.ship.conftest import Study
from tests.tiny import WORDS, make_dataset


def _updates(bundle: Path) -> dict[str, np.ndarray]:
    """ΔW of every layer of a bundle's adapter."""
    adapter = read_adapter(bundle / "model")
    return {layer: (b.double() @ a.double()).numpy() for layer, (a, b) in _pairs(adapter).items()}


def _pairs(adapter: Any) -> dict[str, Any]:
    return {layer: adapter.update_of(layer) for layer in adapter.factors}


def test_every_layer_is_numpys_truncation(study: Study, tmp_path: Path) -> None:
    made = compress(study.bundles["lora"], tmp_path / "small", rank=2)
    before, after = _updates(study.bundles["lora"]), _updates(tmp_path / "small")
    assert len(before) == len(after) == 4  # query and value of two layers
    kept = whole = 0.0
    for layer, update in before.items():
        left, values, right = np.linalg.svd(update)
        expected = (left[:, :2] * values[:2]) @ right[:2]
        np.testing.assert_allclose(after[layer], expected, rtol=0, atol=1e-5 * values[0])
        kept, whole = kept + (values[:2] ** 2).sum(), whole + (values**2).sum()
    facts = encoder_facts(made).compressed
    assert facts is not None
    assert (facts.rank, facts.energy, facts.ranks, facts.ranks_before) == (2, None, (2, 2), (8, 8))
    assert facts.kept_energy == pytest.approx(kept / whole)
    weights = load_file(tmp_path / "small" / "model" / "adapter_model.safetensors")
    assert {array.shape for name, array in weights.items() if "lora_A" in name} == {(2, 32)}


@pytest.mark.parametrize("energy", [0.5, 0.9, 0.999])
def test_the_energy_that_is_asked_for_is_kept_by_the_smallest_rank(study: Study, tmp_path: Path, energy: float) -> None:
    compress(study.bundles["lora"], tmp_path / "small", energy=energy)
    ranks = {layer: len(a) for layer, (a, _) in _pairs(read_adapter(tmp_path / "small" / "model")).items()}
    for layer, update in _updates(study.bundles["lora"]).items():
        squares = np.linalg.svd(update, compute_uv=False) ** 2
        shares = squares.cumsum() / squares.sum()
        assert ranks[layer] == int(np.argmax(shares >= energy - 1e-9)) + 1
    texts = study.dataset.test.texts
    assert Classifier.load(tmp_path / "small").scores(texts).shape == (len(texts), 3)


def test_all_of_the_energy_is_the_same_classifier(study: Study, tmp_path: Path) -> None:
    compress(study.bundles["lora"], tmp_path / "same", energy=1.0)
    texts = study.dataset.test.texts
    scores = [Classifier.load(f, precision="float32").scores(texts) for f in (study.bundles["lora"], tmp_path / "same")]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-4, atol=1e-5)
    # So is what it keeps of the validation documents, which a cut makes wrong.
    compress(study.bundles["lora"], tmp_path / "cut", rank=1)
    kept, same, cut = (read_held_out(folder) for folder in (study.bundles["lora"], tmp_path / "same", tmp_path / "cut"))
    assert kept is not None
    assert same is not None
    assert cut is None
    np.testing.assert_array_equal(same.probabilities, kept.probabilities)


def test_the_validation_set_is_classified_before_and_after(study: Study, tmp_path: Path) -> None:
    made = compress(study.bundles["lora"], tmp_path / "small", rank=1, dataset=study.dataset)
    facts = encoder_facts(made).compressed
    assert facts is not None
    assert facts.val is not None
    assert facts.val_before is not None
    for folder, scores in ((study.bundles["lora"], facts.val_before), (tmp_path / "small", facts.val)):
        found = [one.label for one in Classifier.load(folder)(study.dataset.val.texts)]
        assert scores.accuracy == pytest.approx(np.mean(np.equal(found, study.dataset.val.labels)))
        assert scores.documents == len(study.dataset.val)
    # What the run was worth is still said, and apart from it.
    assert made.facts.run == open_bundle(study.bundles["lora"]).facts.run


def test_a_compressed_bundle_can_be_compressed_again(study: Study, tmp_path: Path) -> None:
    compress(study.bundles["lora"], tmp_path / "four", rank=4)
    compress(tmp_path / "four", tmp_path / "two", rank=2)
    compress(study.bundles["lora"], tmp_path / "direct", rank=2)
    for layer, update in _updates(tmp_path / "direct").items():
        np.testing.assert_allclose(_updates(tmp_path / "two")[layer], update, rtol=0, atol=1e-5)
    # What it says is about both cuts.
    direct, two = (encoder_facts(open_bundle(tmp_path / name)).compressed for name in ("direct", "two"))
    assert direct is not None
    assert two is not None
    assert (two.ranks_before, two.ranks) == (direct.ranks_before, direct.ranks)
    assert two.kept_energy == pytest.approx(direct.kept_energy, rel=1e-4)


def test_of_several_steps_the_last_one_is_measured(study: Study, tmp_path: Path) -> None:
    compress(study.bundles["lora"], tmp_path / "four", rank=4)
    made = compress(tmp_path / "four", tmp_path / "two", rank=2, dataset=study.dataset)
    facts, found = encoder_facts(made).compressed, Classifier.load(tmp_path / "four")(study.dataset.val.texts)
    assert facts is not None
    assert facts.val_before is not None
    right = np.mean(np.equal([one.label for one in found], study.dataset.val.labels))
    assert facts.steps == 2
    assert facts.val_before.accuracy == pytest.approx(right)
    card = (tmp_path / "two" / "README.md").read_text(encoding="utf-8")
    assert "This was done in 2 steps; accuracies are those of the last. On" in card


def test_a_bundle_is_not_compressed_into_itself(study: Study, tmp_path: Path) -> None:
    source = shutil.copytree(study.bundles["lora"], tmp_path / "bundle")
    with pytest.raises(BundleError, match=r"is, or is in, the bundle .* itself; choose a new folder"):
        compress(source, source / "small", rank=1)
    open_bundle(source)


def test_equal_bundles_give_equal_bytes(study: Study, tmp_path: Path) -> None:
    for name in ("one", "two"):
        compress(study.bundles["lora"], tmp_path / name, rank=3)
    assert (tmp_path / "one" / "manifest.json").read_bytes() == (tmp_path / "two" / "manifest.json").read_bytes()


def test_what_can_not_be_compressed_says_why(study: Study, tmp_path: Path) -> None:
    for name, options, message in (
        ("lora", {}, "give either rank"),
        ("lora", {"rank": 2, "energy": 0.5}, "give either rank"),
        ("lora", {"rank": 0}, "rank = 0; give 1 or more"),
        ("lora", {"rank": 8}, "no layer has more than 8 as it is"),
        ("lora", {"energy": 1.5}, "energy = 1.5; give a share"),
        ("full", {"rank": 2}, "of the method 'full', which has no ranks"),
        ("tfidf-svm", {"rank": 2}, "of the method 'tfidf-svm', which has no ranks"),
    ):
        with pytest.raises(BundleError, match=re.escape(message)):
            compress(study.bundles[name], tmp_path / "out", **options)
    others = replace(make_dataset(), label_names=("海", "空"))
    with pytest.raises(DataError, match=f"has the labels 海, 空, and the bundle {', '.join(sorted(WORDS))}"):
        compress(study.bundles["lora"], tmp_path / "out", rank=2, dataset=others)
    assert not list(tmp_path.iterdir())


def test_a_merged_bundle_is_an_error(study: Study, tmp_path: Path) -> None:
    from tanzaku.ship.packing import pack

    pack(study.runs["lora"], tmp_path / "whole", with_encoder=True)
    with pytest.raises(BundleError, match="merged into its encoder; pack the run without --with-encoder"):
        compress(tmp_path / "whole", tmp_path / "out", rank=2)
    pack(study.runs["lora"], tmp_path / "low", int8=True)
    with pytest.raises(BundleError, match="merged into its encoder; pack the run without --int8 and --with-encoder,"):
        compress(tmp_path / "low", tmp_path / "out", rank=2)


def test_where_the_study_pretrained_the_encoder_no_flag_is_blamed(tmp_path: Path, tiny_masked_encoder: Path) -> None:
    from tanzaku.ship.packing import pack
    from tanzaku.study.engine import RunEnds, make_runs
    from tanzaku.study.plan import plan_study
    from tanzaku.study.spec import StudySpec

    pretraining = {"steps": 2, "max_tokens": 16, "batch_tokens": 64, "learning_rate": 1e-3, "evaluations": 1}
    content = {
        "name": "tiny",
        "data": {"source": "made by the test"},
        "encoder": {"name": str(tiny_masked_encoder), "max_tokens": 16, "pretrain": pretraining},
        "training": {"epochs": 1, "learning_rate": 5e-3, "precision": "float32"},
        "arms": [{"method": "lora", "rank": 4}],
    }
    dataset = make_dataset()
    plan = plan_study(StudySpec.model_validate(content), dataset=dataset, out=tmp_path / "study")
    (ended,) = [
        event.record for event in make_runs(plan.runs, dataset=dataset, study="tiny") if isinstance(event, RunEnds)
    ]
    assert ended.status == "finished", ended
    for name, int8 in (("float", False), ("low", True)):
        pack(tmp_path / "study" / ended.run_id, tmp_path / name, int8=int8)
        with pytest.raises(BundleError, match=r"merged into its encoder; pack .* with --with-encoder --no-merge, and"):
            compress(tmp_path / name, tmp_path / "out", rank=2)
        with pytest.raises(BundleError, match=r"merged into .* encoder; pack .* with --with-encoder --no-merge, and"):
            export(tmp_path / name, tmp_path / "out", to="peft")
    pack(tmp_path / "study" / ended.run_id, tmp_path / "adapter", with_encoder=True, merge=False)
    shutil.rmtree(tmp_path / "study")  # the bundle needs no encoder but its own
    compress(tmp_path / "adapter", tmp_path / "out", rank=2)
    export(tmp_path / "out", tmp_path / "exported", to="peft")
    assert read_certificate(tmp_path / "exported").largest_logit_difference < 1e-4


@pytest.mark.parametrize(
    ("arm", "rank"),
    [
        (
            {"method": "lora", "rank": 3, "initialization": "pissa"},
            6,
        ),  # beside the encoder as it was, PiSSA takes twice
        ({"method": "lora", "rank": 4, "targets": "all-linear", "dora": True}, 4),
        ({"method": "lora-nested", "ranks": [1, 2, 4]}, 4),
        ({"method": "lora+tfidf", "rank": 4, "max_terms": 64, "pooling": "mean", "long_text": "windows"}, 4),
    ],
    ids=["pissa", "dora", "nested", "tfidf"],
)
def test_every_kind_of_lora_is_packed_and_cut(study: Study, tmp_path: Path, arm: dict[str, Any], rank: int) -> None:
    from tanzaku.encoders.load import resolve_encoder
    from tanzaku.ship.packing import pack
    from tanzaku.study.planned import PlannedEncoderRun
    from tanzaku.study.spec import StudySpec

    content = {
        "name": "tiny",
        "data": {"source": "made by the test"},
        "encoder": {"name": str(study.encoder), "max_tokens": 16},
        "training": {"epochs": 1, "learning_rate": 5e-3, "precision": "float32"},
        "arms": [arm],
    }
    source = resolve_encoder(str(study.encoder))
    planned = PlannedEncoderRun(encoder_run(StudySpec.model_validate(content)), tmp_path / "run", source)
    run(planned, dataset=study.dataset, study="tiny")
    pack(tmp_path / "run", tmp_path / "bundle")
    facts = encoder_facts(compress(tmp_path / "bundle", tmp_path / "small", rank=2)).compressed
    assert facts is not None
    assert (facts.ranks_before, facts.ranks) == ((rank, rank), (2, 2))
    if arm["method"] == "lora+tfidf":  # then a whole bundle has its adapter beside the encoder
        pack(tmp_path / "run", tmp_path / "whole", with_encoder=True)
        compress(tmp_path / "whole", tmp_path / "whole-small", rank=2)
        texts = study.dataset.test.texts
        with_encoder, apart = (
            Classifier.load(folder).scores(texts) for folder in (tmp_path / "whole-small", tmp_path / "small")
        )
        np.testing.assert_allclose(with_encoder, apart, rtol=0, atol=1e-6)
    texts = study.dataset.test.texts
    whole = Classifier.load(tmp_path / "bundle", precision="float32").scores(texts)
    np.testing.assert_allclose(whole, np.load(tmp_path / "run" / "test-logits.npy"), rtol=1e-4, atol=1e-4)
    cut = Classifier.load(tmp_path / "small", precision="float32").scores(texts)
    assert 0 < np.abs(cut - whole).max() < np.abs(whole).max()
