"""What an encoder's model card says of its licence and of the model that it was made from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CARD_FILE = "README.md"
LICENSE_FILES = ("LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE", "NOTICE.md", "NOTICE.txt")
"""The terms under which a model may be passed on."""
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
    try:
        text = (folder / CARD_FILE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return EncoderCard()
    from huggingface_hub import ModelCard

    try:
        data: Any = ModelCard(text, ignore_metadata_errors=True).data
    # Somebody else's YAML: its parser and the client's classes raise whatever they want.
    except Exception:
        return EncoderCard()
    return EncoderCard(license=_one(data.license, _LICENSE), base_model=_one(data.base_model, _HUB_ID))


def _one(value: object, pattern: re.Pattern[str]) -> str | None:
    """The value, or that of a list of one, if it reads as it should."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) and pattern.fullmatch(value) else None
