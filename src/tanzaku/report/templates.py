"""The templates of the page and of the Markdown document."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tanzaku.markdown import escape_markdown, one_line
from tanzaku.report.render import markdown_table

if TYPE_CHECKING:
    from jinja2 import Template

_FOLDER = Path(__file__).parent


@cache
def template(name: str) -> Template:
    """A template by its file's name. What HTML shows is escaped; Markdown is by the filter `markdown`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader([_FOLDER, _FOLDER / "page"]),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"markdown": escape_markdown, "table": markdown_table, "one_line": one_line}
    return environment.get_template(name)
