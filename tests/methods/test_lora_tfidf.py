"""LoRA with TF-IDF: the terms that it knows and what they tell, how both are weighed, and a study with it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import chi2
from sklearn.svm import LinearSVC
from torch import nn

from tanzaku.encoders.fast import fast_forward
from tanzaku.encoders.load import SequenceClassifier, load_classifier, resolve_encoder
from tanzaku.encoders.reading import Pooling
from tanzaku.encoders.terms import LONGEST_NGRAM, TermHead, term_heads
from tanzaku.errors import EncoderError, MethodError, SpecError
from tanzaku.methods.interface import HeldOut
from tanzaku.methods.lora_tfidf import LoraTfidf
from tanzaku.ship.classifier import Classifier
from tanzaku.ship.packing import pack
from tanzaku.study.plan import plan_study
from tanzaku.study.spec import StudySpec
from tanzaku.training.batches import Batch
from tanzaku.training.events import Interrupted
from tests.methods.runs import DATASET, run_one

CLS, SEP, PAD = 2, 3, 0
VOCABULARY = 40


def _batch(documents: list[list[int]], classes: list[int] | None = None, belongs: list[int] | None = None) -> Batch:
    rows = [[CLS, *document, SEP] for document in documents]
    width = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    labels = torch.tensor(classes or [0] * len(rows))
    return Batch(ids, mask, labels, None if belongs is None else torch.tensor(belongs))


def _head(labels: int = 2) -> TermHead:
    return TermHead(labels=labels, vocabulary=VOCABULARY)


def _learned(batches: list[Batch], *, labels: int = 2, terms: int = 1000, ngram: int = 2, c: float = 5.0) -> TermHead:
    head = _head(labels)
    head.learn(batches, terms=terms, longest_ngram=ngram, penalty=c)
    return head


def _called(head: TermHead, batch: Batch) -> torch.Tensor:
    logits: torch.Tensor = head(batch.input_ids, batch.attention_mask, batch.documents)
    return logits


def _written(documents: list[list[int]]) -> list[str]:
    return [" ".join(f"t{token}" for token in document) for document in documents]


DOCUMENTS = st.lists(st.lists(st.integers(4, 30), min_size=1, max_size=12), min_size=6, max_size=12)


def test_documents_that_do_not_count_are_not_learned_from() -> None:
    documents, classes = [[4 + place, 5 + place % 3] for place in range(24)], [place % 2 for place in range(24)]
    for counted in ([7], [0, 1, 2], []):
        weights = torch.zeros(24)
        weights[counted] = 1.0
        head = _learned([replace(_batch(documents, classes), weights=weights)], c=1.0)
        assert np.isfinite(_called(head, _batch(documents)).numpy()).all()


@pytest.mark.parametrize("terms", [5, 1000])
def test_the_labels_of_documents_that_do_not_count_change_nothing(terms: int) -> None:
    documents = [[4 + place % 5, 10 + place % 2, 12 + place % 7] for place in range(40)]
    classes = [place % 2 for place in range(40)]
    weights = torch.ones(40)
    weights[20:] = 0.0
    heads = [
        _learned([replace(_batch(documents, classes[:20] + rest), weights=weights)], terms=terms, c=1.0)
        for rest in (classes[20:], [int(label < 3) for label in range(20)])
    ]
    assert torch.equal(heads[0].keys, heads[1].keys)
    assert torch.equal(heads[0].weight, heads[1].weight)
    assert torch.equal(heads[0].bias, heads[1].bias)


NGRAMS = st.integers(1, LONGEST_NGRAM)


@given(DOCUMENTS, NGRAMS, st.data())
@settings(deadline=None, max_examples=40)
def test_the_scores_are_scikit_learns(documents: list[list[int]], ngram: int, data: st.DataObject) -> None:
    """With room for every term: its vectorizer, and its machine of one class against the rest."""
    documents = [*documents, *documents]  # so that no term is left out
    classes = data.draw(st.permutations([place % 3 for place in range(len(documents))]))
    head = _learned([_batch(documents, classes)], labels=3, ngram=ngram, c=2.0)
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, ngram), token_pattern=r"\S+", lowercase=False)
    vectors = vectorizer.fit_transform(_written(documents))
    distances = LinearSVC(C=2.0, tol=1e-7, max_iter=100_000).fit(vectors, classes).decision_function(vectors)
    np.testing.assert_allclose(_called(head, _batch(documents)).numpy(), distances, rtol=0, atol=2e-3)


@given(DOCUMENTS, NGRAMS, st.integers(1, 20))
@settings(deadline=None, max_examples=40)
def test_the_terms_that_depend_most_on_the_class_are_kept(documents: list[list[int]], ngram: int, room: int) -> None:
    """By scikit-learn's χ², of those that several documents have."""
    classes = [place % 2 for place in range(len(documents))]
    head = _learned([_batch(documents, classes)], terms=room, ngram=ngram)
    vectorizer = CountVectorizer(ngram_range=(1, ngram), token_pattern=r"\S+", lowercase=False, binary=True)
    vectors = vectorizer.fit_transform(_written(documents))
    terms = [tuple(int(token[1:]) for token in term.split()) for term in vectorizer.get_feature_names_out()]
    counts = dict(zip(terms, np.asarray(vectors.sum(axis=0)).ravel().tolist(), strict=True))
    statistics = dict(zip(terms, chi2(vectors, classes)[0].tolist(), strict=True))
    possible = {term for term in terms if counts[term] > 1} or set(terms)
    kept = head.ngrams()
    assert len(kept) == len(set(kept)) == min(room, len(possible))
    assert (head.keys.diff() > 0).all()
    assert set(kept) <= possible
    left = [statistics[term] for term in possible if term not in kept]
    assert max(left, default=0) <= min(statistics[term] for term in kept) + 1e-6
    idf = [np.log((1 + len(documents)) / (1 + counts[term])) + 1 for term in kept]
    np.testing.assert_allclose(head.idf, idf, rtol=1e-6)
    assert len(head.weight) == len(kept)


def test_rounding_moves_no_weight_by_more_than_half_a_step() -> None:
    documents, classes = _separable()
    head = _learned([_batch(documents, classes)], labels=3)
    weight, largest = head.weight.clone(), head.weight.abs().amax(dim=0)
    head.round()
    assert torch.equal(head.weight, head.weight.to(torch.int8).float())
    # The scale has 11 digits of its own.
    error = (head.weight * head.scale - weight).abs()
    assert (error <= largest * (0.5 / 127 + 2**-11) + 1e-12).all()
    assert np.isfinite(_called(head, _batch(documents)).numpy()).all()


@given(st.integers(1, 300_000), NGRAMS, st.data())
@settings(max_examples=100)
def test_every_term_has_a_number_of_its_own(vocabulary: int, ngram: int, data: st.DataObject) -> None:
    """Also the last one of the largest vocabulary: it stays below 2**63."""
    token = st.integers(0, vocabulary - 1) | st.just(vocabulary - 1)
    tokens = data.draw(st.lists(token, min_size=ngram, max_size=ngram))
    head = TermHead(labels=2, vocabulary=vocabulary)
    batch = _batch([tokens], [0])
    head.learn([batch], terms=1000, longest_ngram=ngram, penalty=1.0)
    expected = {tuple(tokens[at : at + n]) for n in range(1, ngram + 1) for at in range(ngram - n + 1)}
    assert set(head.ngrams()) == expected
    assert len(head.keys) == len(expected)


def _separable() -> tuple[list[list[int]], list[int]]:
    """60 documents of two classes, each with a token of its class and many of neither."""
    numbers = np.random.default_rng(0)
    classes = [place % 2 for place in range(60)]
    return [[4 + one, *numbers.integers(8, 20, 9).tolist()] for one in classes], classes


def test_a_class_without_documents_is_never_the_answer() -> None:
    documents, classes = _separable()
    head = _learned([_batch(documents, classes)], labels=3)
    assert 2 not in _called(head, _batch(documents)).argmax(dim=1)


def test_documents_of_one_class_can_be_learned() -> None:
    head = _learned([_batch([[5, 6]] * 3, [1, 1, 1])])
    assert _called(head, _batch([[5, 6], [7]])).argmax(dim=1).tolist() == [1, 1]


def test_documents_without_any_token_are_an_error() -> None:
    with pytest.raises(EncoderError, match="no terms to learn"):
        _learned([_batch([[], []], [0, 1])])


def test_the_rows_of_a_document_count_together() -> None:
    documents, classes = _separable()
    head = _learned([_batch(documents, classes)])
    together = _called(head, _batch([[4, 6], [7], [9, 9]], belongs=[0, 1, 1]))  # 7 | 9 9: no pair of 7 with 9
    torch.testing.assert_close(together[:1], _called(head, _batch([[4, 6]])))
    torch.testing.assert_close(together[1:], _called(head, _batch([[9, 9], [7]], belongs=[0, 0])))


def test_documents_in_windows_are_learned_as_they_are_read() -> None:
    documents, classes = _separable()
    whole = _learned([_batch(documents[:30], classes[:30]), _batch(documents[30:], classes[30:])])
    rows = [part for one in documents for part in (one[:4], one[4:])]
    cut = _learned([_batch(rows, belongs=[place // 2 for place in range(120)], classes=classes)])
    missing = set(whole.ngrams()) - set(cut.ngrams())
    assert missing <= {tuple(one[3:5]) for one in documents}  # the last of one window and the first of the next
    assert missing


def test_a_document_without_known_terms_gets_the_offsets() -> None:
    documents, classes = _separable()
    head = _learned([_batch(documents, classes)])
    logits = _called(head, _batch([[], [4, 9], [0, 1]]))
    torch.testing.assert_close(logits[0], head.bias)
    torch.testing.assert_close(logits[2], head.bias)
    assert (logits[1] - head.bias).abs().min() > 0


def _load(folder: Path, pooling: Pooling) -> SequenceClassifier:
    return load_classifier(resolve_encoder(str(folder)), label_names=["空", "海"], seed=0, pooling=pooling)


def test_plain_heads_are_refused_before_anything_is_trained(tiny_encoder: Path) -> None:
    loaded = _load(tiny_encoder, "cls")
    for work in (LoraTfidf().check, lambda model: LoraTfidf().attach(model, head=loaded.head)):
        with pytest.raises(MethodError, match=r"^the head of .*choose pooling = \"mean\""):
            work(loaded.model)


def test_an_error_names_the_method(tiny_encoder: Path) -> None:
    with pytest.raises(MethodError, match=r"^targets: no linear layer is called 'nope'"):
        LoraTfidf(targets=("nope",)).check(_load(tiny_encoder, "mean").model)


@pytest.fixture
def attached(tiny_encoder: Path) -> tuple[LoraTfidf, nn.Module]:
    """A method, and its model as if it had been trained."""
    loaded = _load(tiny_encoder, "mean+max")
    method = LoraTfidf(rank=2, max_terms=64)
    model = method.attach(loaded.model, head=loaded.head).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
    return method, model


@torch.no_grad()
def _logits(model: nn.Module, batch: Batch) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    return logits


def test_the_fast_path_sees_terms_too(attached: tuple[LoraTfidf, nn.Module]) -> None:
    method, model = attached
    batch = _batch([[5, 6, 7, 8], [9, 10]], [0, 1])
    forward = fast_forward(model, precision="float32")
    assert forward is not None
    for _ in range(2):  # without terms and with them
        for training in (False, True):
            model.train(training)
            with torch.no_grad():
                torch.testing.assert_close(forward(model, batch), _logits(model, batch), rtol=1e-5, atol=1e-5)
        method.learn_documents(model, [batch], None)


def test_the_logits_are_those_of_the_encoder_and_of_the_terms_times_their_factors(
    attached: tuple[LoraTfidf, nn.Module],
) -> None:
    method, model = attached
    documents, classes = _separable()
    batch = _batch(documents, classes)
    alone = _logits(model, batch)
    method.learn_documents(model, [batch], None)
    terms = TermHead(labels=2, vocabulary=term_heads(model)[0].vocabulary)
    terms.learn([batch], terms=64, longest_ngram=3, penalty=method.terms_penalty)
    expected = 0.8 * alone + 3 * _called(terms, batch)
    torch.testing.assert_close(_logits(model, batch), expected, rtol=0, atol=0.1)  # the weights have 8 bits


def _factors(attached: tuple[LoraTfidf, nn.Module], held_out: HeldOut | None) -> tuple[float, float]:
    """The factors on the encoder's logits and on the scores of terms that tell `_separable`'s class."""
    method, model = attached
    documents, classes = _separable()
    weight = model.get_parameter("base_model.model.classifier.modules_to_save.default.weight")
    before = weight.detach().clone()
    method.learn_documents(model, [_batch(documents, classes)], held_out)
    alone = TermHead(labels=2, vocabulary=term_heads(model)[0].vocabulary)
    alone.learn([_batch(documents, classes)], terms=64, longest_ngram=3, penalty=method.terms_penalty)
    on_logits = (weight.detach() * before).sum() / before.square().sum()
    weights = term_heads(model)[0].weight * term_heads(model)[0].scale
    on_scores = (weights * alone.weight).sum() / alone.weight.square().sum()
    return float(on_logits), float(on_scores)


def test_without_held_out_documents_the_factors_are_the_typical_ones(attached: tuple[LoraTfidf, nn.Module]) -> None:
    assert _factors(attached, None) == pytest.approx((0.8, 3.0), rel=1e-3)


@pytest.mark.parametrize("told_by", ["the encoder", "terms"])
def test_what_tells_the_class_of_held_out_documents_counts_more(
    attached: tuple[LoraTfidf, nn.Module], told_by: str
) -> None:
    documents, classes = _separable()
    if told_by == "the encoder":
        classes = np.random.default_rng(1).permutation(classes).tolist()
        logits = 4 * np.eye(2)[classes]
    else:
        logits = 20 * np.eye(2)[np.random.default_rng(1).permutation(classes)]
    batches = [_batch(documents[:25], classes[:25]), _batch(documents[25:], classes[25:])]
    on_logits, on_scores = _factors(attached, HeldOut(iter(batches), lambda: logits.astype(np.float32)))
    if told_by == "the encoder":
        assert on_logits > 0.8
        assert on_scores < 2
    else:
        assert on_logits < 0.5
        assert on_scores > 3.1


def test_what_is_saved_has_few_bits_and_is_what_was_measured(
    attached: tuple[LoraTfidf, nn.Module], tmp_path: Path
) -> None:
    method, model = attached
    method.learn_documents(model, [_batch(*_separable())], None)
    method.save(model, tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    dtypes = {name.rpartition(".terms.")[2]: tensor.dtype for name, tensor in saved.items()}
    assert {name: dtypes.pop(name) for name in ("keys", "weight")} == {"keys": torch.int64, "weight": torch.int8}
    assert set(dtypes.values()) == {torch.float16}
    state = {name.replace(".default", "").replace("modules_to_save.", ""): t for name, t in model.state_dict().items()}
    for name, tensor in saved.items():
        assert torch.equal(tensor.to(state[name].dtype), state[name]), name


def _study(encoder: Path, *, epochs: int = 3, **reading: str) -> StudySpec:
    content = {
        "name": "tiny",
        "data": {"source": "made by the test"},
        "encoder": {"name": str(encoder), "max_tokens": 8, "long_text": "windows"} | reading,
        "training": {"epochs": epochs, "learning_rate": 2e-3, "precision": "float32", "log_steps": 1},
        "arms": [{"method": "lora+tfidf", "rank": 2, "max_terms": 500}],
    }
    return StudySpec.model_validate(content)


def test_a_run_goes_on_with_the_same_terms(tiny_encoder: Path, tmp_path: Path) -> None:
    whole = run_one(_study(tiny_encoder), tmp_path / "whole" / "run")
    assert whole.compute is not None
    assert whole.compute.path == "fast"
    with pytest.raises(Interrupted):
        run_one(_study(tiny_encoder), tmp_path / "cut" / "run", stop_after=4)
    cut = run_one(_study(tiny_encoder), tmp_path / "cut" / "run")
    assert cut.resumptions == 1
    files = [tmp_path / name / "run" / "model" / "adapter_model.safetensors" for name in ("whole", "cut")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_terms_tell_the_class(tiny_encoder: Path, tmp_path: Path) -> None:
    record = run_one(_study(tiny_encoder, epochs=1), tmp_path / "run")
    saved = load_file(tmp_path / "run" / "model" / "adapter_model.safetensors")
    terms = {name.rpartition(".")[2]: tensor for name, tensor in saved.items() if ".terms." in name}
    learned = len(terms["keys"])
    assert 50 < learned <= 500
    assert (terms["keys"].diff() > 0).all()
    assert {name: tuple(tensor.shape) for name, tensor in terms.items()} == {
        "keys": (learned,),
        "idf": (learned,),
        "weight": (learned, 3),
        "scale": (3,),
        "bias": (3,),
    }
    assert record.history[-1].val_accuracy < 0.7  # of the encoder by itself
    assert record.val.accuracy > 0.9  # its words tell a tiny document's class
    assert record.test.accuracy > 0.9


def test_the_encoder_is_trained_as_without_terms(tiny_encoder: Path, tmp_path: Path) -> None:
    study = _study(tiny_encoder)
    plain = study.model_copy(update={"arms": ({"method": "lora", "rank": 2},)})
    histories, factors = [], []
    for name, one in (("with", study), ("without", plain)):
        histories.append([(epoch.train_loss, epoch.val_loss) for epoch in run_one(one, tmp_path / name).history])
        saved = load_file(tmp_path / name / "model" / "adapter_model.safetensors")
        factors.append({key: tensor for key, tensor in saved.items() if "lora_" in key})
    assert histories[0] == histories[1]
    assert factors[0].keys() == factors[1].keys()
    for key, tensor in factors[1].items():
        assert torch.equal(factors[0][key], tensor.half())


def test_a_plan_refuses_a_head_that_sees_no_terms(tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"an arm do not go together: lora\+tfidf: .* can't see terms"):
        plan_study(_study(tiny_encoder, long_text="head"), dataset=DATASET, out=tmp_path)


@pytest.mark.parametrize("options", [{"with_encoder": True}, {"int8": True}], ids=["float", "int8"])
def test_a_bundle_with_its_encoder_classifies(tiny_encoder: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    run_one(_study(tiny_encoder), tmp_path / "run")
    pack(tmp_path / "run", tmp_path / "bundle", **options)
    scores = Classifier.load(tmp_path / "bundle", precision="float32").scores(DATASET.test.texts)
    # In 8 bits the encoder's matrices are rounded to 1/255 of their largest entry.
    tolerance = 0.05 if "int8" in options else 1e-4
    np.testing.assert_allclose(scores, np.load(tmp_path / "run" / "test-logits.npy"), rtol=0, atol=tolerance)
