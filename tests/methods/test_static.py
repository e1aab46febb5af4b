"""Static embeddings of encoders with every kind of tokenizer."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tanzaku.encoders.load import resolve_encoder
from tanzaku.encoders.token_vectors import token_vectors
from tanzaku.encoders.tokenizer import load_tokenizer
from tanzaku.methods.static import StaticEmbeddings
from tests.checkpoints import KINDS

TEXTS = ["海に船がある。", "空に雲がある。", "海の魚を見る。", "空の星を見る。"] * 3
CLASSES = [0, 1, 0, 1] * 3


@pytest.mark.parametrize("kind", ["bert-ipadic", "roberta", "deberta-v2"])
def test_every_tokenizer_gives_vectors_and_a_table_that_reloads(tmp_path: Path, kind: str) -> None:
    make, _ = KINDS[kind]
    torch.manual_seed(0)
    source = resolve_encoder(str(make(tmp_path / "encoder")))
    vectors = token_vectors(source)
    special = load_tokenizer(source).all_special_ids
    assert not vectors[special].any()
    assert np.delete(vectors, special, axis=0).any(axis=1).all()
    np.testing.assert_array_equal(token_vectors(source), vectors)  # from the cache
    method = StaticEmbeddings(vectors_from=str(tmp_path / "encoder"), dimensions=8)
    fitted = method.fit(TEXTS, CLASSES, labels=2, seed=0)
    method.save(fitted, tmp_path / "saved")
    scores = method.scores(method.load(tmp_path / "saved"), TEXTS)
    np.testing.assert_allclose(scores, method.scores(fitted, TEXTS), rtol=1e-6)
    # The vectors are random ones: some are too alike to tell every text.
    assert np.mean(scores.argmax(axis=1) == CLASSES) >= 0.75
