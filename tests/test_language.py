"""Phrases that readers stumbled over do not come back to the documentation, the study files or the messages."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "README.ja.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "benchmarks").glob("*.md*"),
    *(ROOT / "studies").glob("*.toml"),
]
# A phrase as a regular expression, and what to write instead.
BANNED = {
    r"\bbeside\b": "next to, in addition to, compared with",
    r"\banew\b": "again",
    r"\b(goes|went|gone) on\b": "continues, resumes",
    r"\bgoing on from\b": "continuing from",
    r"\btold (by|from|apart)\b": "distinguished",
    r"\bis said\b": "is reported",
    r"\bat home in\b": "need",
    r"\bone and the same\b": "deterministic, equal",
    r"\bside by side\b": "at the same time, next to each other",
    r"\b(tokens|records|set|documents|seeds|rank|recipe|terms|\[CLS\]|encoder|head|texts|these) alone\b": "only",
    r"\bis no (benchmark|signature|sacrifice|text)\b": "is not a",
    r"\brivals?\b": "other methods, other programs",
    r"\bhouse\b|\brooms?\b(?! for)": "package",
    r"最良そのもの|最前線|指紋|ファインチューン|フル微調整": "最良の手法、パレートフロント、…",
}
# In help texts and messages, which are short enough for phrases that can be right in a document.
BANNED_IN_MESSAGES = {
    r"\balone\b": "only",
    r"(?<!there )\b(is|are) no\b(?! longer\b)": "is not a, are not",
    r"\b(file|page|set|report|label|text)s? (says?|said)\b": "shows, states; only people say",
    r"\btold\b": "reported, distinguished",
    r"\b(one|result|text|record|line|bits|characters) an? (line|text|weight|verb|class)\b": "per",
    r"\bstands? in\b|\blies?\b": "is in",
}


def _prose(path: Path) -> str:
    """The text without inline code and code blocks, except in study files, of which only the comments count."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".toml":
        return "\n".join(line.partition("#")[2] for line in text.splitlines())
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_no_phrase_that_readers_stumbled_over(path: Path) -> None:
    prose = re.sub(r"[ \n]+", " ", _prose(path))
    found = [
        f"{prose[max(0, match.start() - 30) : match.end() + 30]!r}: write {instead!r}"
        for phrase, instead in BANNED.items()
        for match in re.finditer(phrase, prose, flags=re.IGNORECASE)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", sorted((ROOT / "src/tanzaku/cli").glob("*.py")), ids=lambda path: path.name)
def test_no_such_phrase_in_the_command_line(path: Path) -> None:
    found = [
        f"{text!r}: write {instead!r}"
        for text in _texts(path)
        for phrase, instead in (BANNED | BANNED_IN_MESSAGES).items()
        if re.search(phrase, text, flags=re.IGNORECASE)
    ]
    assert not found, "\n".join(found)


def test_no_such_phrase_in_the_code() -> None:
    phrase = re.compile(r"\b(anew|goes on|went on|gone on|at home in)\b", flags=re.IGNORECASE)
    code = [path for path in (ROOT / "src").rglob("*.py") if "report" not in path.parts]
    assert len(code) > 50
    found = [str(path) for path in code if phrase.search(path.read_text(encoding="utf-8"))]
    assert not found


def _texts(path: Path) -> list[str]:
    """The string literals of a module, which are its help, messages and docstrings, and its comments."""
    source = path.read_text(encoding="utf-8")
    strings = [
        re.sub(r"[ \n]+", " ", node.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    lines = io.StringIO(source).readline
    return strings + [token.string for token in tokenize.generate_tokens(lines) if token.type == tokenize.COMMENT]
