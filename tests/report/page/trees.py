"""Pages taken apart: their elements, texts and tables."""

from __future__ import annotations

from html.parser import HTMLParser

_VOID = {"meta", "link", "br"}


class Tree(HTMLParser):
    """Texts and attributes by tag; fails where a tag is not closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.tables: list[list[list[str]]] = []
        """Each table's rows of cells, the heading first."""
        self.captions: list[str] = []
        """Of the tables, in their order."""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
            self.captions.append("")
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1] += [""] * int(dict(attrs).get("colspan") or 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        shown = data.replace("\u2060", "")
        if self.open and self.open[-1] not in ("style", "title"):
            self.text.append(data)
        if {"th", "td"} & set(self.open):
            cells = self.tables[-1][-1]
            cells[-1] = " ".join([cells[-1], *shown.split()]).strip()  # a cell over two columns: in the second
        elif "caption" in self.open:
            self.captions[-1] = " ".join([self.captions[-1], *shown.split()]).strip()

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).replace("\u2060", "").split())

    def table(self, caption: str) -> list[dict[str, str]]:
        """The rows of the table whose caption begins so, by the headings of the columns."""
        (rows,) = [rows for rows, own in zip(self.tables, self.captions, strict=True) if own.startswith(caption)]
        return [dict(zip(rows[0], row, strict=False)) for row in rows[1:]]
