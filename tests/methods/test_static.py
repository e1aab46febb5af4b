"""Static embeddings of encoders with every kind of tokenizer."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tanzaku.data.download import cache_folder
from tanzaku.encoders.load import resolve_encoder
from tanzaku.encoders.token_vectors import token_vectors
from tanzaku.encoders.tokenizer import load_tokenizer
from tanzaku.errors import MethodError
from tanzaku.methods.static import StaticEmbeddings
from tanzaku.study.spec import RUN_SPEC, TextRunSpec
from tests.checkpoints import KINDS, sentences

TEXTS = sentences()[:12]  # the tokenizers are made from them, so that none is only unknown tokens
CLASSES = [0, 1] * 6


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
    (cached,) = (cache_folder() / "token-vectors").glob(f"{source.fingerprint}*")
    content = bytearray(cached.read_bytes())
    content[-1000:] = bytes(1000)
    cached.write_bytes(content)  # damaged, it is not used
    np.testing.assert_array_equal(token_vectors(source), vectors)
    method = StaticEmbeddings(vectors_from=str(tmp_path / "encoder"), dimensions=16, penalty=1e4)
    fitted = method.fit(TEXTS, CLASSES, labels=2, seed=0)
    method.save(fitted, tmp_path / "saved")
    scores = method.scores(method.load(tmp_path / "saved"), TEXTS)
    np.testing.assert_allclose(scores, method.scores(fitted, TEXTS), rtol=1e-6)
    np.testing.assert_array_equal(scores.argmax(axis=1), CLASSES)  # more dimensions than texts: all can be learned


def test_a_run_is_another_one_with_another_encoder_under_the_same_name_and_the_same_where_it_was_moved(
    tmp_path: Path,
) -> None:
    make, _ = KINDS["roberta"]

    def identity(folder: Path) -> str:
        method = {"name": "static", "vectors_from": str(folder)}
        content = {"kind": "text", "data": {"source": "sample"}, "seed": 1, "method": method}
        spec = RUN_SPEC.validate_python(content)
        assert isinstance(spec, TextRunSpec)
        return spec.identity(data_fingerprint="d")

    torch.manual_seed(0)
    make(tmp_path / "encoder")
    first = identity(tmp_path / "encoder")
    (tmp_path / "encoder").rename(tmp_path / "moved")
    assert identity(tmp_path / "moved") == first
    torch.manual_seed(1)
    make(tmp_path / "encoder")
    assert identity(tmp_path / "encoder") != first
    with pytest.raises(MethodError, match="vectors_from: "):
        identity(tmp_path / "nowhere")
