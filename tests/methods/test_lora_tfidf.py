"""LoRA with a head that sees terms: the TF-IDF that it computes, where it fits, and a study with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import nn

from tanzaku.encoders.fast import fast_forward
from tanzaku.encoders.load import SequenceClassifier, load_classifier, resolve_encoder
from tanzaku.encoders.reading import Pooling
from tanzaku.encoders.terms import TermHead
from tanzaku.errors import MethodError, SpecError
from tanzaku.methods.lora_tfidf import LoraTfidf
from tanzaku.ship.classifier import Classifier
from tanzaku.ship.packing import pack
from tanzaku.study.plan import plan_study
from tanzaku.study.spec import StudySpec
from tanzaku.training.batches import Batch
from tanzaku.training.evaluation import Interrupted
from tests.methods.runs import DATASET, run_one

CLS, SEP, PAD = 2, 3, 0
BUCKETS = 1_000_000


def _padded(documents: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    rows = [[CLS, *document, SEP] for document in documents]
    width = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


def _terms(document: list[int]) -> str:
    return " ".join(f"t{token}" for token in document)


@given(st.lists(st.lists(st.integers(4, 30), min_size=1, max_size=12), min_size=2, max_size=6))
@settings(deadline=None, max_examples=40)
def test_the_vectors_have_scikit_learns_products(documents: list[list[int]]) -> None:
    """Where no two terms share a bucket, the cosine of two documents is that of scikit-learn's vectors."""
    ids, mask = _padded(documents)
    head = TermHead(buckets=BUCKETS, labels=len(documents))
    head.set_frequencies([row[present.bool()].numpy() for row, present in zip(ids, mask, strict=True)])
    # The gradient of a logit by the weights is the document's vector.
    for label in range(len(documents)):
        head(ids, mask)[label, label].backward()
    assert head.weight.grad is not None
    vectors = head.weight.grad.T  # (documents, buckets)
    theirs = TfidfVectorizer(
        sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"\S+", lowercase=False
    ).fit_transform([_terms(document) for document in documents])
    assume((vectors != 0).any(dim=0).sum() == theirs.shape[1])
    products = (theirs @ theirs.T).toarray()
    np.testing.assert_allclose((vectors @ vectors.T).numpy(), products, rtol=1e-4, atol=1e-5)


def test_the_rows_of_a_document_count_together() -> None:
    head = TermHead(buckets=97, labels=3)
    nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(0))
    head.set_frequencies([np.array([CLS, 5, 6, 7, SEP]), np.array([CLS, 5, SEP])])
    ids, mask = _padded([[5, 6], [7], [9, 9]])
    apart, _ = _padded([[5, 6]])
    together = head(ids, mask, torch.tensor([0, 1, 1]))  # 7 | 9 9: no pair of 7 with 9
    torch.testing.assert_close(together[:1], head(apart, torch.ones_like(apart)))
    other = head(*_padded([[9, 9], [7]]), torch.tensor([0, 0]))
    torch.testing.assert_close(together[1:], other)


def test_dropout_takes_whole_documents_and_only_while_training() -> None:
    head = TermHead(buckets=11, labels=2, dropout=0.25)
    nn.init.ones_(head.weight)
    ids, mask = _padded([[5, 6]] * 4000)
    torch.manual_seed(0)
    whole, dropped = head.eval()(ids, mask), head.train()(ids, mask)
    kept = (dropped != 0).all(dim=1)
    assert torch.equal(dropped[kept], whole[kept])
    assert (dropped[~kept] == 0).all()
    assert kept.float().mean() == pytest.approx(0.75, abs=4 * (0.75 * 0.25 / 4000) ** 0.5)


def test_a_document_without_terms_adds_nothing() -> None:
    head = TermHead(buckets=11, labels=2)
    nn.init.ones_(head.weight)
    logits = head(*_padded([[], [5, 6], []]))
    assert logits[0].tolist() == logits[2].tolist() == [0.0, 0.0]
    assert logits[1].abs().min() > 0


def _load(folder: Path, pooling: Pooling) -> SequenceClassifier:
    return load_classifier(resolve_encoder(str(folder)), label_names=["空", "海"], seed=0, pooling=pooling)


def test_plain_heads_are_refused_before_anything_is_trained(tiny_encoder: Path) -> None:
    loaded = _load(tiny_encoder, "cls")
    for work in (LoraTfidf().check, lambda model: LoraTfidf().attach(model, head=loaded.head)):
        with pytest.raises(MethodError, match=r"^lora\+tfidf: .*choose pooling = \"mean\""):
            work(loaded.model)


def test_the_fast_path_sees_terms_too(tiny_encoder: Path) -> None:
    loaded = _load(tiny_encoder, "mean+max")
    method = LoraTfidf(rank=2, buckets=64)
    model = method.attach(loaded.model, head=loaded.head).eval()
    ids, mask = _padded([[5, 6, 7, 8], [9, 10]])
    method.learn_documents(model, ids.numpy())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
    forward = fast_forward(model, precision="float32")
    assert forward is not None
    with torch.no_grad():
        without = model(input_ids=ids, attention_mask=mask).logits
        logits = forward(model, Batch(ids, mask, torch.tensor([0, 1])))
    torch.testing.assert_close(logits, without, rtol=1e-5, atol=1e-5)


def test_its_layer_learns_at_its_own_rate() -> None:
    method = LoraTfidf(lora_plus_ratio=4, terms_rate_ratio=20)
    assert method.rate_factors() == {"lora_b": 4, "embeddings_fast": 4, "terms": 20}
    name = "base_model.model.terms.modules_to_save.default.weight"
    assert method.parameter_group(name, head=("classifier",)) == "terms"


def _study(encoder: Path, *, epochs: int = 3, **reading: str) -> StudySpec:
    content = {
        "name": "tiny",
        "data": {"source": "made by the test"},
        "encoder": {"name": str(encoder), "max_tokens": 8, "long_text": "windows"} | reading,
        "training": {"epochs": epochs, "learning_rate": 2e-3, "precision": "float32", "log_steps": 1},
        "arms": [{"method": "lora+tfidf", "rank": 2, "buckets": 500, "terms_dropout": 0.3}],
    }
    return StudySpec.model_validate(content)


def test_a_run_goes_on_with_the_same_frequencies(tiny_encoder: Path, tmp_path: Path) -> None:
    whole = run_one(_study(tiny_encoder), tmp_path / "whole" / "run")
    assert whole.compute is not None
    assert whole.compute.path == "fast"
    with pytest.raises(Interrupted):
        run_one(_study(tiny_encoder), tmp_path / "cut" / "run", stop_after=4)
    cut = run_one(_study(tiny_encoder), tmp_path / "cut" / "run")
    assert cut.resumptions == 1
    files = [tmp_path / name / "run" / "model" / "adapter_model.safetensors" for name in ("whole", "cut")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_terms_learn(tiny_encoder: Path, tmp_path: Path) -> None:
    record = run_one(_study(tiny_encoder, epochs=15), tmp_path / "run")
    saved = load_file(tmp_path / "run" / "model" / "adapter_model.safetensors")
    (weight,) = (tensor for name, tensor in saved.items() if name.endswith("terms.weight"))
    (idf,) = (tensor for name, tensor in saved.items() if name.endswith("terms.idf"))
    assert weight.shape == (500, 3)
    assert weight.abs().max() > 0.01
    # A term of no training document has the largest, ln(25) + 1; one of every document would have 1.
    assert 1 <= idf.min() < idf.max() == pytest.approx(np.log(25) + 1)
    assert record.test is not None
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
