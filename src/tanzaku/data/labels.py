"""Labels as people write them: spelled in several ways, several in one cell, texts or numbers in their column, and
classes of a few rows."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from tanzaku.data.characters import show_invisible, without_invisible
from tanzaku.data.findings import Finding
from tanzaku.data.raw import listed
from tanzaku.data.rows import SINGLE_LABEL
from tanzaku.display import counted

_LABEL_WIDTH = 30  # of a label in a message
_SEPARATORS = (";", "；", "、", ",", "，", "|", "｜", "/", "／", "\n")
_FEWEST_ROWS = 20  # below which many different labels say nothing
_FEWEST_TEXTS = 5
_MANY_COPIES = 0.05  # of the rows; a few make no difference to an interval
_OTHERS = "その他"  # the class into which small ones are merged, in messages
_MISSING = frozenset({"nan", "<na>", "n/a", "null", "nat"})  # as pandas and spreadsheets write them


def plain_label(label: str) -> str:
    """A label without what people do not distinguish: width (NFKC), case, white space and invisible characters.

    White space next to a character that is not ASCII is dropped (`返品 交換`), and other white space becomes a space.
    """
    text = unicodedata.normalize("NFKC", without_invisible(label)).casefold()
    return re.sub(r"\s+", " ", re.sub(r"(?<![!-~\s])\s+|\s+(?![!-~\s])", "", text))


def spellings(labels: Iterable[str]) -> dict[str, str]:
    """Every label's name in the spelling of most rows, in NFKC and without white space around it.

    Returns:
        {label: name}, only of labels whose name is another.
    """
    counts = Counter(labels)
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        alike[plain_label(label)].append(label)
    names = {label: _tidy(group[0]) for group in alike.values() for label in group}
    return {label: name for label, name in names.items() if label != name}


def _tidy(label: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", without_invisible(label)).split())


def similar_labels(labels: Iterable[str]) -> list[Finding]:
    """A warning of labels that differ only in case, width, white space or invisible characters."""
    counts = Counter(labels)
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for label in sorted(counts):
        alike[plain_label(label)].append(label)
    groups = [_with_rows(group, counts) for group in alike.values() if len(group) > 1]
    if not groups:
        return []
    message = (
        "labels that differ only in case, width, white space or invisible characters are taken as different classes: "
        f"{listed(groups)}. Pass --normalize-labels if they mean one class."
    )
    return [Finding("similar-labels", message, "warning")]


def renamed_labels(names: Mapping[str, str], counts: Counter[str]) -> list[Finding]:
    """A note on labels that got another name because they differ in spelling only."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for label, name in names.items():
        groups[name].append(label)
    renamed = [f"{_with_rows(sorted(group), counts)} became {name!r}" for name, group in sorted(groups.items())]
    return [Finding("renamed-labels", f"labels in another spelling: {listed(renamed)}.", "note")] if renamed else []


def _with_rows(labels: Sequence[str], counts: Counter[str]) -> str:
    return " and ".join(f"{show_invisible(label)} ({counted(counts[label], 'row')})" for label in labels)


def joined_labels(labels: Sequence[str]) -> tuple[set[str], list[Finding]]:
    """Labels that are several in one, such as `配送;返品` where `配送` and `返品` are labels too, and the problem.

    A label is taken for several if each of its parts is also a part of another label, and some part stands both first
    and later. A separator inside the name of one class is therefore not mistaken, nor is a class below another, such as
    `家電/修理`, `家具/修理` and `家電/部品/修理`.
    """
    counts = Counter(labels)
    for separator in _SEPARATORS:
        parts = {label: _parts(label, separator) for label in counts}
        of = Counter(part for found in parts.values() for part in set(found))
        distinct = [found for found in parts.values() if found and len(set(found)) == len(found)]
        moving = {found[0] for found in distinct} & {part for found in distinct for part in found[1:]}
        joined = [
            label for label, found in parts.items() if len(set(found)) > 1 and all(of[part] > 1 for part in found)
        ]
        if any(moving & set(parts[label]) for label in joined):
            rows = sum(counts[label] for label in joined)
            message = (
                f"{rows:,} of {counted(len(labels), 'row')} {'has' if rows == 1 else 'have'} several labels, joined "
                f"by {separator!r}: {listed([short(label) for label in joined])}. {SINGLE_LABEL}"
            )
            return set(joined), [Finding("several-labels", message)]
    return set(), []


def _parts(label: str, separator: str) -> list[str]:
    return [plain_label(part) for part in label.split(separator) if part.strip()]


def not_labels(labels: Sequence[str], texts: Sequence[str], *, suggestion: str = "") -> list[Finding]:
    """The problem that the column of the labels has texts or numbers.

    Args:
        labels: Row i's label.
        texts: Row i's text.
        suggestion: Options that name other columns, if some look like texts and labels.
    """
    names, different = set(labels), len(set(texts))
    many = f"there are {len(names):,} different labels in {counted(len(labels), 'row')}"
    examples = listed([short(name) for name in sorted(names)])
    remedy = _other_column(suggestion, "--label-column")
    if len(names) > different and sum(map(len, labels)) > sum(map(len, texts)):
        message = (
            f"{many} and only {counted(different, 'different text')}: {examples}. The columns seem to be swapped: name "
            "them with --text-column and --label-column."
        )
        return [Finding("swapped-columns", message)]
    if len(labels) < _FEWEST_ROWS or 2 * len(names) <= len(labels):
        return []
    if sum(map(_is_number, names)) > 0.9 * len(names):
        what = "They are numbers, and Tanzaku assigns classes: replace them by a few ranges, such as 低 and 高."
        return [Finding("numbers", f"{many}: {examples}. {what} {remedy}")]
    return [Finding("text-as-label", f"{many}: {examples}. The column probably has texts and not labels. {remedy}")]


def _other_column(suggestion: str, option: str) -> str:
    return f"Probably: {suggestion}." if option in suggestion else f"Name the right column with {option}."


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def not_texts(texts: Sequence[str], *, suggestion: str = "") -> list[Finding]:
    """The problem that the column of the texts has numbers.

    Args:
        texts: Row i's text.
        suggestion: As for `not_labels`.
    """
    if len(texts) < _FEWEST_ROWS or sum(map(_is_number, texts)) <= 0.9 * len(texts):
        return []
    remedy = _other_column(suggestion, "--text-column")
    examples = listed([short(text) for text in dict.fromkeys(texts)])
    message = f"the texts are numbers: {examples}. The column probably has ids or measurements. {remedy}"
    return [Finding("numbers-as-text", message)]


def missing_values(labels: Iterable[str]) -> list[Finding]:
    """A warning of labels that programs write where there is no value."""
    if not (found := _like_missing_ones(labels)):
        return []
    message = (
        f"{found}: taken as a class, though programs write this where a value is missing. If it is, empty these cells, "
        "and pass --drop-unlabelled."
    )
    return [Finding("missing-values", message, "warning")]


def missing_groups(groups: Iterable[str | None]) -> list[Finding]:
    """A warning of groups that programs write where there is no value."""
    if not (found := _like_missing_ones(group for group in groups if group is not None)):
        return []
    message = (
        f"{found}: taken as one group, though programs write this where a value is missing. If it is, empty these "
        "cells: rows without a group count as independent of each other."
    )
    return [Finding("missing-groups", message, "warning")]


def _like_missing_ones(names: Iterable[str]) -> str:
    counts = Counter(name for name in names if plain_label(name) in _MISSING)
    return (
        listed([f"{short(name)} ({counted(count, 'row')})" for name, count in sorted(counts.items())]) if counts else ""
    )


def few_texts(texts: Sequence[str], labels: Sequence[str]) -> list[Finding]:
    """A warning of classes that have too few different texts to be measured.

    Args:
        texts: What texts that read alike have in common, of row i.
        labels: Row i's label.
    """
    different = Counter(label for _, label in dict.fromkeys(zip(texts, labels, strict=True)))
    sizes = Counter(labels)
    small = [f"{short(label)} has {size}" for label, size in sorted(different.items()) if size < _FEWEST_TEXTS]
    if not small:
        return []
    message = (
        f"classes with fewer than {_FEWEST_TEXTS} different texts can't be measured in each fold: {listed(small)}. "
    )
    few_rows = sizes if min(sizes.values()) < _FEWEST_TEXTS else {}  # the options count rows
    message += remedies("Add documents with other texts", few_rows, fewest=_FEWEST_TEXTS)
    return [Finding("few-texts", message, "warning")]


def repeated_texts(texts: Sequence[str]) -> list[Finding]:
    """A warning that many rows repeat the text of another, by what texts that read alike have in common."""
    copies = len(texts) - len(set(texts))
    if copies <= _MANY_COPIES * len(texts):
        return []
    message = (
        f"{copies:,} of {counted(len(texts), 'row')} repeat the text of another row. Intervals and tests count each "
        "row as an independent document, so they are narrower than they should be. Leave the copies out."
    )
    return [Finding("repeated-texts", message, "warning")]


def one_class(labels: Sequence[str]) -> list[Finding]:
    """The problem that all rows have the same label."""
    names = set(labels)
    if len(names) != 1:
        return []
    message = (
        f"all documents have the label {short(names.pop())}: a classifier needs two classes at least. "
        "Check that --label-column names the right column."
    )
    return [Finding("one-class", message)]


def small_classes(
    sizes: Mapping[str, int], *, needed: int, what: str = "rows", rows: Mapping[str, int] | None = None
) -> list[Finding]:
    """The problem that classes have fewer rows than a split needs.

    Args:
        sizes: The number of rows, or groups of rows that stay together, of each class.
        needed: The smallest number that gives every split one.
        what: What is counted, in words.
        rows: The number of rows of each class, which the options count, where `sizes` has another.
    """
    small = [f"{short(label)} has {size}" for label, size in sorted(sizes.items()) if size < needed]
    if not small:
        return []
    ways = remedies("Add documents", rows or sizes, "change --train-size and --val-size", fewest=needed)
    message = f"a class needs {needed} {what} at least to be split in these ratios: {listed(small)}. {ways}"
    return [Finding("small-class", message)]


def few_groups(
    sizes: Mapping[str, int], *, needed: int, linked: int, apart: Mapping[str, int], rows: Mapping[str, int]
) -> list[Finding]:
    """The problem that classes have documents of fewer groups than there are splits.

    Args:
        sizes: The number of groups of each class; those that have a text in common count as one.
        needed: The number of splits.
        linked: How many groups have a text in common with another.
        apart: The number of groups of each class where each counts.
        rows: The number of rows of each class.
    """
    small = [f"{short(label)} has {size}" for label, size in sorted(sizes.items()) if size < needed]
    if not small:
        return []
    message = f"a class needs documents of {needed} groups at least to be split: {listed(small)}."
    first = "Add documents of other groups"
    if linked:
        message += f" {linked:,} groups are linked by equal texts, and those that are linked count as one."
        if min(apart.values()) >= needed:
            first = "Pass --split-duplicates"
    message += f" {remedies(first, rows, 'name another column with --group-column', fewest=needed)}"
    return [Finding("small-class", message)]


def remedies(first: str, sizes: Mapping[str, int], last: str = "", *, fewest: int) -> str:
    """A sentence of what to do about classes of too few rows, with the options that leave two classes or more.

    Args:
        first: What always helps.
        sizes: The number of rows of each class.
        last: What else helps.
        fewest: The rows that a class needs.
    """
    large = {label for label, size in sizes.items() if size >= fewest}
    if len(large) == len(sizes):  # the options do nothing
        large = set()
    merged = sum(size for label, size in sizes.items() if label not in large or label == _OTHERS)
    merge = f"--merge-small {fewest}:{_OTHERS}" if merged >= fewest and large - {_OTHERS} else ""
    drop = f"--drop-small {fewest}" if len(large) > 1 else ""
    options = " or ".join(filter(None, (merge, drop)))
    ways = [way for way in (first, options and f"pass {options}", last) if way]
    if len(ways) < 2:
        return f"{ways[0]}." if ways else ""
    return f"{', '.join(ways[:-1])}, or {ways[-1]}."


def short(label: str) -> str:
    """A label in a message: quoted, and cut if it is long."""
    return repr(label if len(label) <= _LABEL_WIDTH else f"{label[:_LABEL_WIDTH]}…")
