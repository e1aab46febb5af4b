"""Which columns of a table have the texts, the labels and the groups; and, if the names are wrong, which ones may."""

import re
import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tanzaku.data.characters import without_invisible
from tanzaku.data.findings import Finding
from tanzaku.data.options import ReadOptions
from tanzaku.data.separated import DELIMITERS
from tanzaku.display import counted

SAMPLED_ROWS = 200
_TITLE_ROWS = 10  # that may be above the names of the columns
_TEXT_NAMES = ("text", "本文", "テキスト", "内容", "問い合わせ内容", "文章", "body", "content", "sentence", "コメント")
_LABEL_NAMES = ("label", "ラベル", "分類", "カテゴリ", "カテゴリー", "category", "class", "クラス", "種別", "区分")


@dataclass(frozen=True)
class FoundColumns:
    """Where the wanted columns are.

    Attributes:
        names: Of all columns.
        places: Of the wanted columns, in their order; None where one can't even be guessed.
        skip: The number of rows above the row with the names.
        problems: What is wrong with the names; the places are then the likeliest, to find what else is wrong.
        suggestion: Options that name the columns which look like texts and labels.
    """

    names: list[str]
    places: list[int] | None
    skip: int = 0
    problems: list[Finding] = field(default_factory=list)
    suggestion: str = ""


def find_columns(
    names: Sequence[str],
    sample: Sequence[Sequence[Any]],
    options: ReadOptions,
    *,
    noun: str = "column",
    first_row: bool = True,
) -> FoundColumns:
    """Find the wanted columns by their names.

    Args:
        names: Of the columns, as in the first row.
        sample: The first rows below it.
        options: The wanted names.
        noun: What a column is called in the source's format.
        first_row: Whether the names stand in the first row, so that they may have been written below it by mistake.
    """
    wanted = options.columns
    suggestion = suggested_options(names, sample)
    repeated = [name for name in dict.fromkeys(wanted) if wanted.count(name) > 1]
    if repeated:
        message = f"{repeated[0]!r} was named for two purposes. Name different columns. {_CHOOSE}"
        return FoundColumns([*names], None, problems=[Finding("same-column", message)], suggestion=suggestion)
    missing = [name for name in wanted if name not in names]
    lower = _header_below(sample, wanted, names) if missing and first_row else None
    if lower is not None:
        return _below(names, sample, options, lower)
    places = [names.index(name) if name in names else _alike(name, names) for name in wanted]
    problems = [_repeated(name, names, noun) for name in wanted if names.count(name) > 1]
    if missing:
        if first_row and not set(wanted) & set(names) and (row := _data_in_header(names, sample)) is not None:
            problems.append(_no_header(names, names[row], options))
        else:
            problems.append(_missing(missing, names, places, options, noun=noun, suggestion=suggestion))
        places = _guessed(places, names, sample, options)
    whole = [place for place in places if place is not None]
    return FoundColumns([*names], whole if len(whole) == len(wanted) else None, 0, problems, suggestion)


def suggested_options(names: Sequence[str], sample: Sequence[Sequence[Any]]) -> str:
    """Options that name the columns which look like texts and labels; empty if none do."""
    text, label = guess_roles(names, sample)
    chosen = (("--text-column", text), ("--label-column", label))
    return " ".join(f"{option} {_as_word(names[place])}" for option, place in chosen if place is not None)


def _as_word(name: str) -> str:
    """A name as a shell takes it for one word."""
    return name if re.fullmatch(r"[\w.:/-]+", name) else shlex.quote(name)


def guess_roles(names: Sequence[str], sample: Sequence[Sequence[Any]]) -> tuple[int | None, int | None]:
    """The places of the columns that most likely have the texts and the labels, by their names and contents."""
    filled = min(len(names), max(map(len, sample), default=0))
    columns = [_Contents(names, sample, place) for place in range(filled) if names[place].strip()]
    texts = [one for one in columns if one.could_be_text]
    text = max(texts, key=lambda one: (one.is_named(_TEXT_NAMES), one.mean_length), default=None)
    labels = [one for one in columns if one.could_be_label and one is not text]
    label = max(labels, key=lambda one: (one.is_named(_LABEL_NAMES), -one.distinct), default=None)
    return (text.place if text else None), (label.place if label else None)


class _Contents:
    """What a column's first rows look like."""

    def __init__(self, names: Sequence[str], sample: Sequence[Sequence[Any]], place: int) -> None:
        values = [row[place] for row in sample if place < len(row)]
        filled = [value.strip() for value in values if isinstance(value, str) and value.strip()]
        self.place, self.name = place, _plain(names[place])
        self.distinct = len(set(filled))
        self.mean_length = sum(map(len, filled)) / max(1, len(filled))
        self.could_be_text = bool(filled) and self.mean_length >= 4 and 2 * self.distinct >= len(filled)
        self.could_be_label = 2 <= self.distinct <= max(2, len(filled) / 2) and self.mean_length <= 30

    def is_named(self, names: Sequence[str]) -> bool:
        """Whether the column has one of these names."""
        return self.name in names


def _plain(name: str) -> str:
    """A name without what is easily overlooked: width, case, white space, quotes and invisible characters."""
    return "".join(unicodedata.normalize("NFKC", without_invisible(name)).casefold().split()).strip("\"'")


def _alike(name: str, names: Sequence[str]) -> int | None:
    alike = [place for place, other in enumerate(names) if _plain(other) == _plain(name)]
    return alike[0] if len(alike) == 1 else None


def _guessed(
    places: list[int | None], names: Sequence[str], sample: Sequence[Sequence[Any]], options: ReadOptions
) -> list[int | None]:
    """The places, those that are missing guessed as far as nothing else was named for them."""
    text, label = guess_roles(names, sample)
    count = len(options.text_columns)
    if count == 1 and places[0] is None and text not in places:
        places[0] = text
    if places[count] is None and label not in places:
        places[count] = label
    return places


def _header_below(sample: Sequence[Sequence[Any]], wanted: Sequence[str], names: Sequence[str]) -> int | None:
    """The row that seems to have the names, as below a title or below merged cells: with it there are more of the
    wanted ones than in the first row, since a single one may also be a value."""
    rows = [[str(value or "").strip() for value in row] for row in sample[:_TITLE_ROWS]]
    there = len(set(wanted) & set(names))
    for place, row in enumerate(rows):
        if len(set(wanted) & set(_with_above(row, names))) > there:
            return place
    is_title = sum(bool(name.strip()) for name in names) == 1
    wide = [sum(map(bool, row)) for row in rows]
    full = max(wide, default=0)
    return wide.index(full) if is_title and full > 1 and wide.count(full) > 1 else None


def _below(names: Sequence[str], sample: Sequence[Sequence[Any]], options: ReadOptions, place: int) -> FoundColumns:
    """The columns by the names that are below the first row."""
    merged = _with_above([str(value or "").strip() for value in sample[place]], names)
    found = find_columns(merged, sample[place + 1 :], options)
    problem = Finding(
        "header-row",
        f"the names of the columns are not in the first row ({', '.join(map(repr, names))}) but "
        f"{counted(place + 1, 'row')} below it: {', '.join(map(repr, merged))}. Delete titles and undo merged cells "
        "above the data, so that the first row has one name per column.",
    )
    return FoundColumns(found.names, found.places, place + 1 + found.skip, [problem, *found.problems], found.suggestion)


def _with_above(row: Sequence[str], names: Sequence[str]) -> list[str]:
    """The names in a row, and where it has none, those in the first row."""
    above = [*names, *[""] * (len(row) - len(names))]
    return [name or above[column].strip() for column, name in enumerate(row)]


def _data_in_header(names: Sequence[str], sample: Sequence[Sequence[Any]]) -> int | None:
    """A column whose name is one of the few values that it has: the first row is data then."""
    for place, name in enumerate(names):
        values = [row[place] for row in sample if place < len(row)]
        if name.strip() and name in values and len(set(map(str, values))) <= max(2, len(values) // 2):
            return place
    return None


def _no_header(names: Sequence[str], value: str, options: ReadOptions) -> Finding:
    shown = ", ".join(repr(name if len(name) <= 20 else f"{name[:20]}…") for name in names)
    return Finding(
        "no-header",
        f"the first row, {shown}, seems to be data, since {value!r} is also a value below it. Add a first row with the "
        f"names of the columns, such as {', '.join(options.columns)}.",
    )


def _repeated(name: str, names: Sequence[str], noun: str) -> Finding:
    return Finding(
        "repeated-column",
        f"there are {names.count(name)} {noun}s named {name!r}. The {noun}s are: {', '.join(map(repr, names))}. Rename "
        f"all but one. {_CHOOSE}",
    )


def _missing(
    missing: list[str],
    names: Sequence[str],
    places: list[int | None],
    options: ReadOptions,
    *,
    noun: str,
    suggestion: str,
) -> Finding:
    alike = [
        f" {names[place]!r} differs from {name!r} only in width, case, white space or invisible characters."
        for name, place in zip(options.columns, places, strict=True)
        if name in missing and place is not None
    ]
    remedy = f"Probably: {suggestion}." if suggestion and not alike else _CHOOSE
    other = next((one for one in DELIMITERS if one in names[0]), None) if len(names) == 1 else None
    if other is not None:
        remedy = f"They seem to be separated by {DELIMITERS[other]}: leave --delimiter out, or name that."
    return Finding(
        "missing-column",
        f"there is no {noun} named {' or '.join(map(repr, missing))}. The {noun}s are: {', '.join(map(repr, names))}."
        f"{''.join(alike)} {remedy}",
    )


_CHOOSE = "Name the right ones with --text-column, --label-column and --group-column."
