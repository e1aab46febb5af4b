"""Texts within Markdown, shown as they are."""

import re

# Only what Markdown would read as markup inside a table cell; escaping every dot would make the source unreadable.
_ESCAPED = frozenset("\\`*_[]|~$<&")
# At the start of a line these would begin a list, a heading, a rule or a quotation.
_BLOCK = re.compile(r"^(?:[>=]|[#+-]+(?=\s|$)|\d+[.)](?=\s|$))")


def one_line(text: str) -> str:
    """`text` without line breaks, control characters and lone surrogates, its white space run together."""
    printable = "".join(character if _is_text(character) else " " for character in text)
    return " ".join(printable.split())


def escape_markdown(text: str) -> str:
    """`text` on one line, shown as it is by GitHub, inside a table too."""
    escaped = "".join(f"\\{character}" if character in _ESCAPED else character for character in one_line(text))
    return _BLOCK.sub(lambda match: f"{match[0][:-1]}\\{match[0][-1]}", escaped)


def _is_text(character: str) -> bool:
    # The second range is the surrogates, which UTF-8 can't hold.
    return character >= " " and not "\x7f" <= character <= "\x9f" and not "\ud800" <= character <= "\udfff"
