"""Class names in figures: a font that has their characters, or numbers and a warning; never empty boxes in silence."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from tanzaku.drawing.style import BASE_FAMILY
from tanzaku.errors import TanzakuWarning
from tanzaku.words import Words

# No character has this code point: a font with a glyph for it has boxes for everything, as matplotlib's Last Resort.
_UNASSIGNED = 0x0378

# Tried first and in this order, for their even look; then whatever is installed.
_JAPANESE_FAMILIES = (
    "Noto Sans CJK JP",
    "Noto Sans JP",
    "IPAexGothic",
    "IPAPGothic",
    "IPAGothic",
    "TakaoPGothic",
    "VL PGothic",
    "Hiragino Sans",
    "Yu Gothic",
    "Meiryo",
    "MS Gothic",
)


def families_of(texts: Iterable[str]) -> list[str] | None:
    """The font families to show texts with, the first of which is matplotlib's own; None where no installed font has
    all the characters."""
    needed = {character for text in texts for character in text if not character.isspace()}
    if _covers(_base_font(), needed):
        return [BASE_FAMILY]
    family = _family_with(needed)
    return [BASE_FAMILY, family] if family else None


def showable(names: Sequence[str], *, words: Words) -> list[str]:
    """The names of classes as figures can show them.

    Where no installed font has all the characters, each name becomes its number in the data table (`class 3`), and a
    `TanzakuWarning` names the remedy.
    """
    if families_of(names):
        return list(names)
    missing = next(name for name in names if not _covers(_base_font(), set(name)))
    warnings.warn(
        f"no installed font has glyphs for all of these names ({missing}): figures number them, in the data "
        "table's order. Install a Japanese font (Debian and Ubuntu: `apt-get install fonts-noto-cjk` or "
        "`fonts-ipafont`; macOS and Windows bring one) and make the report again.",
        TanzakuWarning,
        stacklevel=2,
    )
    return [words.text("class {number}", number=number) for number in range(1, len(names) + 1)]


def _family_with(characters: set[str]) -> str | None:
    """A font's family that has the characters which matplotlib's own lacks."""
    needed = {character for character in characters if not _covers(_base_font(), {character})}
    known = _matching_family(font_manager.fontManager.ttflist, needed)
    return known or _matching_family(_newly_installed(), needed)


def _matching_family(fonts: Sequence[font_manager.FontEntry], needed: set[str]) -> str | None:
    order = {family: place for place, family in enumerate(_JAPANESE_FAMILIES)}
    upright = [font for font in fonts if font.style == "normal"]
    for font in sorted(upright, key=lambda font: (order.get(font.name, len(order)), font.name, font.fname)):
        if _covers(Path(font.fname), needed):
            return font.name
    return None


def _newly_installed() -> list[font_manager.FontEntry]:
    """Fonts that matplotlib's list, which it makes once and keeps on disk, does not know yet; now it does."""
    known = {font.fname for font in font_manager.fontManager.ttflist}
    before = len(font_manager.fontManager.ttflist)
    for path in sorted(set(font_manager.findSystemFonts()) - known):
        try:
            font_manager.fontManager.addfont(path)
        except (OSError, RuntimeError):
            continue
    return font_manager.fontManager.ttflist[before:]


def _base_font() -> Path:
    return Path(font_manager.findfont(BASE_FAMILY))


def _covers(path: Path, characters: set[str]) -> bool:
    """Whether the font has a glyph of its own for each character."""
    try:
        glyphs = FT2Font(str(path)).get_charmap()
    except (OSError, RuntimeError):
        return False
    return _UNASSIGNED not in glyphs and all(
        ord(character) in glyphs for character in characters if not character.isspace()
    )
