"""One way to predict, and it is the study's own."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tanzaku.encoders.fast import Precision as RunPrecision
from tanzaku.errors import BundleError, DataError, TanzakuWarning
from tanzaku.machine import describe_machine
from tanzaku.ship.bundle import open_bundle
from tanzaku.ship.classifier import DEFAULT_CHUNK, Classifier
from tanzaku.ship.manifest import write_manifest
from tanzaku.ship.packing import pack
from tanzaku.study.record import read_record
from tests.forked import call
from tests.kinds import encoder_facts, finished
from tests.ship.conftest import METHODS, Study
from tests.tiny import COMMON, WORDS

# Other padding and other batches change the order of float32 sums, and merging that of LoRA's products.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def lora(study: Study) -> Classifier:
    return Classifier.load(study.bundles["lora"], precision="float32", batch_tokens=64)


@pytest.mark.parametrize("method", METHODS)
def test_the_scores_are_those_of_the_studys_own_evaluation(study: Study, method: str) -> None:
    classifier = Classifier.load(study.bundles[method], precision="float32", batch_tokens=100)
    scores = classifier.scores(study.dataset.test.texts)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, study.logits(method), rtol=0, atol=TOLERANCE)
    labels = [prediction.label for prediction in classifier(study.dataset.test.texts)]
    assert labels == [study.dataset.label_names[column] for column in study.logits(method).argmax(axis=1)]


@pytest.mark.parametrize("method", ["head", "lora", "houlsby"])
def test_a_bundle_with_its_encoder_scores_alike_and_needs_no_other(
    study: Study, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = pack(study.runs[method], tmp_path / "bundle", with_encoder=True)
    assert encoder_facts(bundle).whole
    hidden = study.encoder.rename(tmp_path / "hidden")
    try:
        scores = Classifier.load(bundle.folder, precision="float32").scores(study.dataset.test.texts)
    finally:
        hidden.rename(study.encoder)
    np.testing.assert_allclose(scores, study.logits(method), rtol=0, atol=TOLERANCE)


def _computed_in(bundle: Path, precision: str, folder: Path) -> Path:
    """A copy of a bundle whose run computed in another precision."""
    shutil.copytree(bundle, folder)
    facts = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    (folder / "bundle.json").write_text(json.dumps(facts | {"precision": precision}), encoding="utf-8")
    write_manifest(folder)
    return folder


@pytest.mark.parametrize("hardware", [False, True], ids=["without bfloat16", "with bfloat16"])
def test_a_bundle_classifies_in_the_precision_of_its_run_unless_asked(
    study: Study, tmp_path: Path, hardware: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the machine does best. Where bfloat16 would be emulated, float32 is taken, and a warning says so."""
    machine = replace(describe_machine(), gpu=None, cpu_bfloat16=hardware)
    monkeypatch.setattr("tanzaku.compute.describe_machine", lambda: machine)
    texts = study.dataset.test.texts
    wide = study.bundles["full"]
    narrow = _computed_in(wide, "bfloat16", tmp_path / "narrow")
    asked = {name: Classifier.load(wide, device="cpu", precision=name).scores(texts) for name in get_args(RunPrecision)}
    assert np.abs(asked["float32"] - asked["bfloat16"]).max() > 0
    scores = Classifier.load(wide, device="cpu").scores(texts)
    np.testing.assert_array_equal(scores, asked["float32"])
    if hardware:
        scores = Classifier.load(narrow, device="cpu").scores(texts)
        np.testing.assert_array_equal(scores, asked["bfloat16"])
    else:
        with pytest.warns(TanzakuWarning, match="would emulate slowly; classifying in float32"):
            scores = Classifier.load(narrow, device="cpu").scores(texts)
        np.testing.assert_array_equal(scores, asked["float32"])


def test_a_bundle_says_in_which_precision_its_run_computed(study: Study) -> None:
    for method in set(METHODS) - {"tfidf-svm"}:
        assert encoder_facts(open_bundle(study.bundles[method])).precision == "float32"


def test_full_needs_no_encoder(study: Study, tmp_path: Path) -> None:
    hidden = study.encoder.rename(tmp_path / "hidden")
    try:
        scores = Classifier.load(study.bundles["full"], precision="float32").scores(study.dataset.test.texts)
    finally:
        hidden.rename(study.encoder)
    np.testing.assert_allclose(scores, study.logits("full"), rtol=0, atol=TOLERANCE)


def _score(bundle: Path, texts: Sequence[str], file: Path) -> None:
    np.save(file, Classifier.load(bundle, precision="float32").scores(texts))


@pytest.mark.parametrize("method", METHODS)
def test_a_fresh_process_scores_exactly_alike(study: Study, method: str, tmp_path: Path) -> None:
    texts = study.dataset.test.texts
    call(_score, study.bundles[method], texts, tmp_path / "scores.npy", folder=tmp_path)
    here = Classifier.load(study.bundles[method], precision="float32").scores(texts)
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), here)


_words = st.sampled_from([*COMMON, *(word for words in WORDS.values() for word in words)])
_texts = st.lists(st.lists(_words, max_size=25).map("".join), max_size=40)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=_texts, chunk=st.integers(1, 50))
def test_a_stream_predicts_in_order_what_one_text_at_a_time_does(
    lora: Classifier, texts: list[str], chunk: int
) -> None:
    one_by_one = [lora([text])[0] for text in texts]
    streamed = list(lora.stream(texts, chunk=chunk))
    assert len(streamed) == len(texts)
    for one, other in zip(one_by_one, streamed, strict=True):
        assert one.score == pytest.approx(other.score, abs=TOLERANCE)
        assert one.probability == pytest.approx(other.probability, abs=TOLERANCE)


def test_a_stream_reads_no_more_than_a_chunk_ahead_and_keeps_nothing(lora: Classifier) -> None:
    read = 0

    def texts() -> Iterator[str]:
        nonlocal read
        for number in range(20_000):
            read += 1
            yield f"海{'見る' * (number % 3)}"

    taken = 0
    for _ in lora.stream(texts()):
        taken += 1
        assert read <= taken + DEFAULT_CHUNK
    assert taken == read == 20_000


def test_a_chunk_of_one_answers_before_the_next_text_is_read(lora: Classifier) -> None:
    texts = iter(["海", "山", "空"])
    predictions = lora.stream(texts, chunk=1)
    next(predictions)
    assert next(texts) == "山"


def test_the_listener_hears_of_every_text(lora: Classifier) -> None:
    heard: list[int] = []
    list(lora.stream(["海を見る。"] * 100, listener=heard.append))
    assert sum(heard) == 100
    assert len(heard) > 4


@pytest.mark.parametrize("method", ["lora", "tfidf-svm"])
def test_probabilities_are_calibrated_and_labels_stand_likeliest_first(study: Study, method: str) -> None:
    texts = study.dataset.test.texts
    classifier = Classifier.load(study.bundles[method], precision="float32")
    logits = torch.from_numpy(study.logits(method)).double() / classifier.facts.calibration.temperature
    expected = torch.softmax(logits, dim=1).numpy()
    for row, prediction in enumerate(classifier(texts, all_labels=True)):
        assert prediction.probabilities is not None
        assert prediction.scores is not None
        assert list(prediction.probabilities) == list(prediction.scores)
        assert next(iter(prediction.probabilities)) == prediction.label
        values = list(prediction.probabilities.values())
        assert values == sorted(values, reverse=True)
        assert sum(values) == pytest.approx(1)
        for name, probability in prediction.probabilities.items():
            assert probability == pytest.approx(expected[row, classifier.label_names.index(name)], abs=TOLERANCE)
        assert prediction.probability == prediction.probabilities[prediction.label]
        assert prediction.score == prediction.scores[prediction.label]
        assert prediction.label == classifier.label_names[study.logits(method)[row].argmax()]
    assert classifier(texts)[0].probabilities is None


def test_texts_below_a_probability_are_not_answered_but_suggested(study: Study, lora: Classifier) -> None:
    texts = list(study.dataset.test.texts)
    plain = lora(texts, all_labels=True)
    middle = sorted(one.probability for one in plain)[len(plain) // 2]
    found = lora(texts, all_labels=True, min_probability=middle, otherwise="その他")
    assert list(lora.stream(iter(texts), all_labels=True, min_probability=middle, otherwise="その他")) == found
    assert 0 < sum(one.suggestion is None for one in found) < len(found)
    for one, before in zip(found, plain, strict=True):
        answered = before.probability >= middle
        assert (one.label, one.suggestion) == ((before.label, None) if answered else ("その他", before.label))
        assert (one.probability, one.probabilities) == (before.probability, before.probabilities)
    assert lora(texts, min_probability=0.0) == lora(texts)
    with pytest.raises(BundleError, match="min_probability = 80; give a probability from 0 to 1"):
        lora(texts, min_probability=80)


def test_a_threshold_comes_from_the_validation_documents(study: Study) -> None:
    classifier = Classifier.load(study.bundles["tfidf-svm"])
    record = finished(read_record(study.runs["tfidf-svm"]))
    found = classifier.threshold(0.3, confidence=0.6)
    assert found.documents == record.val.documents
    validation = classifier(study.dataset.val.texts, min_probability=found.probability)
    assert sum(one.suggestion is None for one in validation) == found.answered
    with pytest.raises(BundleError, match="with 18 validation documents; even without a mistake, 149 would be needed"):
        classifier.threshold(0.02)


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_text_is_classified_and_no_texts_give_nothing(study: Study, method: str) -> None:
    classifier = Classifier.load(study.bundles[method])
    assert len(classifier(["", "  "])) == 2
    assert classifier([]) == []
    assert classifier.scores([]).shape == (0, 3)


@pytest.mark.parametrize("method", METHODS)
def test_texts_are_read_as_in_training(study: Study, method: str) -> None:
    classifier = Classifier.load(study.bundles[method], precision="float32")
    plain = classifier.scores(["山に行く。", "海 に船がある。", ""])
    odd = classifier.scores(["\ufeff山に\u200b行く\u00ad。", "海\0に船がある。\x1b", "\u200b\x07"])
    np.testing.assert_allclose(odd, plain, rtol=0, atol=TOLERANCE)


def test_bfloat16_keeps_low_weights_and_stays_near(study: Study) -> None:
    texts = study.dataset.test.texts
    low = Classifier.load(study.bundles["full"], precision="bfloat16")
    kinds = {
        parameter.dtype
        for name, module in low._scorer._model.named_modules()  # type: ignore[attr-defined]
        if isinstance(module, torch.nn.Linear) and ".layer." in name  # the head stays float32
        for parameter in module.parameters()
    }
    assert kinds == {torch.bfloat16}
    expected = study.logits("full")
    # bfloat16 has 8 bits: each of the few roundings on the way to a logit is up to 2^-8 of the values there.
    np.testing.assert_allclose(low.scores(texts), expected, rtol=0, atol=2**-4 * np.abs(expected).max())


def test_what_is_no_list_of_texts_is_refused(lora: Classifier) -> None:
    with pytest.raises(TypeError, match="write \\[text\\]"):
        lora("海")
    with pytest.raises(TypeError, match="text 2 is of the type NoneType"):
        lora(["海", None])  # type: ignore[list-item]
    with pytest.raises(DataError, match="text 2 holds half a surrogate pair"):
        lora(["海", "\ud800"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float8"}, "precision = 'float8'; choose one of auto, float32, bfloat16"),
        ({"device": "tpu"}, "device = 'tpu'; choose one of auto, cpu, cuda"),
        ({"batch_tokens": 0}, "batch_tokens = 0; give 1 or more"),
    ],
)
def test_wrong_options_are_named(study: Study, options: dict[str, object], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        Classifier.load(study.bundles["lora"], **options)  # type: ignore[arg-type]


class _Broken:
    """A model that has no answer for one text."""

    def __init__(self, value: float) -> None:
        self._value = value

    def token_ids(self, texts: Sequence[str]) -> None:
        pass

    def __call__(self, texts: Sequence[str], *, listener: Callable[[int], None]) -> np.ndarray:
        listener(len(texts))
        return np.array([[1.0, self._value if text == "谷" else 0.0, 0.0] for text in texts], dtype=np.float32)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_finite_numbers_are_an_error_and_never_an_answer(lora: Classifier, value: float) -> None:
    classifier = Classifier(lora.facts, _Broken(value))
    message = "scores of 1 of 2 texts are infinite or not numbers, the first one being '谷'"
    for classify in (classifier, classifier.scores, lambda texts: list(classifier.stream(texts, all_labels=True))):
        with pytest.raises(BundleError, match=message):
            classify(["空", "谷"])
    answers = classifier.stream(["空", "谷"], chunk=1)
    assert next(answers).score == 1.0
    with pytest.raises(BundleError, match="scores of 1 of 1 texts"):
        next(answers)
