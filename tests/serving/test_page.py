"""The page in a real browser, used as a person would."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from openpyxl import Workbook
from playwright.sync_api import Browser, Page, expect

from tanzaku.serving.page import read_page
from tanzaku.serving.service import Service
from tanzaku.serving.tasks import Tasks
from tanzaku.serving.tokens import Tokens
from tests.browser import chromium
from tests.serving.running import Running, running

TEXT = "空が見る。<b>雲</b>は海に行く、山を見る。"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, server: Running) -> Iterator[Page]:
    """The page in English, which fails the test if it reports an error or asks for anything elsewhere."""
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on(
        "request",
        lambda request: None if request.url.startswith((server.url, "blob:")) else troubles.append(request.url),
    )
    page.goto(server.url)
    expect(page.locator("#task option")).to_have_count(9)
    yield page
    context.close()
    assert [trouble for trouble in troubles if "status of 413" not in trouble] == []


def test_the_policy_allows_nothing_from_elsewhere() -> None:
    page, policy = read_page()
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert re.findall(rb'(?:src|href)="(?!#|data:,")', page) == []
    assert b"innerHTML" not in page


@pytest.mark.parametrize("task", ["svm", "mean"])
def test_a_text_is_classified_and_explained(page: Page, task: str) -> None:
    """Only with the keyboard; the text's markup stays text."""
    page.locator("#task").select_option(task)
    page.locator("#text").focus()
    page.keyboard.insert_text(TEXT)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#result .answer")).to_contain_text("%")
    expect(page.locator("#result tbody tr")).to_have_count(3)
    expect(page.locator("#result .text")).to_have_text(TEXT)
    assert page.locator("#result .text b").count() == 0
    assert page.locator("#result mark").count() >= 1
    page.get_by_role("button", name="Classify").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#result .answer")).to_contain_text("%")
    expect(page.get_by_role("button", name="Classify")).to_be_focused()


def test_a_table_comes_back_with_labels(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "inquiries.csv"
    file.write_bytes('番号,本文\n1,空が見る\n2,"海,魚"\n'.encode("cp932"))
    page.locator("#task").select_option("svm")
    page.locator("#file").set_input_files(file)
    page.get_by_role("button", name="Label", exact=True).click()
    expect(page.locator("#labelled")).to_contain_text("inquiries.csv: 2 rows are labelled; the texts are in “本文”")
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "inquiries-labels.csv"
    lines = Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert lines[0] == "番号,本文,label,probability"
    assert [line.rsplit(",", 2)[0] for line in lines[1:]] == ["1,空が見る", '2,"海,魚"']


def test_lines_that_may_have_become_one_row_are_named(page: Page, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('番号,本文\n1,"一\n2,二\n3,三"\n', encoding="utf-8")
    page.locator("#task").select_option("svm")
    page.locator("#file").set_input_files(tmp_path / "a.csv")
    page.get_by_role("button", name="Label", exact=True).click()
    expect(page.locator("#labelled .problem")).to_contain_text("lines 2 to 4: a double quote opens in the first line")


def test_a_file_that_is_dropped_is_the_one_that_the_field_shows(page: Page, tmp_path: Path) -> None:
    (tmp_path / "chosen.csv").write_text("text\n空\n", encoding="utf-8")
    page.locator("#task").select_option("svm")
    page.locator("#file").set_input_files(tmp_path / "chosen.csv")
    page.evaluate(
        """() => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File(["text\\n海\\n山\\n"], "dropped.csv"));
          document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
        }"""
    )
    expect(page.locator("#labelled")).to_contain_text("dropped.csv: 2 rows are labelled")
    assert page.evaluate("document.getElementById('file').files[0].name") == "dropped.csv"


def test_sheets_that_are_left_out_are_named(page: Page, tmp_path: Path) -> None:
    book = Workbook()
    book.active.append(["text"])
    book.active.append(["海"])
    book.create_sheet("他, その他").append(["x"])
    book.save(file := tmp_path / "a.xlsx")
    page.locator("#task").select_option("svm")
    page.locator("#file").set_input_files(file)
    page.get_by_role("button", name="Label", exact=True).click()
    expect(page.locator("#labelled")).to_contain_text("a.xlsx: 1 row is labelled; the texts are in “text”")
    expect(page.locator("#labelled")).to_contain_text(
        "Only the sheet “Sheet” was labelled. These are not in the file: 他, その他."
    )


def test_the_language_can_be_changed_and_errors_are_shown(page: Page) -> None:
    page.get_by_role("button", name="日本語").click()
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    expect(page.get_by_role("heading", name="テキストを分類する")).to_be_visible()
    page.locator("#text").fill("海" * 20_001)
    page.get_by_role("button", name="分類する").click()
    # Where one looks, and as what it is: English.
    expect(page.locator("#result").get_by_role("alert")).to_contain_text("20001 characters")
    expect(page.get_by_role("alert")).to_have_attribute("lang", "en")
    expect(page.locator("#tasks tbody tr")).to_have_count(9)
    accuracy = page.locator("#tasks tbody tr").first
    expect(accuracy).to_contain_text(re.compile(r"50\.0% \(テスト\)\d+ 件、95 % 信頼区間 \d+\.\d%～\d+\.\d%"))
    page.get_by_role("button", name="English").click()
    expect(accuracy).to_contain_text(re.compile(r"50\.0% \(test\)\d+ documents, 95% interval \d+\.\d%–\d+\.\d%"))


def test_every_field_has_a_label_and_a_phone_shows_all_of_it(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for field in page.locator("input:visible, select:visible, textarea:visible").all():
        assert field.evaluate("field => field.labels.length") == 1
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"


def test_a_token_is_asked_for(browser: Browser, bundles: dict[str, Path]) -> None:
    tasks = Tasks()
    tasks.load("svm", bundles["svm"])
    with running(Service(tasks, tokens=Tokens.of(users=["0123456789abcdef"]))) as server:
        page = browser.new_page(locale="en-US")
        page.goto(server.url)
        page.get_by_role("textbox", name="Token").fill("0123456789abcdef\u200b")  # as copied from a chat
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_role("alert")).to_contain_text("has characters that no token has")
        page.get_by_role("textbox", name="Token").fill("wrong")
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_role("alert")).to_contain_text("does not accept this token")
        page.get_by_role("textbox", name="Token").fill("0123456789abcdef")
        page.keyboard.press("Enter")
        expect(page.locator("#task option")).to_have_count(1)
        expect(page.locator("#text")).to_be_focused()
        # Another token is needed from now on: the reason stands where the field for it is.
        page.evaluate("token = 'another'")
        page.locator("#text").fill("海")
        page.keyboard.press("Control+Enter")
        expect(page.get_by_role("alert")).to_be_visible()
        expect(page.get_by_role("alert")).to_contain_text("does not accept this token")
        page.get_by_role("textbox", name="Token").fill("0123456789abcdef")
        page.keyboard.press("Enter")
        expect(page.locator("#text")).to_be_focused()
        expect(page.get_by_role("alert")).to_have_count(0)
        page.close()
