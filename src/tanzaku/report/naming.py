"""What an arm is called on the page: as short as tells it from the others."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tanzaku.analysis.arms import EPOCHS, Arm
from tanzaku.report import formats
from tanzaku.report.series import Series
from tanzaku.report.words import Words

_WORD_JOINER = "\u2060"
_BEFORE_VALUE = re.compile(" (?=[=0-9])|(?<==) ")


def page_name(arm: Arm, *, arms: Sequence[Arm], words: Words) -> str:
    """Such as `LoRA r=8, lr 5e-4`; epochs where arms differ in them, and how documents were read where it matters."""
    return ", ".join([method_and_rank(arm, words=words), *details(arm, arms=arms, words=words)])


def method_and_rank(arm: Arm, *, words: Words) -> str:
    """Such as `LoRA r=8`."""
    method = _method(arm, words)
    return method if arm.rank is None else f"{method} r={arm.rank}"


def short_name(arm: Arm, *, words: Words) -> str:
    """Such as `LoRA r=8`, or `LoRA r=8, DoRA` where that distinguishes it from others."""
    return ", ".join([method_and_rank(arm, words=words), *map(_unbroken, formats.method_options(arm))])


def details(arm: Arm, *, arms: Sequence[Arm], words: Words) -> list[str]:
    """What else tells it from others, such as `DoRA`, `lr 5e-4`."""
    return [_unbroken(part) for part in (*formats.method_options(arm), *_trained_with(arm, arms, words))]


def series_names(series: Sequence[Series], *, arms: Sequence[Arm], words: Words) -> list[str]:
    """Such as `LoRA, lr 5e-4`; the longer names of `series_of` where these do not tell the lines apart."""
    names = [series_name(one.arms[0], arms=arms, words=words) for one in series]
    return names if len(set(names)) == len(names) else [one.label for one in series]


def series_name(arm: Arm, *, arms: Sequence[Arm], words: Words) -> str:
    """The arm's name without its rank."""
    return ", ".join([_method(arm, words), *details(arm, arms=arms, words=words)])


def _method(arm: Arm, words: Words) -> str:
    return arm.title.text(words.language)


def _unbroken(part: str) -> str:
    """The part with its value on the same line as the word before it, such as "lr" and "5e-4"."""
    return _BEFORE_VALUE.sub("\u00a0", part)


def _trained_with(arm: Arm, arms: Sequence[Arm], words: Words) -> list[str]:
    parts = []
    if arm.learning_rate is not None:
        # Joined, or a narrow column would break it into "5e-" and "4".
        rate = formats.compact(arm.learning_rate).replace("-", f"-{_WORD_JOINER}")
        parts.append(words.text("lr {value}", value=rate))
    if len({one.epochs for one in arms if one.epochs is not None}) > 1 and arm.epochs is not None:
        parts.append(words.plural("{n} epoch", "{n} epochs", arm.settings[EPOCHS]))
    return parts + formats.readings(arm)
