"""Japanese class names: a font that has them, or numbers and a warning."""

from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]
from fontTools.pens.ttGlyphPen import TTGlyphPen  # type: ignore[import-untyped]
from matplotlib import font_manager

from tanzaku.analysis.arms import sections_of
from tanzaku.errors import TanzakuWarning
from tanzaku.report.chart_data import ChartData
from tanzaku.report.figures import FIGURE_NAMES, figure_words, figures_of, render
from tanzaku.report.fonts import families_of, showable
from tanzaku.words import words_of
from tests.report.page.pages import seeds_study
from tests.report.records import at_ranks, data_facts, evidence, finished, lora

NAMES = ["映画", "家電 A"]


def tiny_font(path: Path, characters: str) -> Path:
    """A font of empty squares, for these characters alone."""
    names = [".notdef", *(f"uni{ord(character):04X}" for character in characters)]
    pen = TTGlyphPen(None)
    for move, point in ((pen.moveTo, (0, 0)), (pen.lineTo, (500, 0)), (pen.lineTo, (500, 500)), (pen.lineTo, (0, 500))):
        move(point)
    pen.closePath()
    glyph = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(character): name for character, name in zip(characters, names[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(names, glyph))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (600, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Tiny Japanese", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def only_matplotlibs_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [font for font in font_manager.fontManager.ttflist if "mpl-data" in font.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    monkeypatch.setattr(font_manager, "findSystemFonts", list)


def test_latin_names_need_no_other_font() -> None:
    assert showable(["sports-watch", "Müller & Söhne"], words=words_of("en")) == ["sports-watch", "Müller & Söhne"]
    assert families_of(["sports-watch", "Müller & Söhne"]) == ["DejaVu Sans"]


@pytest.mark.usefixtures("only_matplotlibs_fonts")
def test_without_a_font_names_become_numbers_and_the_remedy_is_named() -> None:
    with pytest.warns(TanzakuWarning, match="fonts-noto-cjk"):
        names = showable(["sports", *NAMES], words=words_of("en"))
    assert names == ["class 1", "class 2", "class 3"]
    assert families_of(NAMES) is None
    assert figure_words(words_of("ja")) is words_of("en")


@pytest.mark.usefixtures("only_matplotlibs_fonts")
def test_a_font_installed_a_moment_ago_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    font = tiny_font(tmp_path / "tiny.ttf", "映画家電")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(font)])
    assert showable(NAMES, words=words_of("en")) == NAMES
    assert families_of(NAMES) == ["DejaVu Sans", "Tiny Japanese"]
    records = [finished(lora(8), accuracy=0.9, data=data_facts(NAMES))]
    (section,), (found,) = sections_of(records), evidence(records)
    data = ChartData(section, found, words_of("en"))
    files = render(figures_of(data)["confusion"], data)  # a missing glyph would warn, and warnings are errors here
    assert files["png"].startswith(b"\x89PNG")


@pytest.mark.skipif(families_of(NAMES) is None, reason="no Japanese font is installed")
def test_every_figure_is_drawn_in_japanese() -> None:
    records = [*seeds_study(), at_ranks(finished(lora(16), accuracy=0.9), {2: 0.8, 16: 0.9})]
    (section,), (found,) = sections_of(records), evidence(records)
    data = ChartData(section, found, figure_words(words_of("ja")))
    figures = figures_of(data)
    assert tuple(figures) == FIGURE_NAMES
    for figure in figures.values():
        assert render(figure, data)["pdf"].startswith(b"%PDF")


@pytest.mark.usefixtures("only_matplotlibs_fonts")
def test_a_font_that_lacks_a_character_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    font = tiny_font(tmp_path / "tiny.ttf", "映画家")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(font)])
    with pytest.warns(TanzakuWarning, match="映画"):
        assert showable(NAMES, words=words_of("en")) == ["class 1", "class 2"]
