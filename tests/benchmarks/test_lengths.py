import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.trainer_pt_utils import get_length_grouped_indices

from benchmarks.documents import step_documents, texts_to_classify
from benchmarks.lengths import BIN_TOKENS, LONGEST, TEST, TRAIN, lengths_at, spread_evenly
from benchmarks.models import word_tokenizer
from benchmarks.scale import BATCH_SIZE


def test_the_histograms_count_every_article_of_the_splits() -> None:
    assert (sum(TRAIN), sum(TEST)) == (2945, 3686)
    assert len(TRAIN) == len(TEST) == LONGEST // BIN_TOKENS + 1


# Counted on the articles themselves.
@pytest.mark.parametrize(
    ("histogram", "quantiles", "mean"), [(TRAIN, (234, 341, 393, 511), 483.44), (TEST, (252, 336, 394, 508), 483.85)]
)
def test_the_quantiles_and_the_mean_are_the_corpus_s(
    histogram: tuple[int, ...], quantiles: tuple[int, ...], mean: float
) -> None:
    found = lengths_at(histogram, np.array([0.01, 0.05, 0.10, 0.25]))
    assert np.abs(found - quantiles).max() <= BIN_TOKENS / 2
    assert lengths_at(histogram, np.array([0.3, 0.5, 1.0])).tolist() == [LONGEST] * 3
    assert spread_evenly(histogram, 2000).mean() == pytest.approx(mean, abs=1.0)


@given(st.lists(st.integers(0, 50), min_size=33, max_size=33).filter(any), st.integers(8, 600))
def test_lengths_rise_with_the_quantile_and_stay_within_the_cut(histogram: list[int], max_tokens: int) -> None:
    lengths = spread_evenly(histogram, 40, max_tokens=max_tokens)
    assert (np.diff(lengths) >= 0).all()
    assert lengths.min() >= 3
    assert lengths.max() <= min(max_tokens, LONGEST)


@pytest.mark.parametrize("steps", [4, 6])
def test_a_few_batches_stand_for_an_epoch(steps: int) -> None:
    documents = step_documents(steps, max_tokens=LONGEST, vocabulary=1000)
    lengths = np.array([len(ids) for ids in documents.ids])
    assert lengths[:BATCH_SIZE].tolist() == [LONGEST] * BATCH_SIZE
    # Both orders hold the same documents, and the warm-up is the same.
    assert sorted(documents.dealt) == sorted(documents.grouped) == list(range(len(lengths)))
    assert documents.dealt[:BATCH_SIZE].tolist() == documents.grouped[:BATCH_SIZE].tolist()
    assert np.mean(documents.lengths()) == pytest.approx(spread_evenly(TRAIN, 2945).mean(), rel=0.02)

    # Padded tokens of `Trainer`'s own grouping of a whole epoch.
    epoch = spread_evenly(TRAIN, 2945)
    order = get_length_grouped_indices(epoch.tolist(), BATCH_SIZE)
    padded = np.mean([epoch[order[start : start + BATCH_SIZE]].max() for start in range(0, len(order), BATCH_SIZE)])
    ours = lengths[documents.grouped][BATCH_SIZE:].reshape(steps, BATCH_SIZE).max(axis=1).mean()
    assert ours == pytest.approx(padded, rel=0.02)


def test_a_made_up_text_is_as_long_as_it_should_be() -> None:
    texts = texts_to_classify(30, max_tokens=64, vocabulary=500)
    tokenizer = word_tokenizer(500, max_tokens=64)
    ids = tokenizer(texts)["input_ids"]
    assert sorted(map(len, ids)) == spread_evenly(TEST, 30, max_tokens=64).tolist()
    assert all(one[0] == tokenizer.cls_token_id and one[-1] == tokenizer.sep_token_id for one in ids)
    assert tokenizer.unk_token_id not in {number for one in ids for number in one}
