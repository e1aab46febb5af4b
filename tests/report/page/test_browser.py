"""The page in a real browser: it renders, is silent, asks for nothing, and fits a phone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tanzaku.report.words import LANGUAGES
from tests.browser import chromium
from tests.report.page.pages import page, seeds_study
from tests.report.records import study

PHONE, DESK = 360, 1200


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    contents: dict[str, str] = {language: page(seeds_study(), language=language) for language in LANGUAGES}
    contents["wide"] = page(study())
    for name, text in contents.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in contents}


def _open(browser: Browser, path: Path, *, width: int, scheme: str) -> tuple[Page, list[str]]:
    """The page opened, and everything that it said or asked for."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    opened = context.new_page()
    heard: list[str] = []
    opened.on("console", lambda message: heard.append(message.text))
    opened.on("pageerror", lambda error: heard.append(str(error)))
    opened.on("request", lambda request: heard.append(request.url) if request.url != path.as_uri() else None)
    opened.goto(path.as_uri())
    return opened, heard


@pytest.mark.parametrize("name", [*LANGUAGES, "wide"])
def test_it_is_silent_asks_for_nothing_and_never_overflows(browser: Browser, pages: dict[str, Path], name: str) -> None:
    for width in (PHONE, DESK):
        for scheme in ("light", "dark"):
            opened, heard = _open(browser, pages[name], width=width, scheme=scheme)
            assert [one for one in heard if one != "data:,"] == []
            assert opened.evaluate("document.documentElement.scrollWidth") == width
            assert opened.locator("h1").is_visible()
            assert opened.locator(".take").inner_text()
            boxes = [svg.bounding_box() for svg in opened.locator("figure > svg").all()]
            assert len(boxes) >= 7
            for box in boxes:
                assert box is not None
                assert box["width"] > 250
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= width
            opened.context.close()


def test_a_wide_table_scrolls_inside_its_box_on_a_phone(browser: Browser, pages: dict[str, Path]) -> None:
    opened, _ = _open(browser, pages["wide"], width=PHONE, scheme="light")
    box = opened.locator(".scroll").first
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    box.evaluate("box => { box.scrollLeft = 100 }")
    assert box.evaluate("box => box.scrollLeft") == 100
    frame = box.bounding_box()
    assert frame is not None
    # What the table is and which arm a row is of stay in sight.
    for shown in (*opened.locator(".scroll caption span").all()[:1], *box.locator("tbody th").all()):
        seen = shown.bounding_box()
        assert seen is not None
        assert seen["x"] >= frame["x"]
        assert seen["x"] + seen["width"] <= frame["x"] + frame["width"]
    opened.context.close()


def test_the_scheme_of_the_reader_is_followed(browser: Browser, pages: dict[str, Path]) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        opened, _ = _open(browser, pages["en"], width=DESK, scheme=scheme)
        colours = opened.evaluate(
            "[document.body, document.querySelector('.card')].map(one => getComputedStyle(one).backgroundColor)"
        )
        shades[scheme] = [sum(map(int, colour.removeprefix("rgb(").rstrip(")").split(","))) for colour in colours]
        opened.context.close()
    assert min(shades["light"]) > 700
    assert max(shades["dark"]) < 150


def test_japanese_is_drawn_with_a_font_that_has_it(browser: Browser, pages: dict[str, Path]) -> None:
    opened, _ = _open(browser, pages["ja"], width=DESK, scheme="light")
    stack = opened.evaluate("getComputedStyle(document.body).fontFamily")
    for family in ("Hiragino Sans", "Yu Gothic", "Meiryo", "Noto Sans CJK JP"):
        assert family in stack
    assert opened.evaluate("document.documentElement.lang") == "ja"
    opened.context.close()
