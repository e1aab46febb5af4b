"""Word vectors counted from the text, as a new encoder's first embeddings.

A masked language model that starts from random embeddings first learns how frequent each piece is, stays there for
thousands of steps, and only then learns which pieces go together. The latter can be counted.
"""

from collections.abc import Callable, Collection, Iterator
from typing import cast

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.extmath import randomized_svd
from torch import nn
from transformers import PreTrainedModel

_WINDOW = 5  # pieces to each side
_SMALLEST_COUNT = 2  # pairs that are rarer say little and are most of the matrix
# Levy, Goldberg and Dagan 2015, section 7: contexts smoothed by 0.75, singular values weighted by their square root.
_CONTEXT_SMOOTHING, _SINGULAR_POWER = 0.75, 0.5
_ROWS_A_CHUNK = 256  # of 8,192 pieces each, so that the sorting of pairs stays within some hundred megabytes


def count_neighbours(
    blocks: Iterator[np.ndarray], *, vocabulary_size: int, progress: Callable[[int], None] = lambda _: None
) -> tuple[sparse.csr_array, np.ndarray]:
    """How often each pair of pieces stands within five pieces of each other, and how often each piece stands.

    Args:
        blocks: Stretches of running text as ids, (rows, tokens); no pair is counted across a row's end.
        vocabulary_size: Pieces.
        progress: Called with the number of tokens of each chunk that is done.

    Returns:
        The symmetric counts (vocabulary, vocabulary), float64, and the pieces' (vocabulary,), int64.
    """
    pairs = sparse.csr_array((vocabulary_size, vocabulary_size), dtype=np.float64)
    pieces = np.zeros(vocabulary_size, dtype=np.int64)
    for block in blocks:
        ids = block.astype(np.int64)
        pieces += np.bincount(ids.ravel(), minlength=vocabulary_size)
        keys = np.concatenate(
            [
                (ids[:, :-distance] * vocabulary_size + ids[:, distance:]).ravel()
                for distance in range(1, min(_WINDOW, ids.shape[1] - 1) + 1)
            ]
        )
        found, counts = np.unique(keys, return_counts=True)
        places = np.divmod(found, vocabulary_size)
        pairs = pairs + sparse.csr_array((counts.astype(np.float64), places), shape=pairs.shape)
        progress(ids.size)
    return cast(sparse.csr_array, (pairs + pairs.T).tocsr()), pieces


def word_vectors(
    pairs: sparse.csr_array, *, size: int, without: Collection[int] = (), seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The positive pointwise mutual information of the pairs, reduced by a truncated singular value decomposition.

    Bullinaria and Levy 2007 for the matrix; Levy and Goldberg 2014, "Neural Word Embedding as Implicit Matrix
    Factorization", section 5, for its factors U·√S, which come close to word2vec's vectors.

    Args:
        pairs: As `count_neighbours` gives them.
        size: Columns wanted.
        without: Pieces that are no text, such as [SEP].
        seed: Of the random projection of the decomposition (Halko, Martinsson and Tropp 2011).

    Returns:
        Vectors (vocabulary, at most size) float32, and which rows (vocabulary,) bool were counted at all.
    """
    entries = pairs.tocoo()
    ordinary = np.ones(pairs.shape[0], dtype=bool)
    ordinary[list(without)] = False
    keep = ordinary[entries.row] & ordinary[entries.col] & (entries.data >= _SMALLEST_COUNT)
    rows, columns, counts = entries.row[keep], entries.col[keep], entries.data[keep]
    totals = np.bincount(rows, weights=counts, minlength=len(ordinary))
    smoothed = totals**_CONTEXT_SMOOTHING
    information = np.log(counts * smoothed.sum() / (totals[rows] * smoothed[columns]))
    positive = information > 0
    matrix = sparse.csr_array((information[positive], (rows[positive], columns[positive])), shape=pairs.shape)
    known = np.diff(matrix.indptr) > 0
    size = min(size, len(ordinary) - 1)
    left, values, _ = randomized_svd(matrix, size, n_iter=3, random_state=seed)
    return (left * values**_SINGULAR_POWER).astype(np.float32), known


@torch.no_grad()
def start_from_counts(
    model: PreTrainedModel,
    blocks: Iterator[np.ndarray],
    *,
    special_ids: Collection[int],
    root_mean_square: float,
    seed: int,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Set a new encoder's embeddings to vectors of the text's words, and its output's bias to their log frequency.

    Pieces that the text lacks, and columns beyond what the vocabulary has, keep their random numbers.

    Args:
        model: Changed in place.
        blocks: The training text; see `count_neighbours`.
        special_ids: Pieces that are no text.
        root_mean_square: Of each vector's elements.
        seed: Of the decomposition.
        progress: See `count_neighbours`.
    """
    table = cast(nn.Embedding, model.get_input_embeddings()).weight  # (vocabulary, hidden)
    pairs, pieces = count_neighbours(blocks, vocabulary_size=len(table), progress=progress)
    vectors, known = word_vectors(pairs, size=table.shape[1], without=special_ids, seed=seed)
    lengths = np.sqrt(np.square(vectors).mean(axis=1, keepdims=True))
    known &= lengths[:, 0] > 0
    vectors[known] *= root_mean_square / lengths[known]
    rows = torch.from_numpy(np.flatnonzero(known))
    table[rows, : vectors.shape[1]] = torch.from_numpy(vectors[known])
    output = model.get_output_embeddings()
    if output is not None and output.bias is not None:
        counts = pieces.astype(np.float64) + 1.0
        counts[list(special_ids)] = 1.0
        output.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))


def chunks_of_blocks(ids: np.ndarray, blocks: np.ndarray, *, block_tokens: int) -> Iterator[np.ndarray]:
    """The text's blocks, (rows, block_tokens) each, some hundred at a time."""
    table = ids[: len(ids) // block_tokens * block_tokens].reshape(-1, block_tokens)  # (blocks, block_tokens)
    for start in range(0, len(blocks), _ROWS_A_CHUNK):
        yield table[blocks[start : start + _ROWS_A_CHUNK]]
