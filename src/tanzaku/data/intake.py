"""Labelled documents as people have them: read, checked and tidied, with everything that was found in them at once.

`read_labelled` is the entry for one source. `read_parts` does the same for the files of data that is split already,
whose labels are tidied together.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tanzaku.data import labels as of_labels
from tanzaku.data.characters import clean_text, describe_changes
from tanzaku.data.dataset import Documents
from tanzaku.data.findings import Finding, has_errors
from tanzaku.data.grouping import same_text, together
from tanzaku.data.options import ReadOptions
from tanzaku.data.raw import RawDocuments, listed, reading_problems
from tanzaku.data.readers import Source, options_without_effect, read_documents, source_of
from tanzaku.data.validate import empty_rows, row_problems, unlabelled_rows, unusable_rows
from tanzaku.display import counted
from tanzaku.errors import DataError

SMALL_CLASSES = "rows of classes with fewer than"
"""How the reason begins for which rows of small classes were dropped; a note names the classes."""
_SEVERAL_LABELS = "rows whose text has several labels"


@dataclass
class LabelledRows:
    """The usable rows of a source, column by column.

    Attributes:
        texts: Row i's text, as `tanzaku.data.characters` reads it.
        labels: Row i's class.
        places: Where row i is in the source.
        groups: Row i's group, None where its cell is empty; empty if no column has groups.
        dropped: What was left out, each with its number.
        changed: The number of texts whose control or invisible characters were changed.
        renamed: {label as written: label}, where `normalize_labels` and `merge_small` changed some.
        suggestion: Options that name other columns, where others look like texts and labels; for errors.
    """

    texts: list[str]
    labels: list[str]
    places: list[str]
    groups: list[str | None] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    changed: int = 0
    renamed: dict[str, str] = field(default_factory=dict)
    suggestion: str = ""
    keys: list[str] = field(init=False)
    """What texts that read alike have in common."""

    def __post_init__(self) -> None:
        self.keys = list(map(same_text, self.texts))

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def documents(self) -> Documents:
        """Texts and labels, and the groups if a column has them."""
        groups = tuple(self.groups) if self.groups else None
        return Documents(tuple(self.texts), tuple(self.labels), groups=groups)

    def together(self, *, duplicates: bool = True) -> list[int] | None:
        """Numbers of the rows, equal for those that a split must not separate; None if it may separate all.

        Args:
            duplicates: Keep rows with the same text together, in addition to those of one group.
        """
        columns: list[Sequence[str | None]] = [self.groups] if self.groups else []
        columns += [self.keys] if duplicates else []
        return together(*columns) if columns else None

    def keep(self, rows: Sequence[int]) -> None:
        """Leave out all rows but these."""
        columns: tuple[list[Any], ...] = (self.texts, self.labels, self.places, self.groups, self.keys)
        for column in columns:
            column[:] = [column[row] for row in rows] if column else []

    def rename(self, names: Mapping[str, str]) -> None:
        """Give labels other names, and note which.

        Args:
            names: {label: name}; labels that it does not have keep theirs.
        """
        self.renamed = {label: names.get(name, name) for label, name in self.renamed.items()}
        self.renamed |= {label: names[label] for label in dict.fromkeys(self.labels) if label in names}
        self.labels[:] = [names.get(label, label) for label in self.labels]

    def drop(self, rows: Sequence[int], reason: str) -> None:
        """Leave rows out, and count them under a reason."""
        excluded = set(rows)
        self.keep([row for row in range(len(self)) if row not in excluded])
        if rows:
            self.dropped[reason] = len(rows)


def read_labelled(source: Any, options: ReadOptions | None = None) -> tuple[LabelledRows, list[Finding]]:
    """Read labelled documents, and find out everything that is wrong with them.

    Nothing is raised for what is wrong with rows, columns or labels: `tanzaku.data.findings.raise_errors` does that,
    after other findings were added. Rows that can't be used are not in the result.

    Args:
        source: A file (CSV, .xlsx, JSONL, Parquet) or a folder per class; a DataFrame of pandas or polars, a table of
            pyarrow, a `Dataset` of Hugging Face; pairs (text, label); or a `tanzaku.data.readers.Source`.
        options: How to read it, and what to do about rows and labels.

    Returns:
        The usable rows, and the findings: problems, warnings, and notes on what was done.

    Raises:
        DataError: The source does not exist, or nothing at all can be read from it.
    """
    parts, findings = read_parts({"": source}, options)
    return parts[""], findings


def read_parts(
    sources: Mapping[str, Any], options: ReadOptions | None = None
) -> tuple[dict[str, LabelledRows], list[Finding]]:
    """Read several sources of one data set, such as the files of its splits; see `read_labelled`.

    Labels are tidied together: a class is small by its rows in all sources.

    Args:
        sources: By the names of the splits.
        options: For all of them.

    Raises:
        DataError: As `read_labelled`, if there is only one source; of several, what can't be read is a finding too.
    """
    options = options or ReadOptions()
    parts: dict[str, LabelledRows] = {}
    findings: list[Finding] = []
    given = {name: source_of(source) for name, source in sources.items()}
    for name, source in given.items():
        try:
            parts[name], found = _read_part(source, options)
        except DataError as error:
            if len(sources) == 1:
                raise
            parts[name], found = LabelledRows([], [], []), [Finding("unreadable", str(error))]
        findings += found
    if not has_errors(findings):
        _refuse_without_effect(list(given.values()), options)
    filled = [name for name, rows in parts.items() if len(rows)]
    findings += _tidy_labels(parts, options, name=next(iter(given.values())).name)
    if not has_errors(findings):
        findings += [
            _emptied(parts[name], options, source=name or given[name].name) for name in filled if not parts[name]
        ]
    return parts, findings


def _emptied(rows: LabelledRows, options: ReadOptions, *, source: str) -> Finding:
    """The problem that options about labels left out all rows."""
    given = {_SEVERAL_LABELS: "--conflicts drop", _small_rows(options): f"--drop-small {options.drop_small}"}
    left_out = [
        f"{option} left out {counted(rows.dropped[reason], 'row')}"
        for reason, option in given.items()
        if reason in rows.dropped
    ]
    message = f"there are no documents left: {' and '.join(left_out)}. Leave these options out, or correct the labels."
    return Finding("empty-split", message, source=source)


def _refuse_without_effect(sources: Sequence[Source], options: ReadOptions) -> None:
    """Refuse options that have an effect on none of the sources: what somebody meant by them would be missing."""
    useless, *more = (options_without_effect(source, options) for source in sources)
    useless = [name for name in useless if all(name in others for others in more)]
    if useless:
        them = "it" if len(useless) == 1 else "them"
        raise DataError(f"{sources[0].name}: {', '.join(useless)} can't have an effect on this. Leave {them} out.")


def tidied(dropped: Mapping[str, int], notes: Iterable[str]) -> list[str]:
    """What was left out, with its number, and what else was done about rows and labels, in sentences.

    Args:
        dropped: The number of rows by the reason, such as "rows with an empty text" or "test: rows without a label".
        notes: Of what was done. They name the small classes that were left out.
    """
    said = []
    for reason, count in dropped.items():
        if SMALL_CLASSES in reason:
            continue
        split, colon, what = reason.rpartition(": ")
        noun, _, rest = what.partition(" ")
        said.append(f"Left out: {split}{colon}{counted(count, noun.removesuffix('s'))} {rest}.")
    return [*said, *(f"{note[:1].upper()}{note[1:]}" for note in notes)]


def _read_part(given: Source, options: ReadOptions) -> tuple[LabelledRows, list[Finding]]:
    raw = read_documents(given, options=options, check=False)
    findings = reading_problems(raw)
    if raw.unread:
        were = f"{counted(len(raw.unread), 'file')} {'was' if len(raw.unread) == 1 else 'were'}"
        message = (
            f"{were} not read as documents: {listed(raw.unread)}. Documents are the files that end in .txt, in one "
            "folder a class."
        )
        findings.append(Finding("unread-files", message, "warning"))
    texts = [clean_text(text) for text in raw.texts]
    changed = [row for row, text in enumerate(texts) if text != raw.texts[row]]
    if changed:
        places = listed([raw.places[row] for row in changed])
        findings.append(Finding("characters", f"{describe_changes(raw.texts, texts)}: {places}.", "warning"))
    raw = replace(raw, texts=texts)
    rows, problems = _usable(raw, options)
    rows.changed = len(changed)
    findings += problems
    if not len(rows) and not has_errors(findings):
        dropped = ", ".join(f"{name}: {count:,}" for name, count in rows.dropped.items() if count)
        raise DataError(f"{given.name}: holds no documents. What was left out: {dropped}.")
    return rows, [replace(finding, source=given.name) for finding in findings]


def _usable(raw: RawDocuments, options: ReadOptions) -> tuple[LabelledRows, list[Finding]]:
    """The rows that can be used, and what is wrong with the others."""
    dropped = {"files not read as documents": len(raw.unread)} if raw.unread else {}
    if raw.blank:
        dropped["rows with only empty cells"] = raw.blank
    for wanted, rows_of, reason in (
        (options.drop_empty, empty_rows, "rows with an empty text"),
        (options.drop_unlabelled, unlabelled_rows, "rows without a label"),
    ):
        if wanted:
            excluded = rows_of(raw)
            dropped[reason] = len(excluded)
            raw = raw.without(excluded)
    findings = row_problems(raw)
    raw = raw.without(unusable_rows(raw))
    groups = [group.strip() or None for group in raw.groups]
    if None in groups:
        places = listed([place for place, group in zip(raw.places, groups, strict=True) if group is None])
        message = f"{counted(groups.count(None), 'row')} without a group can be in any split: {places}."
        findings.append(Finding("no-group", message, "warning"))
    findings += of_labels.missing_groups(groups)
    rows = LabelledRows(raw.texts, raw.labels, raw.places, groups, dropped, suggestion=raw.suggestion)
    return rows, findings


def _tidy_labels(parts: dict[str, LabelledRows], options: ReadOptions, *, name: str) -> list[Finding]:
    """Rename, merge and drop labels as the options say; what was done, and what is wrong with the labels."""
    source = name if len(parts) == 1 else ""
    joined, findings = of_labels.joined_labels([label for rows in parts.values() for label in rows.labels])
    for rows in parts.values():
        rows.keep([row for row, label in enumerate(rows.labels) if label not in joined])
    labels = [label for rows in parts.values() for label in rows.labels]
    texts = [text for rows in parts.values() for text in rows.texts]
    suggestion = next((rows.suggestion for rows in parts.values()), "")
    fewest = options.merge_small[0] if options.merge_small else options.drop_small or 0
    counts = Counter(labels)
    # Those of many small classes look like texts, but are going to be merged or left out.
    large: Sequence[int] = [row for row, label in enumerate(labels) if counts[label] >= fewest]
    if len({labels[row] for row in large}) < 2:
        large = range(len(labels))
    wrong_column = of_labels.not_labels(
        [labels[row] for row in large], [texts[row] for row in large], suggestion=suggestion
    )
    if any(finding.kind == "swapped-columns" for finding in wrong_column):
        findings = []  # texts with commas are no labels
    findings += wrong_column
    findings += of_labels.not_texts(texts, suggestion=suggestion)
    if not wrong_column:
        findings += _rename(parts, options)
        findings += _conflicts(parts, options)
        findings += _merge_small(parts, options)
        findings += _without_small(parts, options)
        findings += of_labels.one_class([label for rows in parts.values() for label in rows.labels])
    return [replace(finding, source=source) for finding in findings]


def _rename(parts: dict[str, LabelledRows], options: ReadOptions) -> list[Finding]:
    counts = Counter(label for rows in parts.values() for label in rows.labels)
    findings = of_labels.missing_values(counts.elements())
    findings += [] if options.normalize_labels else of_labels.similar_labels(counts.elements())
    names = of_labels.spellings(counts.elements()) if options.normalize_labels else {}
    for rows in parts.values():
        rows.rename(names)
    return findings + of_labels.renamed_labels(names, counts)


def _merge_small(parts: dict[str, LabelledRows], options: ReadOptions) -> list[Finding]:
    if options.merge_small is None:
        return []
    fewest, merged = options.merge_small
    small = {label: size for label, size in _small(parts, fewest).items() if label != merged}
    for rows in parts.values():
        rows.rename(dict.fromkeys(small, merged))
    return _about_small(small, "merged-classes", f"classes of fewer than {fewest} rows became {merged!r}")


def _without_small(parts: dict[str, LabelledRows], options: ReadOptions) -> list[Finding]:
    if options.drop_small is None:
        return []
    small = _small(parts, options.drop_small)
    for rows in parts.values():
        rows.drop([row for row, label in enumerate(rows.labels) if label in small], _small_rows(options))
    return _about_small(small, "dropped-classes", f"classes of fewer than {options.drop_small} rows were left out")


def _small_rows(options: ReadOptions) -> str:
    """The reason for which rows of small classes are dropped."""
    return f"{SMALL_CLASSES} {options.drop_small} rows"


def _small(parts: dict[str, LabelledRows], fewest: int) -> dict[str, int]:
    """The classes of fewer rows, and how many these are, in all parts together."""
    sizes = Counter(label for rows in parts.values() for label in rows.labels)
    return {label: size for label, size in sorted(sizes.items()) if size < fewest}


def _about_small(small: Mapping[str, int], kind: str, done: str) -> list[Finding]:
    """A note on what was done about small classes, if there are any."""
    shown = listed([f"{of_labels.short(label)} ({counted(size, 'row')})" for label, size in small.items()])
    return [Finding(kind, f"{done}: {shown}.", "note")] if small else []


def _conflicts(parts: dict[str, LabelledRows], options: ReadOptions) -> list[Finding]:
    """What is done about texts that have several labels, and a note on texts that occur several times."""
    labels_of: defaultdict[str, dict[str, str]] = defaultdict(dict)
    counts: Counter[str] = Counter()
    for split, rows in parts.items():
        for key, label, place in zip(rows.keys, rows.labels, rows.places, strict=True):
            counts[key] += 1
            labels_of[key].setdefault(label, f"{split} {place}".strip())
    several = {key: found for key, found in labels_of.items() if len(found) > 1}
    repeated = [count for count in counts.values() if count > 1]
    findings = []
    if repeated:
        texts = counted(len(repeated), "text occurs", "texts occur")
        findings.append(Finding("duplicates", f"{texts} more than once ({sum(repeated):,} rows).", "note"))
    if several:
        rows_there = sum(counts[key] for key in several)
        shown = listed(
            [" and ".join(f"{place} {label!r}" for label, place in found.items()) for found in several.values()]
        )
        policy = {
            "keep": "All are kept as they are; --conflicts drop leaves them out",
            "drop": "All were left out, as --conflicts drop says",
        }[options.conflicts]
        has = counted(len(several), "text has", "texts have")
        message = f"{has} several labels ({counted(rows_there, 'row')}): {shown}. {policy}."
        findings.append(Finding("conflicting-labels", message, "warning"))
    if options.conflicts == "drop":
        for rows in parts.values():
            excluded = [row for row, text in enumerate(rows.keys) if text in several]
            rows.drop(excluded, _SEVERAL_LABELS)
    return findings
