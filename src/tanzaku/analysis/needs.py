"""What an arm needs to classify in addition to what it saves."""

from __future__ import annotations

from typing import Literal

from tanzaku.analysis.arms import Arm
from tanzaku.methods import EncoderMethod

Need = Literal["encoder", "dictionary"]


def adapts_encoder(arm: Arm) -> bool:
    """Whether it adapts an encoder, as opposed to learning only from the texts."""
    return any(key.startswith("encoder.") for key in arm.settings)


def also_needs(arm: Arm) -> Need | None:
    """The encoder, unless all of its weights are saved; or MeCab's dictionary, where terms are words."""
    if adapts_encoder(arm):
        method = arm.method_class
        saves_all = method is not None and issubclass(method, EncoderMethod) and method.saves_whole_model
        return None if saves_all else "encoder"
    return "dictionary" if arm.settings.get("method.analyzer") == "mecab" else None
