"""What becomes of characters that are no text, in training and classification alike: the one place that says so.

A space: control characters other than white space (a NUL ends a text in C, so MeCab would drop what follows it), the
marks of interlinear annotations, and letters that are blank (Hangul fillers, the empty Braille pattern).

Nothing: soft hyphens, zero-width spaces, joiners and non-joiners, word joiners, byte order marks, bidirectional and
invisible operators, tags, and variation selectors. Nobody sees them, and MeCab makes an unknown word of each, in the
middle of a word too.

Themselves: the zero-width joiner between emoji and the two selectors that choose an emoji's look, after one, because
emoji are spelled with them; white space of all kinds; private-use and unassigned characters.

An error: half a surrogate pair, which no encoding holds.
"""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tanzaku.data.dataset import Dataset
from tanzaku.errors import DataError, TanzakuWarning

_SPACES = r"\x00-\x08\x0e-\x1f\x7f-\x9f\u115f\u1160\u2800\u3164\uffa0\ufff9-\ufffb"
_JOINER, _LOOKS = r"\u200d", r"\ufe0e\ufe0f"
_NOTHING = (
    r"\xad\u034f\u061c\u180b-\u180f\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0d\ufeff"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Emoji, and the digits, signs and symbols that a selector makes one of.
_EMOJI = r"#*0-9\xa9\xae\u203c\u2049\u2122-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
# What Unicode's sequences of emoji join (emoji-zwj-sequences.txt, 16.0), and the arrows, which only follow a joiner.
_JOINED = r"\u2620\u2640\u2642\u2695\u2696\u26a7\u26d3\u26f9\u2708\u2764\u2b1b\U0001f000-\U0001faff"
_ARROWS = r"\u2194\u2195\u27a1"
_ANY = re.compile(f"[{_SPACES}{_NOTHING}{_JOINER}{_LOOKS}]")
_SPACE = re.compile(f"[{_SPACES}]")
_INVISIBLE = re.compile(f"[{_NOTHING}]")
_OUTSIDE_EMOJI = re.compile(
    f"(?<![{_EMOJI}])[{_LOOKS}]|(?<![{_JOINED}])(?<![{_JOINED}][{_LOOKS}]){_JOINER}|{_JOINER}(?![{_JOINED}{_ARROWS}])"
)
_SHOWN = 3


def clean_text(text: str) -> str:
    """The text as it is read: see above. A second time changes nothing."""
    if not _ANY.search(text):
        return text
    return _OUTSIDE_EMOJI.sub("", _INVISIBLE.sub("", _SPACE.sub(" ", text)))


def clean_places(text: str) -> list[int]:
    """Where in the text each character of `clean_text(text)` stands; it is the same one, or a space instead."""
    if not _ANY.search(text):
        return list(range(len(text)))
    spaced = _SPACE.sub(" ", text)
    places = [at for at, one in enumerate(spaced) if not _INVISIBLE.match(one)]
    gone = {found.start() for found in _OUTSIDE_EMOJI.finditer("".join(spaced[at] for at in places))}
    return [place for at, place in enumerate(places) if at not in gone]


def is_empty(text: str) -> bool:
    """Whether nothing but white space is left of the text when it is read."""
    return not clean_text(text).strip()


def without_invisible(text: str) -> str:
    """The text as a reader sees it: `clean_text`, and no emoji's joiner or selector either."""
    return _ANY.sub("", clean_text(text))


def show_invisible(text: str) -> str:
    """`repr(text)`, with the number of each character that can't be seen."""
    return _ANY.sub(lambda found: f"\\u{ord(found[0]):04x}", repr(text))


def clean_dataset(dataset: Dataset) -> Dataset:
    """The data set with its texts as they are read, and a warning where that changes some.

    Texts that a publication defines to the character, as Livedoor's, stay as they are: see `Dataset.published`.

    Raises:
        DataError: A text holds half a surrogate pair; the message names the split and the row.
    """
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    for split, documents in splits.items():
        for row, text in enumerate(documents.texts, start=1):
            check_characters(text, place=f"{split} row {row:,}")
    if dataset.published:
        return dataset
    cleaned = {
        split: replace(documents, texts=tuple(map(clean_text, documents.texts))) for split, documents in splits.items()
    }
    before, after = ([text for split in data.values() for text in split.texts] for data in (splits, cleaned))
    if before == after:
        return dataset
    warnings.warn(f"{dataset.name}: {describe_changes(before, after)}.", TanzakuWarning, stacklevel=2)
    return replace(dataset, train=cleaned["train"], val=cleaned["val"], test=cleaned["test"])


def check_characters(text: str, *, place: str) -> None:
    """Refuse half a surrogate pair.

    Raises:
        DataError: There is one; the message names `place`.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place} holds half a surrogate pair ({text[error.start]!r}), which is not a character; "
            "correct the escape, or read the text in its right encoding"
        ) from error


def describe_changes(before: Sequence[str], after: Sequence[str]) -> str:
    """How many texts `clean_text` has changed, by which characters, and whether some are empty now."""
    changed = [index for index, text in enumerate(before) if text != after[index]]
    spaces: Counter[str] = Counter()
    nothing: Counter[str] = Counter()
    for index in changed:
        gone = Counter(_ANY.findall(before[index])) - Counter(_ANY.findall(after[index]))
        for character, count in gone.items():
            (spaces if _SPACE.match(character) else nothing)[character] += count
    parts = [
        f"{counts.total():,} {what} ({_named(counts)})"
        for counts, what in ((spaces, "became spaces"), (nothing, "were left out"))
        if counts
    ]
    empty = sum(is_empty(after[index]) and bool(before[index].strip()) for index in changed)
    whole = f"{len(changed):,} of {len(before):,} texts"
    ends = f"; {empty:,} of these texts are now empty" if empty else ""
    return f"{whole} hold control or invisible characters, of which {' and '.join(parts)}{ends}"


def _named(counts: Counter[str]) -> str:
    shown = [f"U+{ord(character):04X}" for character, _ in counts.most_common(_SHOWN)]
    return ", ".join(shown) + (", …" if len(counts) > _SHOWN else "")
