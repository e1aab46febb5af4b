"""Texts that exports and bundles are to classify alike, and the encoders of the bundles."""

from pathlib import Path

import pytest

from tests.bundles import DATASET
from tests.checkpoints import make_roberta
from tests.tiny import make_encoder

# Some are longer than the 16 tokens that are read at once; some spell out special tokens, or have nothing to read.
TEXTS = (
    *DATASET.val.texts,
    "".join(DATASET.val.texts[:4]),
    "海[SEP]山[UNK]に",
    "[CLS]",
    "",
    "  \u3000",
    "ＡＢＣ と㍍、𠮷野家🍣",
    "鳥" * 60,
)


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one layer, whose pooler is made anew."""
    return make_encoder(tmp_path_factory.mktemp("bert") / "encoder", layers=1, pooler=False)


@pytest.fixture(scope="session")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RoBERTa with a fast tokenizer."""
    return make_roberta(tmp_path_factory.mktemp("roberta") / "encoder")
