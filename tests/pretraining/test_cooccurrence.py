"""Word vectors counted from the text: the counts, the formula, and what a new encoder starts with."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy import sparse
from transformers import PreTrainedModel

from tanzaku.pretraining.cooccurrence import chunks_of_blocks, count_neighbours, start_from_counts, word_vectors
from tanzaku.pretraining.model import new_encoder

WINDOW = 5  # as the module's documentation says
SPECIAL = (0, 1, 2, 3, 4)
CLS, SEP = 2, 3
ROOT_MEAN_SQUARE = 0.02


def _by_hand(blocks: list[np.ndarray], vocabulary_size: int) -> np.ndarray:
    """Every piece looks at those within the window to both sides."""
    counts = np.zeros((vocabulary_size, vocabulary_size))
    for row in (row for block in blocks for row in block):
        for place, piece in enumerate(row):
            for other in range(max(0, place - WINDOW), min(len(row), place + WINDOW + 1)):
                if other != place:
                    counts[piece, row[other]] += 1
    return counts


@pytest.mark.parametrize("row_tokens", [2, 4, 17])
def test_pairs_and_pieces_are_those_that_a_slow_count_finds(row_tokens: int) -> None:
    random = np.random.default_rng(1)
    blocks = [random.integers(0, 9, (rows, row_tokens)).astype(np.uint16) for rows in (7, 1, 3)]
    done: list[int] = []
    pairs, pieces = count_neighbours(iter(blocks), vocabulary_size=12, progress=done.append)
    np.testing.assert_array_equal(pairs.toarray(), _by_hand(blocks, 12))
    np.testing.assert_array_equal(pieces, np.bincount(np.concatenate([b.ravel() for b in blocks]), minlength=12))
    assert done == [block.size for block in blocks]


def test_no_pair_is_counted_across_a_rows_end() -> None:
    pairs, _ = count_neighbours(iter([np.array([[5, 6], [7, 8]])]), vocabulary_size=9)
    counts = pairs.toarray()
    assert counts[5, 6] == counts[6, 5] == counts[7, 8] == counts[8, 7] == 1
    assert counts.sum() == 4


def test_large_ids_of_a_narrow_type_do_not_overflow() -> None:
    last = 2**16 - 1
    pairs, _ = count_neighbours(iter([np.array([[last, 7, last]], dtype=np.uint16)]), vocabulary_size=2**16)
    assert pairs[last, 7] == pairs[7, last] == pairs[last, last] == 2
    assert pairs.sum() == 6


def _symmetric(counts: dict[tuple[int, int], float], size: int) -> sparse.csr_array:
    table = np.zeros((size, size))
    for (one, other), count in counts.items():
        table[one, other] = table[other, one] = count
    return sparse.csr_array(table)


def test_an_entry_follows_the_formula_by_hand() -> None:
    # Two pairs that meet nobody else: the matrix has one entry a row, and U·√S of it has that entry as its square.
    vectors, known = word_vectors(_symmetric({(0, 1): 8, (2, 3): 2}, 5), size=4, seed=0)
    # log(P(w, c) / (P(w) P(c))), and contexts' frequencies to the power of 0.75: log(n · Σ fᵢ^¾ / (f_w · f_c^¾)).
    smoothed = 2 * 8**0.75 + 2 * 2**0.75
    often, seldom = (math.log(count * smoothed / (count * count**0.75)) for count in (8, 2))
    np.testing.assert_allclose(np.square(vectors).sum(axis=1), [often, often, seldom, seldom, 0], rtol=1e-5, atol=1e-6)
    assert known.tolist() == [True, True, True, True, False]


def test_all_singular_values_together_give_the_matrix_back() -> None:
    random = np.random.default_rng(2)
    counts = random.poisson(3.0, (9, 9))
    counts = counts + counts.T
    kept = np.where(counts >= 2, counts, 0).astype(float)  # rarer pairs say little
    kept[0] = kept[:, 0] = 0  # no text
    totals = kept.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(kept * (totals**0.75).sum() / (totals[:, None] * totals[None, :] ** 0.75))
    matrix = np.where(kept > 0, np.maximum(information, 0), 0)
    assert (matrix > 0).sum() > 20
    vectors, known = word_vectors(sparse.csr_array(counts.astype(float)), size=8, without=(0,), seed=0)
    # (U √S)(U √S)ᵀ = U S Uᵀ, whose square is U S² Uᵀ, the matrix times its transpose.
    gram = vectors.astype(np.float64) @ vectors.T
    np.testing.assert_allclose(gram @ gram, matrix @ matrix.T, rtol=1e-4, atol=1e-4)
    assert known.tolist() == [False, *[True] * 8]


def _text(*, rows: int = 120, row_tokens: int = 24, seed: int = 3) -> np.ndarray:
    """Rows of either of two subjects: words 5 to 8 stand among 9 to 14, and 15 to 18 among 19 to 24; 25 never."""
    random = np.random.default_rng(seed)
    starts = random.integers(0, 2, rows) * 10  # (rows,)
    table = 5 + starts[:, None] + random.integers(0, 10, (rows, row_tokens))  # (rows, row_tokens)
    table[:, 0], table[:, -1] = CLS, SEP
    return table.astype(np.uint16)


def test_words_of_the_same_contexts_have_vectors_that_are_near() -> None:
    pairs, _ = count_neighbours(iter([_text()]), vocabulary_size=26)
    vectors, known = word_vectors(pairs, size=4, without=SPECIAL, seed=0)
    assert known.tolist() == [False] * 5 + [True] * 20 + [False]
    directions = vectors[5:25] / np.linalg.norm(vectors[5:25], axis=1, keepdims=True)
    nearness = directions @ directions.T  # cosines, (words, words)
    subjects = np.arange(20) // 10
    same = subjects[:, None] == subjects[None, :]
    assert nearness[same].min() > nearness[~same].max() + 0.3


def _encoder(*, hidden: int = 16, tie: bool = True) -> PreTrainedModel:
    return new_encoder(
        layers=1,
        hidden=hidden,
        heads=2,
        intermediate=16,
        vocabulary_size=26,
        positions=32,
        initial_std=0.1,
        tie=tie,
        dropout=0.0,
        pad_id=0,
        seed=0,
    )


def _start(model: PreTrainedModel, *, seed: int = 0) -> torch.Tensor:
    """The embeddings (vocabulary, hidden) afterwards."""
    start_from_counts(model, iter([_text()]), special_ids=SPECIAL, root_mean_square=ROOT_MEAN_SQUARE, seed=seed)
    embeddings: torch.Tensor = model.get_input_embeddings().weight.detach().clone()
    return embeddings


@pytest.mark.parametrize("tie", [True, False])
def test_an_encoder_starts_with_the_vectors_of_what_the_text_has(tie: bool) -> None:
    model = _encoder(tie=tie)
    before = model.get_input_embeddings().weight.detach().clone()
    others = {name: value.clone() for name, value in model.state_dict().items() if "word_embeddings" not in name}
    table = _start(model)
    unseen = [*SPECIAL, 25]
    assert torch.equal(table[unseen], before[unseen])
    pairs, _ = count_neighbours(iter([_text()]), vocabulary_size=26)
    vectors, _ = word_vectors(pairs, size=16, without=SPECIAL, seed=0)
    expected = torch.from_numpy(vectors[5:25])
    # The same directions, and every vector of the root mean square that was asked for.
    torch.testing.assert_close(
        torch.nn.functional.cosine_similarity(table[5:25], expected), torch.ones(20), rtol=0, atol=1e-5
    )
    root_mean_squares = table[5:25].square().mean(dim=1).sqrt()
    torch.testing.assert_close(root_mean_squares, torch.full((20,), ROOT_MEAN_SQUARE))
    changed = {name for name, value in others.items() if not torch.equal(value, model.state_dict()[name])}
    # Tied, the embeddings and the bias go by two names each.
    aliases = {"cls.predictions.decoder.weight", "cls.predictions.bias"} if tie else set()
    assert changed == aliases | {"cls.predictions.decoder.bias"}


def test_the_outputs_bias_is_the_log_of_the_pieces_frequencies() -> None:
    model = _encoder()
    _start(model)
    counts = np.bincount(_text().ravel(), minlength=26) + 1.0  # one more each: what never stood is not impossible
    counts[list(SPECIAL)] = 1.0  # never to be predicted, however often they stand
    expected = torch.tensor(np.log(counts / counts.sum()), dtype=torch.float32)
    torch.testing.assert_close(model.get_output_embeddings().bias.detach(), expected)
    # At the start, when the hidden states say nothing, the prediction is these frequencies.
    assert float(expected.exp().sum()) == pytest.approx(1.0)


def test_columns_beyond_the_vocabulary_keep_their_random_numbers() -> None:
    model = _encoder(hidden=32)  # wider than the 25 columns that 26 pieces can have
    before = model.get_input_embeddings().weight.detach().clone()
    table = _start(model)
    assert torch.equal(table[:, 25:], before[:, 25:])
    assert not torch.equal(table[5:25, :25], before[5:25, :25])


def test_the_same_seed_gives_the_same_embeddings() -> None:
    one, same, other = _start(_encoder()), _start(_encoder()), _start(_encoder(), seed=1)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_blocks_come_in_their_order_and_without_the_texts_rest() -> None:
    ids = np.arange(4 * 1000 + 3)
    wanted = np.random.default_rng(4).permutation(1000)[:700]

    def rows(chunks: Iterator[np.ndarray]) -> list[int]:
        return [int(row[0]) for chunk in chunks for row in chunk if row.tolist() == [*range(row[0], row[0] + 4)]]

    chunks = list(chunks_of_blocks(ids, wanted, block_tokens=4))
    assert len(chunks) > 1
    assert rows(iter(chunks)) == (4 * wanted).tolist()
