"""Tokenizing Japanese: transformers' `BertJapaneseTokenizer` beside Tanzaku's way through it, on one core."""

import contextlib
import functools
import os
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tanzaku.data.embedded import prepare_sample
from tanzaku.data.prepared import read_prepared
from tanzaku.encoders.tokens import tokenize
from tanzaku.pretraining.vocabulary import count_words, make_tokenizer, train_vocabulary

_SAMPLE_VOCABULARY = 4_000


def real_texts(folder: Path | None, *, count: int | None) -> list[str]:
    """Real texts, each once (a repeated text would flatter a memory of words): of a folder that `tanzaku data`
    prepared, or of the sample corpus."""
    dataset = prepare_sample().dataset if folder is None else read_prepared(folder)
    texts = dict.fromkeys([*dataset.train.texts, *dataset.val.texts, *dataset.test.texts])
    return list(texts)[:count]


@functools.cache
def japanese_tokenizer() -> Any:
    """A `BertJapaneseTokenizer` (MeCab and WordPiece) whose vocabulary was learned from the sample corpus."""
    counts = count_words([real_texts(None, count=None)], workers=1)
    pieces = train_vocabulary(counts, size=_SAMPLE_VOCABULARY, character_coverage=0.9995)
    with TemporaryDirectory() as folder:
        return make_tokenizer(pieces, Path(folder) / "tokenizer")


def reference_rate(texts: Sequence[str], *, max_tokens: int) -> float:
    """Characters a second of the tokenizer called on its own."""
    tokenizer = deepcopy(japanese_tokenizer())  # with MeCab as it comes
    tokenizer(texts[0])  # the dictionary's pages are read at first use
    with one_core():
        began = time.perf_counter()
        tokenizer(list(texts), truncation=True, max_length=max_tokens)
        return sum(map(len, texts)) / (time.perf_counter() - began)


def our_rate(texts: Sequence[str], *, max_tokens: int) -> float:
    """Characters a second of `tokenize`, which gives the same ids; nothing is remembered from before."""
    tokenizer = japanese_tokenizer()
    tokenizer(texts[0])
    with one_core():
        began = time.perf_counter()
        tokenize(tokenizer, texts, max_tokens=max_tokens)
        return sum(map(len, texts)) / (time.perf_counter() - began)


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Keep this thread, and the processes that it starts, on one core where the system can (Linux)."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
