"""Which settings the arms of a section share, and in which they differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tanzaku.analysis.arms import LEARNING_RATE, RANK, Arm

# Without a value of their own, these are the learning rate.
PART_RATES = ("training.head_learning_rate", "training.embeddings_learning_rate")


def shared_settings(arms: Sequence[Arm]) -> dict[str, Any]:
    """Settings with one value in all the arms that have them; a method's own are keyed with its name."""
    return {name: values[0] for name, values in _settings(arms).items() if len(values) == 1}


def differing_settings(arms: Sequence[Arm]) -> list[str]:
    """Settings, besides rank and learning rate, that have several values: each has a column of its own."""
    differing = (_setting_key(name) for name, values in _settings(arms).items() if len(values) > 1)
    return [key for key in dict.fromkeys(differing) if key not in (RANK, LEARNING_RATE)]


def values_of(arms: Iterable[Arm], key: str) -> list[Any]:
    """The values that one setting has in some arms, each once."""
    found = [arm.settings[key] for arm in arms if key in arm.settings]
    return [value for index, value in enumerate(found) if value not in found[:index]]


def _settings(arms: Iterable[Arm]) -> dict[str, list[Any]]:
    values: dict[str, list[Any]] = {}
    for arm in arms:
        for key, value in arm.settings.items():
            if key == "method.name":
                continue
            name = key.replace("method.", f"{arm.method}.", 1) if key.startswith("method.") else key
            known = values.setdefault(name, [])
            if value not in known:
                known.append(value)
    return values


def _setting_key(name: str) -> str:
    part, _, option = name.partition(".")
    return name if part in ("encoder", "training") else f"method.{option}"
