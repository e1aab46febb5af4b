"""Arms' names on paper and on the page, where a line may end between two settings but not inside one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tanzaku.analysis.arms import RANK, Arm
from tanzaku.study.naming import Name, Namer
from tanzaku.words import ENGLISH, Words

_WORD_JOINER = "\u2060"
_NO_BREAK_SPACE = "\u00a0"
_BEFORE_VALUE = re.compile(" (?=[=0-9])|(?<==) ")
_INNER_HYPHEN = re.compile(r"(?<=\de)-(?=\d)|(?<=TF)-(?=IDF)|(?<=\bn)-(?=gram)")


def paper_name(arm: Arm, *, words: Words) -> str:
    """The full name, such as `LoRA r=8, lr 5e-4`, with "lr" and "5e-4" on one line."""
    name = arm.full_name(words)
    return ", ".join([name.with_rank, *(_BEFORE_VALUE.sub(_NO_BREAK_SPACE, part) for part in name.details)])


def page_name(arm: Arm, *, words: Words) -> str:
    """Likewise for the page, whose narrow columns would break "5e-4" too."""
    return unbroken(arm.full_name(words))


def page_details(arm: Arm, *, words: Words) -> str:
    """What follows the method and its rank in the page's name, such as `DoRA, lr 5e-4`."""
    return ", ".join(map(joined, arm.full_name(words).details))


def unbroken(name: Name) -> str:
    """A name for the page or a chart."""
    return ", ".join(map(joined, [name.with_rank, *name.details]))


def legend_names(arms: Sequence[Arm], *, words: Words = ENGLISH) -> list[str]:
    """Short names without the rank: what distinguishes lines against the rank, of each of which this is one arm."""
    settings = [{key: value for key, value in arm.settings.items() if key != RANK} for arm in arms]
    namer = Namer(settings)
    return [unbroken(namer.short(one, words=words)) for one in settings]


def joined(part: str) -> str:
    """A part of a name, such as `lr 5e-4`, that stays on one line except between words."""
    return _INNER_HYPHEN.sub(f"-{_WORD_JOINER}", _BEFORE_VALUE.sub(_NO_BREAK_SPACE, part))
