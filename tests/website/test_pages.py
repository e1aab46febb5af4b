"""The pages that the documentation site is built from, without building it."""

import json
import re
from pathlib import Path

import pytest

from tanzaku.study.schema import study_schema
from website.pages import REPOSITORY, ROOT, SITE, DeadLinkError, archives, site_link, with_site_links, write_pages


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("website") / "pages"
    write_pages(folder)
    return folder


def test_every_page_is_in_the_navigation_and_the_other_way_round(pages: Path) -> None:
    named = re.findall(r"^ +- [^:]+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(named) == len(set(named))
    assert set(named) == {path.name for path in pages.glob("*.md") if not path.name.endswith(".ja.md")}
    assert {path.name for path in pages.glob("*.ja.md")} == {"index.ja.md", "report.ja.md", "gallery.ja.md"}


def test_every_link_leads_to_a_page_a_file_or_a_url(pages: Path) -> None:
    links = 0
    for page in pages.glob("*.md"):
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            links += 1
            path = target.partition("#")[0]
            assert target.startswith(("https://", "#")) or (pages / path).is_file(), f"{page.name}: {target}"
    assert links > 100


def test_the_gallery_has_every_report(pages: Path) -> None:
    reports = {path.name for path in archives()}
    assert len(reports) == 15
    for name in reports:
        page = (pages / "gallery" / f"{name}.html").read_text(encoding="utf-8")
        assert f"tanzaku study report records/{name} " in re.sub(r"</?span>", "", page)
    assert {path.stem for path in (pages / "gallery").iterdir()} == reports
    for page in ("gallery.md", "gallery.ja.md"):
        text = (pages / page).read_text(encoding="utf-8")
        assert re.findall(r"\]\(gallery/(\S+)\.html\)", text) == sorted(reports)
        assert len(re.findall(rf"\]\({REPOSITORY}/blob/main/records/\S+/study\.toml\)", text)) == len(reports)


def test_the_schema_is_there_for_editors(pages: Path) -> None:
    assert json.loads((pages / "study.schema.json").read_text(encoding="utf-8")) == study_schema()


@pytest.mark.parametrize(
    ("target", "source", "expected"),
    [
        ("https://arxiv.org/abs/2106.09685", "docs/lora.md", "https://arxiv.org/abs/2106.09685"),
        ("#methods", "docs/studies.md", "#methods"),
        ("lora.md#which-layers", "docs/studies.md", "lora.md#which-layers"),
        ("docs/lora.md#which-layers", "README.md", "lora.md#which-layers"),
        ("../README.md", "docs/studies.md", "index.md"),
        ("../studies/quickstart.toml", "docs/studies.md", f"{REPOSITORY}/blob/main/studies/quickstart.toml"),
        ("../records", "docs/findings.md", f"{REPOSITORY}/tree/main/records"),
        ("LICENSE", "README.ja.md", f"{REPOSITORY}/blob/main/LICENSE"),
        ("docs/lora.md", "README.ja.md", "lora.md"),
        ("docs/report.ja.md", "README.ja.md", "report.ja.md"),
        ("docs/images/report.png", "README.ja.md", "images/report.png"),
        ("README.ja.md", "README.md", f"{SITE}/ja/"),
        ("README.md", "README.ja.md", f"{SITE}/"),
        ("report.ja.md", "docs/report.md", f"{SITE}/ja/report/"),
        ("report.md", "docs/report.ja.md", f"{SITE}/report/"),
        ("report.md", "docs/lora.md", "report.md"),
        ("report.md#the-page", "docs/lora.md", f"{SITE}/report/#the-page"),
    ],
)
def test_a_link_of_the_repository_becomes_one_of_the_site(target: str, source: str, expected: str) -> None:
    assert site_link(target, source) == expected


def test_a_link_that_leads_nowhere_is_an_error_but_not_in_code() -> None:
    with pytest.raises(DeadLinkError, match=r"docs/x\.md: .* leads to studies/none\.toml"):
        with_site_links("See [this](../studies/none.toml).", "docs/x.md")
    code = "```text\n[this](../studies/none.toml)\n```\n"
    assert with_site_links(code, "docs/x.md") == code
