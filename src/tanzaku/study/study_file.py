"""Study files that are written: TOML with the keys of `StudySpec`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import tomli_w


def study_toml(content: Mapping[str, Any]) -> str:
    """A study file's text. TOML has no null: a setting that is None is left out, also among an arm's values for it,
    which then is an arm of its own."""
    arms = [each for arm in content.get("arms", ()) for each in _arms_without_none(dict(arm))]
    return tomli_w.dumps(_without_none({**content, **({"arms": arms} if arms else {})}))


def has_none(value: Any) -> bool:
    """Whether there is a None anywhere in it, for which TOML has no word."""
    if isinstance(value, Mapping):
        return any(map(has_none, value.values()))
    return any(map(has_none, value)) if isinstance(value, list | tuple) else value is None


def _arms_without_none(arm: dict[str, Any]) -> list[dict[str, Any]]:
    axes = [
        [{name: value}] if not isinstance(value, list) or None not in value else _parts(name, value)
        for name, value in arm.items()
    ]
    return [{name: value for part in parts for name, value in part.items()} for parts in itertools.product(*axes)]


def _parts(name: str, values: list[Any]) -> list[dict[str, Any]]:
    others = [value for value in values if value is not None]
    return [{}, *([{name: others}] if others else [])]


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(inner) for name, inner in value.items() if inner is not None}
    return [_without_none(inner) for inner in value] if isinstance(value, list) else value
