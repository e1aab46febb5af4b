"""The pages of the documentation site: `python -m website.pages FOLDER` writes them, and `mkdocs build` renders them.

They are the pages and images of docs/, README.md and README.ja.md as start pages, a gallery of reports, rendered from
the archives in records/, and the JSON Schema of study files. Links to files that are not pages point to the repository.
"""

import json
import posixpath
import re
import shutil
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

from tanzaku.report.page.build import page_html
from tanzaku.report.write import read_page
from tanzaku.study.schema import study_schema
from tanzaku.words import words_of

ROOT = Path(__file__).parents[1]
_URLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
REPOSITORY: str = _URLS["Repository"].rstrip("/")
SITE: str = _URLS["Documentation"].rstrip("/")
DOCS = "docs"
IMAGES = f"{DOCS}/images"
START_PAGES = {"README.md": "index.md", "README.ja.md": "index.ja.md"}
_FENCE = re.compile(r"(^```.*?^```$)", flags=re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<=\]\()[^)\s]+(?=\))")

# Title, what it is, the table's headings, and the names of the links.
_GALLERY = {
    "gallery.md": (
        "Gallery",
        "The reports of the studies that this documentation quotes, as `tanzaku study report` writes them.",
        ("report", "what the study is for", "source"),
        ("study file", "records"),
    ),
    "gallery.ja.md": (
        "ギャラリー",
        "このドキュメントで引用しているスタディのレポートです。いずれも `tanzaku study report` が出力したものです。",
        ("レポート", "スタディの目的", "出典"),
        ("スタディファイル", "記録"),
    ),
}


class DeadLinkError(Exception):
    """A link leads to a file that the repository does not have."""


def write_pages(folder: Path) -> None:
    """Write everything that the site is built from into `folder`, which is emptied before.

    Raises:
        DeadLinkError: A page links to a file that does not exist.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in [*(ROOT / DOCS).glob("*.md"), *(ROOT / name for name in START_PAGES)]:
        source = path.relative_to(ROOT).as_posix()
        (folder / page_of(source)).write_text(
            with_site_links(path.read_text(encoding="utf-8"), source), encoding="utf-8"
        )
    shutil.copytree(ROOT / IMAGES, folder / "images")
    (folder / "gallery").mkdir()
    for archive in archives():
        page_input = replace(read_page(archive), runs=archive.relative_to(ROOT))  # the path that the page shows
        (folder / "gallery" / f"{archive.name}.html").write_text(
            page_html(page_input, words=words_of("en")), encoding="utf-8"
        )
    for page in _GALLERY:
        text = gallery(page, [archive.name for archive in archives()])
        (folder / page).write_text(with_site_links(text, f"{DOCS}/{page}"), encoding="utf-8")
    (folder / "study.schema.json").write_text(json.dumps(study_schema(), ensure_ascii=False), encoding="utf-8")


def archives() -> list[Path]:
    """The archives whose reports the gallery shows."""
    return sorted(path.parent for path in ROOT.glob("records/*/runs.jsonl"))


def page_of(source: str) -> str:
    """The page that a Markdown file of the repository becomes."""
    return START_PAGES.get(source) or source.removeprefix(f"{DOCS}/")


def with_site_links(markdown: str, source: str) -> str:
    """A page with its links as the site needs them; what stands in code blocks stays as it is.

    Args:
        markdown: The page.
        source: Its path in the repository, which its links are relative to.

    Raises:
        DeadLinkError: A link leads to a file that does not exist.
    """
    parts = _FENCE.split(markdown)
    parts[::2] = [_LINK.sub(lambda link: site_link(link[0], source), part) for part in parts[::2]]
    return "".join(parts)


def site_link(target: str, source: str) -> str:
    """Where a link of the file `source` leads on the site.

    Args:
        target: As it is written: a URL, an anchor, or a relative path with or without an anchor.
        source: The file's path in the repository.

    Raises:
        DeadLinkError: The path does not exist.
    """
    if re.match(r"[a-z]+:|#", target):
        return target
    path, number_sign, anchor = target.partition("#")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if posixpath.dirname(path) == f"{DOCS}/gallery":
        return target
    if not (ROOT / path).exists():
        raise DeadLinkError(f"{source}: the link {target} leads to {path}, which does not exist")
    if path in START_PAGES or (posixpath.dirname(path) == DOCS and path.endswith(".md")):
        return _page_link(page_of(path), page_of(source), anchor=anchor) + number_sign + anchor
    if posixpath.dirname(path) == IMAGES:
        return path.removeprefix(f"{DOCS}/")
    kind = "tree" if (ROOT / path).is_dir() else "blob"
    return f"{REPOSITORY}/{kind}/main/{path}{number_sign}{anchor}"


def _page_link(page: str, source: str, *, anchor: str) -> str:
    """A link from one page to another. It is a URL where the site would lead to the page in the wrong language: a link
    from one language to the other, or to an anchor that the Japanese version of the page may not have."""
    to_japanese, from_japanese = page.endswith(".ja.md"), source.endswith(".ja.md")
    translated = to_japanese or _has_japanese(page)
    shown_in_both = not from_japanese and not _has_japanese(source)
    if to_japanese == from_japanese and not (translated and anchor and shown_in_both):
        return page
    if from_japanese and not translated:
        return page
    name = page.removesuffix(".md").removesuffix(".ja").removesuffix("index")
    return "/".join([SITE, *(["ja"] if to_japanese else []), *([name] if name else []), ""])


def _has_japanese(page: str) -> bool:
    japanese = page.removesuffix(".md") + ".ja.md"
    return japanese in (*START_PAGES.values(), *_GALLERY) or (ROOT / DOCS / japanese).is_file()


def gallery(page: str, studies: list[str]) -> str:
    """The gallery as Markdown, in the language of `page`."""
    title, about, headings, (study_file, records) = _GALLERY[page]
    rows: list[tuple[str, ...]] = [headings, ("---",) * len(headings)]
    for name in studies:
        source = f"[{study_file}](../records/{name}/study.toml) · [{records}](../records/{name})"
        rows.append((f"[{name}](gallery/{name}.html)", _description(name).replace("|", r"\|"), source))
    return "\n".join([f"# {title}", "", about, "", *(f"| {' | '.join(row)} |" for row in rows), ""])


def _description(study: str) -> str:
    content = tomllib.loads((ROOT / "records" / study / "study.toml").read_text(encoding="utf-8"))
    return " ".join(str(content.get("description", "")).split())


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
