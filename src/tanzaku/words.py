"""The words of arms' names, reports and summaries: English in the code, other languages in gettext catalogues.

The catalogues are `locale/LANGUAGE/LC_MESSAGES/tanzaku.po`; `make translations` updates them from the code and compiles
them to `tanzaku.mo`, which is what is read.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

Language = Literal["en", "ja"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
_LOCALE = Path(__file__).parent / "locale"
_MARK = "\0"  # stands for a blank next to a placeholder
_JAPANESE = "[\u3001-\u30ff\u4e00-\u9fff\uff01-\uff60]"
_BETWEEN_JAPANESE = re.compile(f"(?<={_JAPANESE}){_MARK}(?={_JAPANESE})")
_MOST_NAMES = 5  # in one sentence


@dataclass(frozen=True)
class Words:
    """The words of one language, looked up by their English text: `words.text("Take {arm}.", arm="LoRA")`."""

    language: Language
    translations: gettext.NullTranslations

    def text(self, message: str, **values: object) -> str:
        """The translated message with its placeholders filled; a message without a translation stays English.

        Raises:
            KeyError: A placeholder got no value.
        """
        return self._filled(self.translations.gettext(message), values)

    def plural(self, singular: str, plural: str, n: int, **values: object) -> str:
        """Likewise, in the form that belongs to `n`, which fills the placeholder `{n}`."""
        return self._filled(self.translations.ngettext(singular, plural, n), {"n": n, **values})

    def joined(self, sentences: Iterable[str]) -> str:
        """Sentences one after another: Japanese has no blank between them."""
        return ("" if self.language == "ja" else " ").join(sentences)

    def listed(self, names: Iterable[str]) -> str:
        """Names in one sentence, the first few of many."""
        every = list(names)
        comma = self.text("; ") if any(", " in name for name in every) else self.text(", ")
        shown, more = comma.join(every[:_MOST_NAMES]), len(every) - _MOST_NAMES
        return self.text("{names} and {more} more", names=shown, more=more) if more > 0 else shown

    def _filled(self, text: str, values: dict[str, object]) -> str:
        if not values:
            return text
        if self.language != "ja":
            return text.format(**values)
        # A blank next to a placeholder goes where there is Japanese on both sides of it.
        marked = text.replace(" {", f"{_MARK}{{").replace("} ", f"}}{_MARK}")
        return _BETWEEN_JAPANESE.sub("", marked.format(**values)).replace(_MARK, " ")


def message(text: str) -> str:
    """Mark a text for the catalogues that is looked up elsewhere, as a value of a table is."""
    return text


def messages(singular: str, plural: str) -> tuple[str, str]:
    """Mark a text in the singular and in the plural likewise."""
    return singular, plural


@cache
def words_of(language: Language) -> Words:
    """The words of a language."""
    if language == "en":
        return Words(language, gettext.NullTranslations())
    return Words(language, gettext.translation("tanzaku", _LOCALE, languages=[language]))


ENGLISH = words_of("en")
