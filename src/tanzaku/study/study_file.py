"""Study files that are written: TOML with the keys of `StudySpec`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomli_w


def study_toml(content: Mapping[str, Any]) -> str:
    """A study file's text. TOML has no null: a setting that is None is left out."""
    return tomli_w.dumps(_without_none(dict(content)))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(inner) for name, inner in value.items() if inner is not None}
    return [_without_none(inner) for inner in value] if isinstance(value, list) else value
