"""The catalogues of the report's words: `python -m tests.translations` updates them from the code."""

from __future__ import annotations

import ast
import io
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from tanzaku.methods import METHODS
from tanzaku.report.terms import setting_name
from tanzaku.study.encoder_spec import EncoderSpec
from tanzaku.study.spec import TrainingSpec
from tanzaku.words import LANGUAGES, Language, words_of

PACKAGE = Path(__file__).parents[1] / "src" / "tanzaku"
TRANSLATED: tuple[Language, ...] = tuple(language for language in LANGUAGES if language != "en")

# By the function's name, where its arguments are messages. `messages` and `message` only mark them.
_KEYWORDS = {"text": None, "message": None, "plural": (1, 2), "messages": (1, 2)}
_METHODS = [("**.py", "python"), ("**.jinja", "jinja2")]


def in_code() -> Catalog:
    """The messages that the code looks up."""
    template = Catalog(fuzzy=False)
    found = extract_from_dir(PACKAGE, _METHODS, keywords=_KEYWORDS)
    for file, _, message, _, _ in sorted(found, key=lambda one: (one[0], str(one[2]))):
        template.add(message, locations=[(f"src/tanzaku/{file}", 1)])
    for name in sorted(_setting_names()):
        template.add(name, locations=[("src/tanzaku/report/terms.py", 1)])
    return template


def _setting_names() -> set[str]:
    """What reports call the settings that study files can have."""
    methods = [method for method in METHODS.values() if method.__module__.startswith("tanzaku.")]
    keys = {name for model in (*methods, TrainingSpec, EncoderSpec) for name in model.model_fields}
    return {setting_name(key, words=words_of("en")) for key in keys - {"name", "revision"}}


def within_f_strings() -> list[str]:
    """Places where a message is looked up within an f-string, in which Python 3.11 hides it from Babel."""
    return [
        f"{path.relative_to(PACKAGE)}:{call.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for string in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(string, ast.JoinedStr)
        for call in ast.walk(string)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in _KEYWORDS
    ]


def read_catalogue(language: Language) -> Catalog:
    """A language's translations."""
    return read_po(io.BytesIO(_path(language, "po").read_bytes()), locale=language)


def compiled(catalogue: Catalog) -> bytes:
    """As gettext reads it."""
    content = io.BytesIO()
    write_mo(content, catalogue)
    return content.getvalue()


def compiled_path(language: Language) -> Path:
    """Where the compiled translations of a language are."""
    return _path(language, "mo")


def translations(message: Message) -> list[str]:
    """Every form of a message's translation; an empty one is still to be written."""
    return [message.string] if isinstance(message.string, str) else list(message.string or [""])


def _path(language: Language, suffix: str) -> Path:
    return PACKAGE / "locale" / language / "LC_MESSAGES" / f"tanzaku.{suffix}"


def _update(language: Language) -> None:
    catalogue = read_catalogue(language)
    catalogue.update(in_code(), no_fuzzy_matching=True, update_creation_date=False)
    content = io.BytesIO()
    write_po(content, catalogue, width=0, ignore_obsolete=True, include_lineno=False)
    _path(language, "po").write_bytes(content.getvalue())
    compiled_path(language).write_bytes(compiled(catalogue))
    missing = [message.id for message in catalogue if message.id and not all(translations(message))]
    print(f"{language}: {len(catalogue)} messages, to be translated:", *missing or ["none"], sep="\n  ")


if __name__ == "__main__":
    for each in TRANSLATED:
        _update(each)
