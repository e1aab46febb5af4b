"""Messages that several parts of the report use, by what the records call them; look them up with `Words.text`."""

from __future__ import annotations

from tanzaku.study.naming import own_name
from tanzaku.words import Words, message

MEASURES = {"accuracy": message("accuracy"), "macro_f1": message("macro-F1")}
OUTCOMES = {
    "better": message("better"),
    "worse": message("worse"),
    "not distinguishable": message("not distinguishable"),
}
INTERVAL_KINDS = {"both": message("documents, seeds"), "wilson": message("documents")}
SEEDS_COVERED = {**INTERVAL_KINDS, "one": message("documents, one arm's seeds"), "none": message("documents")}
AXES = {
    "rank": message("rank r"),
    "accuracy": message("test accuracy (%)"),
    "time": message("training time (s)"),
    "size": message("saved size (MB)"),
}


def setting_name(key: str, *, words: Words) -> str:
    """Such as `batch size` for `training.batch_size`. The catalogues have the names of all settings of study files."""
    return words.text(own_name(key))
