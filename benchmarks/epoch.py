"""Documents of random tokens with the lengths of Livedoor's articles: those of a folder, or those counted before."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.documents import UNKNOWN
from benchmarks.lengths import TRAIN, spread_evenly
from benchmarks.scale import LABELS
from tanzaku.data.prepared import read_prepared
from tanzaku.encoders.source import EMBEDDED_NAME, resolve_encoder
from tanzaku.encoders.tokenizer import load_tokenizer
from tanzaku.encoders.tokens import TokenizedDocuments, tokenize
from tanzaku.training.batches import LabelledTokens

_PAD = 0


@dataclass(frozen=True)
class EpochLengths:
    """The tokens of each training and each validation document, in order."""

    train: list[int]
    val: list[int]

    @classmethod
    def of(cls, texts: Path | None, *, max_tokens: int) -> "EpochLengths":
        """Of the texts of a folder that `tanzaku data` prepared; without one, as `benchmarks.lengths` counted them."""
        if texts is None:
            counted = spread_evenly(TRAIN, sum(TRAIN), max_tokens=max_tokens)
            shuffled = np.random.default_rng(0).permutation(counted).tolist()
            return cls(train=shuffled, val=shuffled[::4])
        dataset, tokenizer = read_prepared(texts), load_tokenizer(resolve_encoder(EMBEDDED_NAME))
        train, val = (
            np.diff(tokenize(tokenizer, split.texts, max_tokens=max_tokens).offsets).tolist()
            for split in (dataset.train, dataset.val)
        )
        return cls(train=train, val=val)

    def write(self, file: Path) -> None:
        """For another process."""
        file.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> "EpochLengths":
        """What `write` wrote."""
        return cls(**json.loads(file.read_text(encoding="utf-8")))


def random_documents(lengths: list[int], *, vocabulary: int, max_tokens: int, seed: int = 0) -> LabelledTokens:
    """Documents of so many random tokens."""
    random = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = random.integers(UNKNOWN + 1, vocabulary, size=int(offsets[-1])).astype(np.int32)
    classes = random.integers(0, LABELS, size=len(lengths))
    return LabelledTokens(TokenizedDocuments(ids, offsets), classes, pad_id=_PAD, max_tokens=max_tokens)
