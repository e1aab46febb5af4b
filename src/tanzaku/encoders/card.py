"""What an encoder's model card says of its licence and of the model that it was made from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

CARD_FILE = "README.md"
LICENSE_FILES = tuple(
    "".join(f"[{letter}{letter.upper()}]" for letter in word) + "*"
    for word in ("licence", "license", "copying", "notice")
)
"""Patterns for the names of files with the terms under which a model may be passed on, in upper or lower case."""
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class EncoderCard:
    """The two facts that a model made from the encoder passes on; None where the card does not have them."""

    license: str | None = None
    """The Hub's name of a licence, such as "cc-by-sa-4.0"."""
    base_model: str | None = None
    """A Hub id."""


def is_hub_id(name: str) -> bool:
    """Whether a name reads `owner/name`, as models on the Hub are named; local folders have absolute paths."""
    return _HUB_ID.fullmatch(name) is not None


def read_card(folder: Path) -> EncoderCard:
    """Read the card in an encoder's folder: none, or one that can't be read, says nothing."""
    data = _metadata(folder)
    return EncoderCard(license=_one(data.get("license"), _LICENSE), base_model=_one(data.get("base_model"), _HUB_ID))


def read_terms(folder: Path) -> dict[str, str | list[str]]:
    """What the card in an encoder's folder says of its licence, as it stands there, for a card that passes it on.

    These are `license`, the Hub's name of a licence or a list of such names, and for a licence that the Hub has no name
    for ("other"), `license_name` and `license_link`.
    """
    data = _metadata(folder)
    terms: dict[str, str | list[str]] = {}
    if (license := _one(data.get("license"), _LICENSE)) is not None:
        terms["license"] = license
    elif isinstance(found := data.get("license"), list) and found and all(_one(one, _LICENSE) for one in found):
        terms["license"] = found
    for key in ("license_name", "license_link"):
        if isinstance(value := data.get(key), str):
            terms[key] = value
    return terms


def license_files(folder: Path) -> list[str]:
    """The names of the files in an encoder's folder that match `LICENSE_FILES`, in order."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.is_file() and any(fnmatchcase(path.name, pattern) for pattern in LICENSE_FILES)
    )


def _metadata(folder: Path) -> dict[str, Any]:
    """The metadata of the card in a folder; empty where there is none, or where it can't be read."""
    try:
        text = (folder / CARD_FILE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return {}
    from huggingface_hub import ModelCard

    try:
        return vars(ModelCard(text, ignore_metadata_errors=True).data)
    # Somebody else's YAML: its parser and the client's classes raise whatever they want.
    except Exception:
        return {}


def _one(value: object, pattern: re.Pattern[str]) -> str | None:
    """The value, or that of a list of one, if it reads as it should."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) and pattern.fullmatch(value) else None
