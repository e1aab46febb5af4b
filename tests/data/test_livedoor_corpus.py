"""The real corpus against script A.1, whose logic stands here in pandas as the thesis has it."""

import re
import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

from tanzaku.data.livedoor import PUBLISHED_ARTICLES, prepare_livedoor
from tanzaku.data.prepared import Preparation, counts_of

COUNTS = {
    "sports-watch": (360, 90, 450),
    "it-life-hack": (348, 87, 435),
    "movie-enter": (348, 87, 435),
    "peachy": (336, 84, 422),
    "topic-news": (308, 77, 385),
    "smax": (348, 87, 435),
    "kaden-channel": (345, 86, 433),
    "livedoor-homme": (204, 51, 256),
    "dokujo-tsushin": (348, 87, 435),
}
OWN_NAMES = {
    "sports-watch": "sports ?watch",
    "it-life-hack": "itライフハック|it ?life ?hack",
    "movie-enter": "movie.?enter|ムービーエンター",
    "peachy": "peachy|ピーチィ|才職兼美",
    "topic-news": "トピックニュース",
    "smax": "s-?max|エスマックス",
    "kaden-channel": "家電チャンネル",
    "livedoor-homme": "livedoor|ライブドア|homme",
    "dokujo-tsushin": "独女通信",
}


@pytest.fixture(scope="module")
def thesis(real_corpus: Path) -> Preparation:
    return prepare_livedoor(real_corpus)


@pytest.fixture(scope="module")
def unsigned(real_corpus: Path) -> Preparation:
    return prepare_livedoor(real_corpus, text="unsigned")


def script_a1(corpus: Path) -> dict[str, pd.DataFrame]:
    """Script A.1 with files in name order, categories in alphabetical order and the category's name as the label."""
    frames: dict[str, list[pd.DataFrame]] = {"train": [], "val": [], "test": []}
    for category in sorted(PUBLISHED_ARTICLES):
        articles = []
        for path in sorted((corpus / "text" / category).iterdir()):
            if path.name == "LICENSE.txt":
                continue
            with path.open(encoding="utf-8") as handle:
                lines = handle.readlines()
            dropped = str.maketrans({"\n": "", "\t": "", "\u3000": ""})
            articles.append({"text": "".join(lines[2:]).translate(dropped).strip(), "label": category})
        train, temp = train_test_split(pd.DataFrame(articles), train_size=0.4, random_state=42)
        val, test = train_test_split(temp, test_size=(0.5 / (0.5 + 0.1)), random_state=42)
        for split, frame in (("train", train), ("val", val), ("test", test)):
            frames[split].append(frame)
    return {split: pd.concat(parts, ignore_index=True) for split, parts in frames.items()}


def test_the_counts_are_those_of_table_3_1(thesis: Preparation) -> None:
    dataset = thesis.dataset
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (2945, 736, 3686)
    found = {label: tuple(of_class.values()) for label, of_class in counts_of(dataset).items()}
    assert found == COUNTS


def test_every_row_of_every_split_is_the_scripts(thesis: Preparation, real_corpus: Path) -> None:
    for split, frame in script_a1(real_corpus).items():
        documents = getattr(thesis.dataset, split)
        assert list(documents.texts) == frame["text"].tolist()
        assert list(documents.labels) == frame["label"].tolist()


def test_no_unsigned_text_names_its_own_site(thesis: Preparation, unsigned: Preparation) -> None:
    def named(preparation: Preparation) -> int:
        dataset = preparation.dataset
        return sum(
            bool(re.search(OWN_NAMES[label], unicodedata.normalize("NFKC", text).casefold()))
            for split in (dataset.train, dataset.val, dataset.test)
            for text, label in zip(split.texts, split.labels, strict=True)
        )

    assert named(thesis) > 2000
    assert named(unsigned) == 0


def test_no_unsigned_text_straddles_and_the_sizes_stay_near_the_thesiss(unsigned: Preparation) -> None:
    dataset = unsigned.dataset
    train, val, test = (set(split.texts) for split in (dataset.train, dataset.val, dataset.test))
    assert len(train | val | test) == len(train) + len(val) + len(test)
    assert sum(map(len, (dataset.train, dataset.val, dataset.test))) == 7367
    for label, of_class in counts_of(dataset).items():
        assert all(abs(found - usual) <= 3 for found, usual in zip(of_class.values(), COUNTS[label], strict=True))


def test_every_article_can_stand_where_the_thesis_has_it_without_its_sites_name(
    thesis: Preparation, real_corpus: Path
) -> None:
    dataset = prepare_livedoor(real_corpus, text="unsigned", keep_duplicates_together=False).dataset
    for split in ("train", "val", "test"):
        signed, unsigned = getattr(thesis.dataset, split), getattr(dataset, split)
        assert signed.labels == unsigned.labels
        # What is left of a text stands in it in the same order, character for character.
        pairs = zip(signed.texts, unsigned.texts, strict=True)
        assert all(_stands_in(_letters(left), _letters(whole)) for whole, left in pairs)


def _letters(text: str) -> str:
    return re.sub(r"\s", "", text)


def _stands_in(part: str, whole: str) -> bool:
    rest = iter(whole)
    return all(letter in rest for letter in part)
