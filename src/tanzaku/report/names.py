"""What an arm is called in a paper: the page's short name."""

from __future__ import annotations

from tanzaku.analysis.arms import Arm, Section
from tanzaku.report.naming import page_name
from tanzaku.report.words import Words

_WORD_JOINER = "\u2060"  # in the page's names, whose columns are narrower


def short_name(arm: Arm, *, section: Section, words: Words) -> str:
    """Such as `LoRA r=8, lr 5e-4`: as short as tells it from the section's other arms."""
    return page_name(arm, arms=section.arms, words=words).replace(_WORD_JOINER, "")
