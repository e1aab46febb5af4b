"""The templates of the page and of the Markdown document."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tanzaku.markdown import escape_markdown, one_line
from tanzaku.report.render import markdown_table

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

_FOLDER = Path(__file__).parent
_OPTION = re.compile(r"--[a-z][a-z-]*")
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:%|MB\b|ms\b))")


@cache
def template(name: str) -> Template:
    """A template by its file's name. What HTML shows is escaped; Markdown is by the filter `markdown`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader([_FOLDER, _FOLDER / "page"]),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        finalize=_with_units if name.endswith(".html.jinja") else None,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "markdown": escape_markdown,
        "table": markdown_table,
        "one_line": one_line,
        "options": _options_as_code,
    }
    return environment.get_template(name)


def _with_units(value: Any) -> Any:
    """What the page shows, where a line does not end between a number and its unit."""
    return type(value)(_BEFORE_UNIT.sub("\u00a0", value)) if isinstance(value, str) else value


def _options_as_code(text: str) -> Markup:
    """A sentence with the options of commands set as code, each on one line."""
    from markupsafe import Markup, escape

    return Markup(_OPTION.sub(r"<code><span>\g<0></span></code>", str(escape(text))))
