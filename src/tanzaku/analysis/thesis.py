"""The thesis's published figures, and which of them are to be compared with an arm.

Figures and settings are those of Tables 3.1 to 3.4 and of the scripts A.2 and A.3 of the 2025 master's thesis that this
project reproduces. Its training seconds are the wall clock around `Trainer.train()`: steps, evaluation and saving.
"""

from __future__ import annotations

from dataclasses import dataclass

from tanzaku.analysis.arms import LONG_TEXT, POOLING, PRETRAINING, Arm, Section
from tanzaku.methods.lora import Lora
from tanzaku.study.summary import DataFacts


@dataclass(frozen=True)
class Published:
    """One row of one of the thesis's tables; None is what the table does not print."""

    table: str
    method: str
    rank: int | None
    learning_rate: float
    epochs: int
    """At most so many."""
    patience: int | None
    accuracy_percent: float
    megabytes: float | None = None
    """Saved size in units of 10^6 bytes."""
    train_seconds: int | None = None


@dataclass(frozen=True)
class Category:
    """One row of Table 3.1."""

    articles: int
    train: int
    val: int
    test: int


ENCODERS = ("cl-tohoku/bert-base-japanese", "tohoku-nlp/bert-base-japanese")
LAYERS, HIDDEN_SIZE, VOCABULARY_SIZE = 12, 768, 32_000
MAX_TOKENS = 512
PADDING = "max_tokens"
BATCH_SIZE = 8
THRESHOLD = 0.005
DROPOUT = 0.1
TARGETS = ("query", "value")
_QUERY_AND_VALUE = "qv"  # which names the same layers
GPU = "NVIDIA GeForce RTX 2070"
CPU = "Intel Core i5-8400, 2.80 GHz"

# Table 3.1. It counts 512 articles for livedoor-homme; the published corpus has 511, of which 256 are for testing.
TABLE_3_1 = {
    "sports-watch": Category(articles=900, train=360, val=90, test=450),
    "it-life-hack": Category(articles=870, train=348, val=87, test=435),
    "movie-enter": Category(articles=870, train=348, val=87, test=435),
    "peachy": Category(articles=842, train=336, val=84, test=422),
    "topic-news": Category(articles=770, train=308, val=77, test=385),
    "smax": Category(articles=870, train=348, val=87, test=435),
    "kaden-channel": Category(articles=864, train=345, val=86, test=433),
    "livedoor-homme": Category(articles=512, train=204, val=51, test=257),
    "dokujo-tsushin": Category(articles=870, train=348, val=87, test=435),
}

# rank: accuracy in %, size in MB, training seconds
_TABLE_3_2 = {
    2: (92.95, 0.34, 816),
    4: (92.84, 0.64, 812),
    8: (93.22, 1.2, 814),
    32: (93.11, 4.8, 820),
    64: (93.35, 9.5, 826),
    128: (93.87, 18.9, 840),
    256: (90.18, 37.8, 911),
}
# rank: accuracy in %
_TABLE_3_3 = {2: 85.34, 4: 85.46, 8: 85.27, 32: 85.46, 64: 85.67, 128: 85.82, 256: 85.64}
# rank: accuracy in %, training seconds
_TABLE_3_4 = {
    2: (93.12, 3963),
    4: (93.34, 3743),
    8: (93.22, 5044),
    32: (93.21, 3746),
    64: (93.86, 3776),
    128: (93.92, 3848),
    256: (93.87, 4558),
}

PUBLISHED: tuple[Published, ...] = (
    *(Published("3.2", "lora", rank, 5e-4, 5, 3, *figures) for rank, figures in _TABLE_3_2.items()),
    Published("3.2", "full", None, 5e-5, 5, 5, 95.23, 442.5, 1016),
    *(Published("3.3", "lora", rank, 5e-5, 5, None, accuracy) for rank, accuracy in _TABLE_3_3.items()),
    *(
        Published("3.4", "lora", rank, 5e-5, 100, 5, accuracy, None, seconds)
        for rank, (accuracy, seconds) in _TABLE_3_4.items()
    ),
    Published("3.4", "full", None, 5e-5, 100, 5, 95.79, None, 2464),
)


def is_thesis_data(data: DataFacts) -> bool:
    """Whether the task is the thesis's: its nine Livedoor categories. Only such runs are compared with it."""
    return set(data.label_names) == set(TABLE_3_1)


def published_rows(section: Section) -> list[Published]:
    """The rows that arms of the section are compared with; none where the data is not the thesis's."""
    if not is_thesis_data(section.data):
        return []
    return [row for arm in section.arms if (row := published_for(arm))]


def published_for(arm: Arm) -> Published | None:
    """The row of Table 3.2, 3.3 or 3.4 whose method, rank, learning rate and epochs are the arm's, if there is one.

    LoRA must also have the thesis's α = r, dropout and targets and be no variant of it, all parameters one learning
    rate that falls as the thesis's does, the classifier must see the [CLS] of a document's head, and the encoder must
    be as it was named. Encoder, tokens and the rest are not looked at: the report says how they differ.
    """
    if arm.settings.get(PRETRAINING) or (arm.method == "lora" and not _is_thesis_lora(arm)):
        return None
    if (arm.settings.get(POOLING, "cls"), arm.settings.get(LONG_TEXT, "head")) != ("cls", "head"):
        return None
    if any(arm.settings.get(key, value) != value for key, value in _THE_THESIS_CHOICES.items()):
        return None
    return next((row for row in PUBLISHED if _matches(row, arm)), None)


# What the thesis leaves as LoRA and `Trainer` have it by default. `_is_thesis_lora` looks at the first four options,
# and `truncate` cuts what was trained.
_LOOKED_AT_OTHERWISE = {"rank", "alpha", "dropout", "targets", "truncate"}
_THE_THESIS_CHOICES = {
    **{f"method.{name}": value for name, value in Lora().model_dump(exclude=_LOOKED_AT_OTHERWISE).items()},
    "training.head_learning_rate": None,
    "training.embeddings_learning_rate": None,
    "training.schedule": "linear",
    "training.warmup": 0.0,
    "training.best_by": "loss",
    "training.distill": None,
}


def published_megabytes(row: Published) -> float:
    """The saved size, which only Table 3.2 prints: it depends on method and rank, not on how long was trained."""
    sizes = [other.megabytes for other in PUBLISHED if (other.method, other.rank) == (row.method, row.rank)]
    return next(size for size in sizes if size is not None)


def has_same_patience(section: Section) -> bool:
    """Whether every arm that has a row in the thesis stops as that row's runs did, where the thesis says how."""
    rows = [(arm, published_for(arm)) for arm in section.arms]
    compared = [(arm, row) for arm, row in rows if row and row.patience is not None]
    return bool(compared) and all(arm.settings.get("training.patience") == row.patience for arm, row in compared)


def _matches(row: Published, arm: Arm) -> bool:
    if arm.learning_rate is None or (row.method, row.rank, row.epochs) != (arm.method, arm.rank, arm.epochs):
        return False
    # TOML's 5e-5 and a computed 0.5 * 1e-4 may differ in the last bit.
    return abs(arm.learning_rate - row.learning_rate) <= 1e-9 * row.learning_rate


def _is_thesis_lora(arm: Arm) -> bool:
    alpha = arm.settings.get("method.alpha")
    targets = arm.settings.get("method.targets", ())
    names = [targets] if isinstance(targets, str) else sorted(targets)
    return (
        (alpha == "rank" or alpha == arm.rank)
        and arm.settings.get("method.dropout") == DROPOUT
        and names in (sorted(TARGETS), [_QUERY_AND_VALUE])
    )
