"""What reports call methods and their options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Title:
    """A method's name for readers, such as `Title("Full fine-tuning", ja="フルファインチューニング", short="Full")`.

    Args:
        en: In English.
        ja: In Japanese; without it, as in English.
        short: In the legends of figures, of at most 12 characters; without it, as in English.
    """

    en: str
    ja: str | None = None
    short: str | None = None

    def text(self, language: str) -> str:
        """The name in a language: "en" or "ja"."""
        return self.ja if language == "ja" and self.ja else self.en


@dataclass(frozen=True)
class OptionLabel:
    """What the name of an arm says of an option: part of the option's `Annotated` type, after its `Field`.

    An option without one is written with its own name and its value, such as `dropout 0.1`.

    Args:
        en: In English; `{value}` is replaced with the value. A switch that is on may leave it out.
        ja: In Japanese; without it, as in English.
        values: What to write for the values that are words.
    """

    en: str
    ja: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, option: str) -> OptionLabel:
        """The label of an option that has none of its own."""
        return cls(f"{option.replace('_', ' ')} {{value}}")

    def text(self, language: str) -> str:
        """The label in a language: "en" or "ja"."""
        return self.ja if language == "ja" and self.ja else self.en
