"""The page in a real browser: it renders, is silent, asks for nothing, and shows where there is more than fits."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tanzaku.report.page.build import page_html
from tanzaku.report.write import read_page
from tanzaku.words import words_of
from tests.browser import chromium
from tests.report.page.colours import contrast
from tests.report.page.pages import page, seeds_study
from tests.report.records import study

PHONE, TABLET, DESK, WIDE = 390, 768, 1280, 1600
PAPER = 703  # A4 without the margins that the page asks for, in CSS pixels
MINI = Path(__file__).parents[3] / "records" / "livedoor-mini"  # nine classes, five seeds, long names

# What is wider or higher than its box, by what it is. Inside a box that scrolls, only the box counts.
FITS = """() => {
  const wrong = [];
  const describe = one => `${one.tagName}.${one.getAttribute("class")} ${one.textContent.trim().slice(0, 40)}`;
  const hint = box => box.parentElement.querySelector(".hint");
  const height = one => one && getComputedStyle(one).display != "none" ? one.getBoundingClientRect().height : 0;
  for (const one of document.body.querySelectorAll("*")) {
    const scroller = one.closest(".scroll");
    if (one.closest("svg svg, svg *") || (scroller && scroller != one)) continue;
    const shape = one.getBoundingClientRect();
    if (shape.width && (shape.left < -0.5 || shape.right > innerWidth + 0.5)) wrong.push("outside: " + describe(one));
    const style = getComputedStyle(one);
    if (one.matches(".hint, span")) continue;
    const more = one.scrollWidth > one.clientWidth + 1 && style.display != "inline";
    const hinted = scroller && style.overflowX == "auto" && height(hint(one)) > 8;
    if (more && !hinted) wrong.push("no hint: " + describe(one));
    if (scroller && !more && height(hint(one)) > 0) wrong.push("a hint without need: " + describe(one));
    if (scroller && one.scrollHeight > one.clientHeight + 1) wrong.push("cut below: " + describe(one));
  }
  return wrong;
}"""
TEXTS = """() => [...document.querySelectorAll("figure > svg")].map(svg => ({
  title: svg.parentElement.querySelector("strong").textContent,
  texts: [...svg.querySelectorAll("text")].map(one => {
    const shape = one.getBoundingClientRect();
    return [one.textContent, shape.left, shape.top, shape.right, shape.bottom];
  }),
  frame: (shape => [shape.left, shape.right])(svg.parentElement.getBoundingClientRect()),
}))"""
# Words of commands on several lines, and samples of legends that are not next to the middle of their text's first line.
BROKEN = """() => [...document.querySelectorAll("code span")]
  .filter(one => one.getClientRects().length > 1).map(one => one.textContent)"""
OFF_CENTRE = """() => [...document.querySelectorAll(".legend li")].filter(one => {
  const text = document.createRange();
  text.selectNode([...one.childNodes].find(node => node.nodeType == Node.TEXT_NODE));
  const line = text.getClientRects()[0], sample = one.querySelector("svg").getBoundingClientRect();
  return Math.abs(line.top + line.bottom - sample.top - sample.bottom) > 4;
}).map(one => one.textContent)"""
MARKS = """() => [...document.querySelectorAll("figure .mark")].map(one => {
  let opacity = 1;
  for (let at = one; at; at = at.parentElement) opacity *= getComputedStyle(at).opacity;
  const style = getComputedStyle(one);
  return [one.classList.contains("hollow") ? style.stroke : style.fill, opacity];
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    contents = {
        "ja": page(seeds_study(), language="ja"),
        "thesis": page(study()),
        "mini": page_html(read_page(MINI), words=words_of("en")),
    }
    for name, text in contents.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in contents}


def _open(browser: Browser, path: Path, *, width: int, scheme: str = "light") -> tuple[Page, list[str]]:
    """The page opened, and everything that it said or asked for."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    opened = context.new_page()
    heard: list[str] = []
    opened.on("console", lambda message: heard.append(message.text))
    opened.on("pageerror", lambda error: heard.append(str(error)))
    opened.on("request", lambda request: heard.append(request.url) if request.url != path.as_uri() else None)
    opened.goto(path.as_uri())
    return opened, heard


@pytest.mark.parametrize("name", ["ja", "thesis", "mini"])
def test_it_is_silent_asks_for_nothing_and_hints_at_what_does_not_fit(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    for width in (PHONE, TABLET, DESK, WIDE):
        opened, heard = _open(browser, pages[name], width=width)
        assert [one for one in heard if one != "data:,"] == []
        assert opened.evaluate("document.documentElement.scrollWidth") == width
        assert opened.locator("h1").is_visible()
        assert opened.locator(".take").inner_text()
        assert opened.evaluate(FITS) == [], width
        scrolling = opened.evaluate(
            "[...document.querySelectorAll('.scroll')].filter(b => b.scrollWidth > b.clientWidth)"
        )
        assert bool(scrolling) == (width < DESK), width  # a desktop shows every column
        opened.context.close()


@pytest.mark.parametrize("name", ["thesis", "mini"])
def test_nothing_is_cut_in_print_and_charts_keep_their_legends(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    opened, _ = _open(browser, pages[name], width=PAPER)
    opened.emulate_media(media="print")
    # The tables of a class stand side by side, so that more of them share a page.
    for group in opened.locator(".by-class").all():
        tops = {box["y"] for one in group.locator(".wide").all() if (box := one.bounding_box())}
        assert len(tops) == 1
    widest = opened.evaluate(
        "Math.max(...[...document.querySelectorAll('*')].map(one => one.getBoundingClientRect().right))"
    )
    assert widest <= PAPER + 0.5
    clipping = (
        "[...document.querySelectorAll('.scroll')].filter(b => getComputedStyle(b).overflowX != 'visible').length"
    )
    assert opened.evaluate(clipping) == 0
    assert not opened.locator(".hint").first.is_visible()
    whole = "[...document.querySelectorAll('figure, .by-class, tr')].map(one => getComputedStyle(one).breakInside)"
    assert set(opened.evaluate(whole)) == {"avoid"}
    # Neither the last row nor the heading of a table is left by itself on a page.
    together = """[...document.querySelectorAll('tbody tr:last-child')].map(one => getComputedStyle(one).breakBefore)
      .concat([...document.querySelectorAll('caption, thead')].map(one => getComputedStyle(one).breakAfter))"""
    assert set(opened.evaluate(together)) == {"avoid"}
    opened.context.close()


@pytest.mark.parametrize("name", ["thesis", "mini", "ja"])
def test_no_text_of_a_chart_runs_over_another(browser: Browser, pages: dict[str, Path], name: str) -> None:
    for width in (PHONE, DESK):
        opened, _ = _open(browser, pages[name], width=width)
        charts: list[dict[str, Any]] = opened.evaluate(TEXTS)
        assert len(charts) >= 6
        for chart in charts:
            for text, left, top, right, bottom in chart["texts"]:
                assert chart["frame"][0] <= left <= right <= chart["frame"][1], (width, chart["title"], text)
                assert bottom - top >= 11, (width, chart["title"], text)  # letters of some 9 pixels
            for one, other in itertools.combinations(chart["texts"], 2):
                across = min(one[3], other[3]) - max(one[1], other[1])
                down = min(one[4], other[4]) - max(one[2], other[2])
                assert across <= 0 or down <= 1.5, (width, chart["title"], one[0], other[0])
        opened.context.close()


@pytest.mark.parametrize("name", ["thesis", "ja"])
def test_words_of_commands_are_whole_and_samples_stand_next_to_their_texts(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    opened, _ = _open(browser, pages[name], width=PHONE)
    command = opened.locator(".facts code").last
    box = command.bounding_box()
    assert box is not None
    assert box["height"] > 40  # it has two lines or more
    assert command.inner_text().endswith(
        f" --margin 0.5 --choose-by accuracy --language {'ja' if name == 'ja' else 'en'}"
    )
    assert opened.evaluate(BROKEN) == []
    assert opened.evaluate(OFF_CENTRE) == []
    opened.context.close()


def test_headings_are_low_on_a_phone_and_a_single_advice_fills_its_card(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    opened, _ = _open(browser, pages["mini"], width=PHONE)
    for table in opened.locator(".results, .mistakes").all():
        box = table.locator("thead").bounding_box()
        assert box is not None
        assert box["height"] < 5 * 16  # three lines
    opened.context.close()
    single = tmp_path / "single.html"
    single.write_text(page(seeds_study()[1:]), encoding="utf-8")
    opened, _ = _open(browser, single, width=DESK)
    first, second = (one.bounding_box() for one in opened.locator(".advice > *").all())
    assert first is not None
    assert second is not None
    assert first["x"] + first["width"] < second["x"]
    assert abs(first["y"] - second["y"]) < 16
    opened.context.close()


def test_points_stand_out_in_both_schemes(browser: Browser, pages: dict[str, Path]) -> None:
    for scheme in ("light", "dark"):
        opened, _ = _open(browser, pages["thesis"], width=DESK, scheme=scheme)
        card = opened.evaluate("getComputedStyle(document.querySelector('.chart')).backgroundColor")
        marks = opened.evaluate(MARKS)
        assert len(marks) > 50
        for colour, opacity in {(colour, opacity) for colour, opacity in marks}:
            assert opacity == 1
            assert contrast(_channels(colour), _channels(card)) >= 3, (scheme, colour)
        opened.context.close()


def _channels(colour: str) -> list[int]:
    return [int(channel) for channel in json.loads(f"[{colour.removeprefix('rgb(').rstrip(')')}]")]


def test_a_wide_table_scrolls_inside_its_box_on_a_phone(browser: Browser, pages: dict[str, Path]) -> None:
    opened, _ = _open(browser, pages["mini"], width=PHONE)
    box = opened.locator(".scroll").first
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    box.evaluate("box => { box.scrollLeft = 100 }")
    assert box.evaluate("box => box.scrollLeft") == 100
    frame = box.bounding_box()
    assert frame is not None
    # What the table is and which arm a row is of stay in sight.
    for shown in (*opened.locator(".scroll caption span").all(), *box.locator("tbody th").all()):
        seen = shown.bounding_box()
        assert seen is not None
        assert seen["x"] >= frame["x"]
        assert seen["x"] + seen["width"] <= frame["x"] + frame["width"]
    # A keyboard reaches the box, and a screen reader names it.
    for one in opened.locator(".scroll").all():
        assert one.get_attribute("tabindex") == "0"
        assert one.get_attribute("aria-label")
    opened.context.close()


def test_the_scheme_of_the_reader_is_followed(browser: Browser, pages: dict[str, Path]) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        opened, _ = _open(browser, pages["thesis"], width=DESK, scheme=scheme)
        colours = opened.evaluate(
            "[document.body, document.querySelector('.card')].map(one => getComputedStyle(one).backgroundColor)"
        )
        shades[scheme] = [sum(_channels(colour)) for colour in colours]
        opened.context.close()
    assert min(shades["light"]) > 700
    assert max(shades["dark"]) < 150


def test_japanese_is_drawn_with_a_font_that_has_it(browser: Browser, pages: dict[str, Path]) -> None:
    opened, _ = _open(browser, pages["ja"], width=DESK)
    stack = opened.evaluate("getComputedStyle(document.body).fontFamily")
    for family in ("Hiragino Sans", "Yu Gothic", "Meiryo", "Noto Sans CJK JP"):
        assert family in stack
    assert opened.evaluate("document.documentElement.lang") == "ja"
    opened.context.close()
