"""Which phrases of a text speak for its label: exactly for linear models, and by leaving out each phrase for others."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tanzaku.data.characters import clean_places, clean_text
from tanzaku.ship.classifier import Classifier

if TYPE_CHECKING:
    from tanzaku.methods.interface import Contribution

MOST_PHRASES = 48
# With fewer phrases than this, the text is cut into words: a single phrase explains nothing.
_FEWEST_PHRASES = 3
_SENTENCE_PARTS = re.compile(r"[^、。，．！？!?,\n]*[、。，．！？!?,\n]+[」』）】]*|[^、。，．！？!?,\n]+")
# Nearly a bunsetsu: a word of kanji, katakana or Latin letters with the hiragana after it.
# What closes a sentence or a quotation belongs to the word before it.
_ENDS = "、。，．！？!?」』）】"
_WORDS = re.compile(rf"\s*(?:[^ぁ-ん\s{_ENDS}]+[ぁ-ん]*|[ぁ-ん]+)[{_ENDS}]*|\s*[{_ENDS}]+|\s+")

Kind = Literal["linear", "leave-one-out"]


@dataclass(frozen=True)
class Phrase:
    """A part of a text as it came, `text[start:end]`, and how much it speaks for the label; if negative, against it."""

    text: str
    start: int
    end: int
    weight: float


@dataclass(frozen=True)
class Explanation:
    """The phrases of a text, in their order.

    Attributes:
        label: The label that they speak for, the likeliest one.
        kind: "linear": a weight is what the phrase adds to the label's score. "leave-one-out": how much the label's
            log-odds fall if the phrase is left out.
    """

    label: str
    kind: Kind
    phrases: list[Phrase]


def cut_phrases(text: str, *, most: int = MOST_PHRASES) -> list[tuple[int, int]]:
    """The phrases of a text as start and end: up to 、。 and line ends, or words where there are few of these.

    They cover the text. Where there are more than `most`, neighbours are joined.
    """
    found = [match.span() for match in _SENTENCE_PARTS.finditer(text)]
    if len(found) < _FEWEST_PHRASES:
        found = [match.span() for match in _WORDS.finditer(text)]
    if not found:
        return []
    size = -(-len(found) // most)
    return [(found[at][0], found[min(at + size, len(found)) - 1][1]) for at in range(0, len(found), size)]


def spans_before_cleaning(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans of a text that has not been cleaned, for those that cover the cleaned one; they cover all of it.

    Characters that are left out when it is read belong to the phrase before them, or to the first.
    """
    places = clean_places(text)
    starts = [places[start] if start else 0 for start, _ in spans]
    return list(zip(starts, [*starts[1:], len(text)], strict=True)) if spans else []


def explain(
    classifier: Classifier, text: str, *, contributions: Callable[[str], list[Contribution] | None] | None
) -> Explanation:
    """The phrases of a text with their weights.

    Args:
        classifier: What classified it.
        text: As it came.
        contributions: What each part of a cleaned text adds to the scores, where that is known exactly.
    """
    cleaned = clean_text(text)
    spans = cut_phrases(cleaned)
    parts = None if contributions is None else contributions(cleaned)
    # (texts, labels)
    scores = classifier.scores([cleaned, *_without_each(cleaned, spans)] if parts is None else [cleaned])
    label = int(scores[0].argmax())
    if parts is None:
        odds = _log_odds(scores / classifier.facts.calibration.temperature, label)
        weights = (odds[0] - odds[1:]).tolist()
        kind: Kind = "leave-one-out"
    else:
        weights, kind = _sums(parts, spans, label), "linear"
    phrases = [
        Phrase(text[start:end], start, end, float(weight))
        for (start, end), weight in zip(spans_before_cleaning(text, spans), weights, strict=True)
    ]
    return Explanation(classifier.label_names[label], kind, phrases)


def _without_each(text: str, spans: list[tuple[int, int]]) -> list[str]:
    return [text[:start] + text[end:] for start, end in spans]


def _log_odds(logits: np.ndarray, label: int) -> np.ndarray:
    """log p / (1 - p) of a label, (texts,), of logits (texts, labels)."""
    others = np.delete(logits.astype(np.float64), label, axis=1)
    largest = others.max(axis=1)
    odds: np.ndarray = logits[:, label] - largest - np.log(np.exp(others - largest[:, None]).sum(axis=1))
    return odds


def _sums(parts: list[Contribution], spans: list[tuple[int, int]], label: int) -> list[float]:
    """What the parts that begin in each span add to the label's score."""
    ends = [end for _, end in spans]
    sums = [0.0] * len(spans)
    for part, place in zip(parts, np.searchsorted(ends, [part.start for part in parts], side="right"), strict=True):
        sums[min(int(place), len(spans) - 1)] += float(part.scores[label])
    return sums
