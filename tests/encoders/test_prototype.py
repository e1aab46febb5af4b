"""A pretrained encoder of some size, where one lies beside the project."""

import os
from pathlib import Path

import pytest

import tanzaku.data
from tanzaku.encoders.fit import unknown_share
from tanzaku.encoders.load import load_classifier, load_tokenizer, resolve_encoder
from tanzaku.encoders.tokens import tokenize

SHARED = Path(os.environ.get("TANZAKU_SHARED", Path(__file__).parents[3] / "shared"))
PROTOTYPE = SHARED / "encoder-prototype"

pytestmark = pytest.mark.skipif(not PROTOTYPE.is_dir(), reason="shared/encoder-prototype is not on this machine")


def test_the_prototype_reads_the_sample_as_the_reference_does() -> None:
    source = resolve_encoder(str(PROTOTYPE))
    tokenizer = load_tokenizer(source)
    assert unknown_share(tokenizer) == 0
    articles = sorted((Path(tanzaku.data.__file__).parent / "sample" / "text").glob("*/*.txt"))
    texts = [path.read_text(encoding="utf-8") for path in articles]
    assert len(texts) > 300
    documents = tokenize(tokenizer, texts, max_tokens=512)
    for index, text in enumerate(texts):
        assert documents[index].tolist() == tokenizer(text, truncation=True, max_length=512)["input_ids"]
    assert load_classifier(source, label_names=("a", "b"), seed=1).head == ("bert.pooler", "classifier")
