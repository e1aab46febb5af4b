"""The sample corpus that comes with Tanzaku is what its documentation says."""

from importlib.resources import files

import fugashi
import ipadic
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer

from tanzaku.data.dataset import Dataset
from tanzaku.data.loading import load_dataset
from tanzaku.data.prepared import counts_of

CATEGORIES = ("beauty", "career", "cinema", "gadget", "kitchen", "living", "sports", "topics", "travel")


@pytest.fixture(scope="module")
def sample() -> Dataset:
    return load_dataset("sample")


def all_texts(dataset: Dataset) -> tuple[list[str], NDArray[np.str_]]:
    splits = (dataset.train, dataset.val, dataset.test)
    return [text for split in splits for text in split.texts], np.array(
        [one for split in splits for one in split.labels]
    )


def test_nine_categories_of_forty_articles_at_least_are_split_60_15_25(sample: Dataset) -> None:
    assert sample.label_names == CATEGORIES
    for of_class in counts_of(sample).values():
        size = sum(of_class.values())
        assert size >= 40
        shares = np.array(list(of_class.values())) / size
        assert np.allclose(shares, [0.60, 0.15, 0.25], atol=0.02)


def test_the_sample_is_the_same_at_each_load(sample: Dataset) -> None:
    assert load_dataset("sample").fingerprint == sample.fingerprint


def test_every_article_has_livedoors_layout_and_a_body_of_100_to_300_characters() -> None:
    odd = {}
    for category in CATEGORIES:
        for path in (files("tanzaku.data") / "sample" / "text" / category).iterdir():
            address, date, title, *body = path.read_text(encoding="utf-8").splitlines()
            length = len("".join(body))
            if not (address.startswith("https://") and date[:2] == "20" and title.strip() and 100 <= length <= 300):
                odd[path.name] = (address, date, title, length)
    assert odd == {}


def test_no_two_articles_share_much_of_their_wording(sample: Dataset) -> None:
    texts, _ = all_texts(sample)
    grams = CountVectorizer(analyzer="char", ngram_range=(5, 5), binary=True, lowercase=False).fit_transform(texts)
    shared = (grams @ grams.T).toarray().astype(float)  # (articles, articles)
    sizes = shared.diagonal()
    overlap = shared / (sizes[:, None] + sizes[None, :] - shared)
    np.fill_diagonal(overlap, 0)
    assert overlap.max() < 0.15


def test_no_single_word_gives_a_category_away(sample: Dataset) -> None:
    texts, labels = all_texts(sample)
    tagger = fugashi.GenericTagger(ipadic.MECAB_ARGS)
    words = [sorted({word.surface for word in tagger(text) if word.surface.isalnum()}) for text in texts]
    vectorizer = CountVectorizer(analyzer=list)
    has_word = vectorizer.fit_transform(words).toarray() > 0  # (articles, words)
    for category in CATEGORIES:
        # How much more often a word stands in the category's articles than in the others'.
        lead = has_word[labels == category].mean(axis=0) - has_word[labels != category].mean(axis=0)
        best = int(lead.argmax())
        assert lead[best] < 0.4, f"{vectorizer.get_feature_names_out()[best]!r} gives {category} away"
