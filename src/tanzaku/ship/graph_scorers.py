"""The scorers of exported bundles: a graph, and what makes its inputs of texts. Neither needs PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tanzaku.encoders.reading import tokenized_length
from tanzaku.encoders.tokens import TokenizedDocuments
from tanzaku.errors import BundleError
from tanzaku.runtime.graphs import Run, open_graph
from tanzaku.runtime.rows import batches_by_length, make_rows
from tanzaku.runtime.settings import TOKENIZER_FOLDER, ReadingSettings, TermSettings
from tanzaku.runtime.tokens import Tokenize, open_tokenizer, open_words
from tanzaku.ship.bundle import BUNDLE_FILE, GraphBundleFacts

# Larger batches are slower: what passes between a graph's nodes no longer fits in the processor's cache. The encoder
# tanzaku-mini in 8 bits classified 11 to 14 articles a second in batches of up to 2,048 tokens, and 8 in batches of
# 8,192.
_MOST_TOKENS = 1024
# The graph of tfidf-svm makes a number for each term that there is, in each document of a batch.
_TERM_BATCH = 16


def load_graph_scorer(folder: Path, facts: GraphBundleFacts, *, batch_tokens: int) -> GraphScorer | TermGraphScorer:
    """The scorer of an exported bundle.

    Args:
        folder: The bundle's.
        facts: What it says of itself.
        batch_tokens: The most tokens of a batch, padding counted.

    Raises:
        BundleError: The graph or a file of the tokenizer can't be used, or the bundle does not say how to read texts.
        TanzakuError: The engine is not installed.
    """
    if isinstance(facts.tokenizer, TermSettings):
        return TermGraphScorer(open_graph(folder, facts.engine, precision=facts.precision), open_words(facts.tokenizer))
    if facts.reading is None:
        raise BundleError(f"{folder / BUNDLE_FILE} has no `reading`; export the bundle again")
    return GraphScorer(
        open_graph(folder, facts.engine, precision=facts.precision),
        open_tokenizer(facts.tokenizer, folder / TOKENIZER_FOLDER),
        facts.reading,
        batch_tokens=batch_tokens,
    )


class TermGraphScorer:
    """The graph of `tfidf-svm`, from words to distances to planes."""

    def __init__(self, run: Run, words: Callable[[Sequence[str]], np.ndarray]) -> None:
        self._run, self._words = run, words

    def token_ids(self, texts: Sequence[str]) -> None:
        """None: it reads words."""

    def __call__(self, texts: Sequence[str], *, listener: Callable[[int], None]) -> np.ndarray:
        """Scores (texts, labels) float32."""
        scores = []
        for start in range(0, len(texts), _TERM_BATCH):
            some = texts[start : start + _TERM_BATCH]
            scores.append(self._run({"words": self._words(some)}))
            listener(len(some))
        return np.concatenate(scores)


class GraphScorer:
    """A graph that reads tokens: texts are tokenized, sorted by length, and go through it in batches.

    Args:
        run: The graph.
        tokenize: The encoder's tokenizer.
        reading: How documents become rows.
        batch_tokens: The most tokens of a batch, padding counted; a longer text is the only one of its batch.
    """

    def __init__(self, run: Run, tokenize: Tokenize, reading: ReadingSettings, *, batch_tokens: int) -> None:
        self._run, self._tokenize, self._reading = run, tokenize, reading
        self._batch_tokens = min(batch_tokens, _MOST_TOKENS)

    def token_ids(self, texts: Sequence[str]) -> TokenizedDocuments:
        """The tokens that are read; whole documents where these are cut into rows."""
        length = tokenized_length(self._reading.long_text, max_tokens=self._reading.max_tokens)
        return self._tokenize(texts, length)

    def __call__(self, texts: Sequence[str], *, listener: Callable[[int], None]) -> np.ndarray:
        """Logits, (texts, labels) float32."""
        documents = self.token_ids(texts)
        logits: dict[int, np.ndarray] = {}
        for numbers in batches_by_length(np.diff(documents.offsets).tolist(), budget=self._batch_tokens):
            rows = make_rows([documents[number] for number in numbers], self._reading)
            inputs = {
                "input_ids": rows.input_ids,
                "attention_mask": rows.attention_mask,
                "averages": rows.averages,
            }
            logits.update(zip(numbers, self._run(inputs), strict=True))
            listener(len(numbers))
        return np.stack([logits[number] for number in range(len(texts))])
