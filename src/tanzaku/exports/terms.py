"""TF-IDF as nodes of an ONNX graph: those of words, and those of tokens next to an encoder.

Both count n-grams with ONNX's TfIdfVectorizer; then an n-gram that a document has n times has the entry (1 + ln n)·idf,
the vector gets the length 1, and a linear layer gives the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tanzaku import __version__

if TYPE_CHECKING:
    import onnx
    from sklearn.pipeline import Pipeline

    from tanzaku.encoders.terms import TermHead

_OPSET = 20
_IR_VERSION = 10
# In the place of what is no term; no token has this number.
_NO_TOKEN = -1


@dataclass(frozen=True)
class Terms:
    """A linear layer on the TF-IDF of n-grams.

    Attributes:
        ngrams: Each term as a row of tokens or words.
        idf: (terms,) float32.
        weights: (terms, labels) float32.
        offsets: (labels,) float32.
    """

    ngrams: Sequence[tuple[int, ...]] | Sequence[tuple[str, ...]]
    idf: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray


def terms_of(head: TermHead) -> Terms:
    """The terms of `lora+tfidf`: tokens, and sequences of them."""
    return Terms(head.ngrams(), head.idf.numpy(), (head.weight * head.scale).numpy(), head.bias.numpy())


def terms_of_pipeline(fitted: Pipeline, *, characters: bool) -> Terms:
    """The terms of `tfidf-svm`: n-grams of words or of characters."""
    vectorizer, svm = fitted[0], fitted[-1]
    terms = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    weights, offsets = svm.coef_.T, svm.intercept_  # (terms, labels), (labels,)
    if weights.shape[1] == 1:  # two classes have one distance, which is that to the second
        weights, offsets = np.concatenate([-weights, weights], axis=1), np.concatenate([-offsets, offsets])
    ngrams = [tuple(term) if characters else tuple(term.split(" ")) for term in terms]
    return Terms(ngrams, vectorizer.idf_.astype(np.float32), weights.astype(np.float32), offsets.astype(np.float32))


def term_graph(terms: Terms) -> onnx.ModelProto:
    """A graph from `words` (documents, words) of strings to `logits` (documents, labels)."""
    from onnx import TensorProto, helper

    nodes, constants = _scores("words", terms, output="logits", averages=None)
    words = helper.make_tensor_value_info("words", TensorProto.STRING, ["documents", "words"])
    return graph_of(nodes, [words], labels=len(terms.offsets), constants=constants)


def graph_of(nodes: Sequence[Any], inputs: Sequence[Any], *, labels: int, constants: Sequence[Any]) -> onnx.ModelProto:
    """A graph of ours, whose output is `logits` (documents, labels)."""
    from onnx import TensorProto, helper

    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["documents", labels])
    return helper.make_model(
        helper.make_graph(nodes, "tanzaku", inputs, [output], constants),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="tanzaku",
        producer_version=__version__,
    )


def add_terms(graph: onnx.ModelProto, terms: Terms, *, encoder_logits: str, windows: bool) -> None:
    """Add to an encoder's graph the scores of the tokens in its input, as `TermHead` computes them.

    Args:
        graph: It is changed in place: its output `encoder_logits` becomes `logits`.
        terms: Of tokens.
        encoder_logits: The output.
        windows: Whether the graph has the input `averages`, and so several rows of a document.
    """
    from onnx import TensorProto, helper

    nodes, constants = _tokens_alone()
    more_nodes, more_constants = _scores(
        "term_tokens", terms, output="term_logits", averages="averages" if windows else None
    )
    nodes += [*more_nodes, helper.make_node("Add", [encoder_logits, "term_logits"], ["logits"])]
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend([*constants, *more_constants])
    shape = ["documents" if windows else "rows", len(terms.offsets)]
    del graph.graph.output[:]
    graph.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape))


def _tokens_alone() -> tuple[list[Any], list[Any]]:
    """`term_tokens` (rows, tokens - 2): the ids without [CLS], and `_NO_TOKEN` for [SEP] and padding.

    A token is one as long as another, [SEP] at least, comes after it.
    """
    from onnx import helper

    constants = {
        "term_columns": np.array([1], np.int64),
        "term_second": np.array([1], np.int64),
        "term_third": np.array([2], np.int64),
        "term_last": np.array([-1], np.int64),
        "term_end": np.array([2**62], np.int64),
        "term_none": np.array([_NO_TOKEN], np.int64),
        "term_zero": np.array([0], np.int64),
    }
    nodes = [
        helper.make_node("Slice", ["input_ids", "term_second", "term_last", "term_columns"], ["term_ids"]),
        helper.make_node("Slice", ["attention_mask", "term_third", "term_end", "term_columns"], ["term_mask"]),
        helper.make_node("Greater", ["term_mask", "term_zero"], ["term_present"]),
        helper.make_node("Where", ["term_present", "term_ids", "term_none"], ["term_tokens"]),
    ]
    return nodes, constants_of(constants)


def _scores(tokens: str, terms: Terms, *, output: str, averages: str | None) -> tuple[list[Any], list[Any]]:
    """The nodes from `tokens` (rows, tokens) to `output` (documents, labels), and their constants."""
    from onnx import helper

    nodes = [_count_node(tokens, terms)]
    counts = "row_counts"
    if averages is not None:
        counts = "document_counts"
        nodes += [
            helper.make_node("Sign", [averages], ["term_belongs"]),
            helper.make_node("MatMul", ["term_belongs", "row_counts"], [counts]),
        ]
    nodes += [
        helper.make_node("Sign", [counts], ["term_known"]),
        helper.make_node("Max", [counts, "term_one"], ["term_at_least_one"]),
        helper.make_node("Log", ["term_at_least_one"], ["term_logarithms"]),
        helper.make_node("Add", ["term_known", "term_logarithms"], ["term_frequencies"]),
        helper.make_node("Mul", ["term_frequencies", "term_idf"], ["term_entries"]),
        helper.make_node("ReduceL2", ["term_entries", "term_axis"], ["term_lengths"], keepdims=1),
        helper.make_node("Max", ["term_lengths", "term_tiny"], ["term_divisors"]),
        helper.make_node("Div", ["term_entries", "term_divisors"], ["term_vectors"]),
        helper.make_node("MatMul", ["term_vectors", "term_weights"], ["term_products"]),
        helper.make_node("Add", ["term_products", "term_offsets"], [output]),
    ]
    constants: dict[str, np.ndarray] = {
        "term_one": np.ones(1, np.float32),
        "term_idf": terms.idf.astype(np.float32),
        "term_axis": np.array([1], np.int64),
        "term_tiny": np.array([np.finfo(np.float32).tiny], np.float32),
        "term_weights": terms.weights.astype(np.float32),
        "term_offsets": terms.offsets.astype(np.float32),
    }
    return nodes, constants_of(constants)


def _count_node(tokens: str, terms: Terms) -> Any:
    """`row_counts` (rows, terms) float32: how often each term stands in a row."""
    from onnx import helper

    longest = max(map(len, terms.ngrams))
    # The pool has the n-grams end to end, the short ones first, and `ngram_counts` says where each length begins.
    order = sorted(range(len(terms.ngrams)), key=lambda column: (len(terms.ngrams[column]), column))
    lengths = [len(terms.ngrams[column]) for column in order]
    pool = [token for column in order for token in terms.ngrams[column]]
    starts = [sum(length for length in lengths if length < shortest) for shortest in range(1, longest + 1)]
    pools: dict[str, Any] = {"pool_strings" if isinstance(pool[0], str) else "pool_int64s": pool}
    return helper.make_node(
        "TfIdfVectorizer",
        [tokens],
        ["row_counts"],
        mode="TF",
        min_gram_length=1,
        max_gram_length=longest,
        max_skip_count=0,
        ngram_counts=starts,
        ngram_indexes=order,
        **pools,
    )


def constants_of(arrays: dict[str, np.ndarray]) -> list[Any]:
    """Arrays by name as a graph's constants."""
    from onnx import numpy_helper

    return [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in arrays.items()]
