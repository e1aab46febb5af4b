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
_DOCUMENTS = {
    "both": message("documents, seeds"),
    "wilson": message("documents"),
    "one": message("documents, one arm's seeds"),
    "none": message("documents"),
}
_GROUPS = {
    "both": message("groups, seeds"),
    "wilson": message("groups"),
    "one": message("groups, one arm's seeds"),
    "none": message("groups"),
}
AXES = {
    "rank": message("rank r"),
    "accuracy": message("test accuracy (%)"),
    "time": message("training time (s)"),
    "size": message("saved size (MB)"),
}


def covered(kind: str, *, groups: bool) -> str:
    """What an interval covers, by its kind or by whose seeds it covers, where documents belong to groups or not."""
    return (_GROUPS if groups else _DOCUMENTS)[kind]


def setting_name(key: str, *, words: Words) -> str:
    """Such as `batch size` for `training.batch_size`. The catalogues have the names of all settings of study files."""
    return words.text(own_name(key))
