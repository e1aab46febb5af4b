"""LoRA with a head that sees terms: the terms that it knows and what they tell, where it fits, and a study with it."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC
from torch import nn

from tanzaku.encoders.fast import fast_forward
from tanzaku.encoders.load import SequenceClassifier, load_classifier, resolve_encoder
from tanzaku.encoders.reading import Pooling
from tanzaku.encoders.terms import FOLDS, TermHead
from tanzaku.errors import EncoderError, MethodError, SpecError
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


def _head(terms: int = 1000, labels: int = 2) -> TermHead:
    return TermHead(terms=terms, labels=labels, vocabulary=VOCABULARY)


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
        head = _head()
        head.learn([replace(_batch(documents, classes), weights=weights)], penalty=1.0)
        assert np.isfinite(_called(head.eval(), _batch(documents)).numpy()).all()


def test_the_labels_of_documents_that_do_not_count_change_nothing() -> None:
    documents = [[4 + place % 5, 10 + place % 2, 12 + place % 7] for place in range(40)]
    classes = [place % 2 for place in range(40)]
    weights = torch.ones(40)
    weights[20:] = 0.0
    heads = []
    for rest in (classes[20:], [1 - label for label in classes[20:]]):
        heads.append(head := _head())
        head.learn([replace(_batch(documents, classes[:20] + rest), weights=weights)], penalty=1.0)
    assert torch.equal(heads[0].weight, heads[1].weight)
    assert torch.equal(heads[0].bias, heads[1].bias)


@given(DOCUMENTS, st.data())
@settings(deadline=None, max_examples=40)
def test_the_distances_are_scikit_learns(documents: list[list[int]], data: st.DataObject) -> None:
    """With room for every term: its vectorizer, and its machine of one class against the rest."""
    classes = data.draw(st.permutations([place % 3 for place in range(len(documents))]))
    head = _head(labels=3)
    head.learn([_batch(documents, classes)], penalty=2.0)
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"\S+", lowercase=False)
    vectors = vectorizer.fit_transform(_written(documents))
    distances = LinearSVC(C=2.0, tol=1e-7, max_iter=100_000).fit(vectors, classes).decision_function(vectors)
    found = _called(head.eval(), _batch(documents)).numpy()
    scale = (found * distances).sum() / (distances**2).sum()
    assert scale > 0
    np.testing.assert_allclose(found, scale * distances, rtol=0, atol=2e-3 * scale)


@given(DOCUMENTS, st.integers(1, 20))
@settings(deadline=None, max_examples=40)
def test_the_terms_of_the_most_documents_are_kept(documents: list[list[int]], room: int) -> None:
    head = _head(terms=room)
    head.learn([_batch(documents, [place % 2 for place in range(len(documents))])], penalty=1.0)
    counts = Counter(
        term for one in documents for term in {*one, *((a + 1) * VOCABULARY + b for a, b in pairwise(one))}
    )
    kept = head.keys[: min(room, len(counts))].tolist()
    assert kept == sorted(set(kept))
    assert set(kept) <= set(counts)
    left = [count for term, count in counts.items() if term not in kept]
    assert max(left, default=0) <= min(counts[term] for term in kept)
    idf = [np.log((1 + len(documents)) / (1 + counts[term])) + 1 for term in kept]
    np.testing.assert_allclose(head.idf[: len(kept)], idf, rtol=1e-6)
    assert len(head.keys) == len(head.weight) == len(kept)


def _separable() -> tuple[list[list[int]], list[int]]:
    """60 documents of two classes, each with a token of its class and many of neither."""
    numbers = np.random.default_rng(0)
    classes = [place % 2 for place in range(60)]
    return [[4 + one, *numbers.integers(8, 20, 9).tolist()] for one in classes], classes


def test_in_training_a_document_is_told_by_what_others_taught() -> None:
    documents, classes = _separable()
    head = _head()
    head.learn([_batch(documents, classes)], penalty=5.0)
    batch = _batch(documents)
    seen, unseen = _called(head.eval(), batch), _called(head.train(), batch)
    assert (seen - unseen).abs().max(dim=1).values.min() > 0
    # What the machine has seen it tells more surely.
    assert _loss(seen, classes) < _loss(unseen, classes)
    # A fold's logits are those of a machine that never saw it.
    places = [place for place, one in enumerate(documents) if sum(one) % FOLDS == 0]
    others = [place for place in range(len(documents)) if place not in places]
    alone = _head()
    alone.learn([_batch([documents[place] for place in others], [classes[place] for place in others])], penalty=5.0)
    held_out = unseen[places]
    again = _called(alone.eval(), _batch([documents[place] for place in places]))
    # The frequencies are of all documents in the one and of these in the other, and so are the scales.
    assert np.corrcoef(held_out.flatten(), again.flatten())[0, 1] > 0.9


def test_the_scale_gives_unseen_documents_the_least_cross_entropy() -> None:
    documents, classes = _separable()
    head = _head()
    # The terms of every tenth document tell the wrong class.
    mixed = [1 - one if place % 10 == 0 else one for place, one in enumerate(classes)]
    head.learn([_batch(documents, mixed)], penalty=5.0)
    unseen = _called(head.train(), _batch(documents))
    assert _loss(unseen, mixed) < min(_loss(0.7 * unseen, mixed), _loss(1.4 * unseen, mixed))


def test_where_terms_tell_everything_there_is_still_something_to_learn() -> None:
    classes = [place % 2 for place in range(60)]
    documents = [[4 + one, 4 + one, 8 + place // 2] for place, one in enumerate(classes)]
    head = _head()
    head.learn([_batch(documents, classes)], penalty=5.0)
    unseen = _called(head.train(), _batch(documents)).requires_grad_()
    assert (unseen.argmax(dim=1) == torch.tensor(classes)).all()
    nn.functional.cross_entropy(unseen, torch.tensor(classes)).backward()
    assert unseen.grad is not None
    # By the rule of succession a document is of its class with (60 + 1) / (60 + 2).
    assert 60 * unseen.grad.abs().mean() == pytest.approx(1 / 62, rel=0.5)


def _loss(logits: torch.Tensor, classes: list[int]) -> float:
    return float(nn.functional.cross_entropy(logits, torch.tensor(classes)))


def test_a_class_without_documents_is_never_the_answer() -> None:
    documents, classes = _separable()
    head = _head(labels=3)
    head.learn([_batch(documents, classes)], penalty=5.0)
    for logits in (_called(head.eval(), _batch(documents)), _called(head.train(), _batch(documents))):
        assert 2 not in logits.argmax(dim=1)


def test_documents_of_one_class_or_one_fold_can_be_learned() -> None:
    head = _head()
    head.learn([_batch([[5, 6]] * 3, [1, 1, 1])], penalty=1.0)
    assert _called(head.train(), _batch([[5, 6], [7]])).argmax(dim=1).tolist() == [1, 1]


def test_documents_without_any_token_are_an_error() -> None:
    with pytest.raises(EncoderError, match="no terms to learn"):
        _head().learn([_batch([[], []], [0, 1])], penalty=1.0)


def test_the_rows_of_a_document_count_together() -> None:
    documents, classes = _separable()
    head = _head()
    head.learn([_batch(documents, classes)], penalty=5.0)
    for one in (head.eval(), head.train()):
        together = _called(one, _batch([[4, 6], [7], [9, 9]], belongs=[0, 1, 1]))  # 7 | 9 9: no pair of 7 with 9
        torch.testing.assert_close(together[:1], _called(one, _batch([[4, 6]])))
        torch.testing.assert_close(together[1:], _called(one, _batch([[9, 9], [7]], belongs=[0, 0])))


def test_documents_in_windows_are_learned_as_they_are_read() -> None:
    documents, classes = _separable()
    whole, cut = _head(), _head()
    whole.learn([_batch(documents[:30], classes[:30]), _batch(documents[30:], classes[30:])], penalty=5.0)
    rows = [part for one in documents for part in (one[:4], one[4:])]
    cut.learn([_batch(rows, belongs=[place // 2 for place in range(120)], classes=classes)], penalty=5.0)
    across = {(one[3] + 1) * VOCABULARY + one[4] for one in documents}
    missing = set(whole.keys.tolist()) - set(cut.keys.tolist())
    assert missing <= across  # pairs of the last token of one window and the first of the next
    assert missing


def test_a_document_without_known_terms_gets_the_offsets() -> None:
    documents, classes = _separable()
    head = _head()
    head.learn([_batch(documents, classes)], penalty=5.0)
    logits = _called(head.eval(), _batch([[], [4, 9], [0, 1]]))
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


def test_the_fast_path_sees_terms_too(tiny_encoder: Path) -> None:
    loaded = _load(tiny_encoder, "mean+max")
    method = LoraTfidf(rank=2, max_terms=64)
    model = method.attach(loaded.model, head=loaded.head).eval()
    batch = _batch([[5, 6, 7, 8], [9, 10]], [0, 1])
    method.learn_documents(model, [batch])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
    forward = fast_forward(model, precision="float32")
    assert forward is not None
    with torch.no_grad():
        for training in (False, True):
            model.train(training)
            without = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
            torch.testing.assert_close(forward(model, batch), without, rtol=1e-5, atol=1e-5)


def test_a_model_in_training_is_not_told_by_what_it_saw(tiny_encoder: Path) -> None:
    loaded = _load(tiny_encoder, "mean+max")
    method = LoraTfidf(rank=2, max_terms=500)
    model = method.attach(loaded.model, head=loaded.head)
    documents, classes = _separable()
    batch = _batch(documents, classes)
    alone = model.eval()(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    method.learn_documents(model, [batch])
    head = _head(terms=500)
    head.vocabulary = loaded.model.config.vocab_size
    head.learn([batch], penalty=method.terms_penalty)
    for training in (False, True):
        head.train(training)
        model.train(training)
        logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        torch.testing.assert_close(logits - alone, _called(head, batch), rtol=0, atol=1e-4)
    assert not torch.allclose(_called(head.eval(), batch), _called(head.train(), batch), atol=0.1)


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
    assert 50 < learned < 500  # what the documents have, not the room for more
    assert (terms["keys"].diff() > 0).all()
    assert {name: tuple(tensor.shape) for name, tensor in terms.items()} == {
        "keys": (learned,),
        "idf": (learned,),
        "weight": (learned, 3),
        "bias": (3,),
    }
    assert record.test.accuracy > 0.9  # its words tell a tiny document's class


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
