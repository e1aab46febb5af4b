"""The user's own documents, split already or to be split, into prepared data."""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.decoding import readable_name
from tanzaku.data.findings import Finding, has_errors, report
from tanzaku.data.intake import LabelledRows, read_labelled, read_parts
from tanzaku.data.options import ReadOptions
from tanzaku.data.prepared import Preparation, documents_by_split
from tanzaku.data.raw import listed
from tanzaku.data.readers import Source, is_table, source_of
from tanzaku.data.split import Ratios, Splitter, pick
from tanzaku.data.validate import empty_splits, split_problems, unusual_sizes
from tanzaku.errors import DataError
from tanzaku.files import sha256_of_file

DEFAULT_RATIOS = Ratios(train=0.8, val=0.1)
DEFAULT_SEED = 42


def import_documents(
    source: Any,
    *,
    name: str | None = None,
    reading: ReadOptions | None = None,
    ratios: Ratios = DEFAULT_RATIOS,
    seed: int = DEFAULT_SEED,
    keep_duplicates_together: bool = True,
) -> Preparation:
    """Read documents with labels, and split them class by class.

    Args:
        source: A file (CSV, .xlsx, JSONL, Parquet) or a folder per class; a DataFrame of pandas or polars, a table of
            pyarrow, a `Dataset` of Hugging Face; or pairs (text, label). A folder with files of splits is read by
            `import_splits`.
        name: What the data set is called; None for the source's name.
        reading: How to read it, and what to do about rows and labels.
        ratios: The shares of train and val; test gets the rest.
        seed: The seed of the split.
        keep_duplicates_together: Keep rows with the same text on one side of the split.

    Raises:
        ProblemsError: Rows, columns or labels can't be used, or a class has too few rows: everything at once.
        DataError: The source can't be read at all.
    """
    given, reading = source_of(source), reading or ReadOptions()
    name = name or _name_of(given)
    if files := files_of_splits(given, reading):
        return import_splits(
            **files,
            name=name,
            reading=reading,
            val_size=ratios.val,
            seed=seed,
            keep_duplicates_together=keep_duplicates_together,
        )
    rows, findings = read_labelled(given, reading)
    splitter = _splitter(rows, seed=seed, duplicates=keep_duplicates_together)
    findings += _too_small(splitter, findings, needed=ratios.smallest_class, source=given.name)
    report(findings)
    dataset = splitter.three(rows.documents, name=readable_name(name), ratios=ratios)
    splits = documents_by_split(dataset)
    shares = {"train": ratios.train, "val": ratios.val, "test": ratios.test}
    problems = split_problems(splits) if rows.groups else empty_splits(splits)
    report(problems + unusual_sizes(splits, shares))
    options = reading.as_json() | {"train_size": ratios.train, "val_size": ratios.val}
    options |= {"seed": seed, "keep_duplicates_together": keep_duplicates_together}
    return _prepared(dataset, {"documents": (given, rows)}, options, findings)


def import_splits(
    *,
    train: Any,
    test: Any,
    val: Any = None,
    name: str | None = None,
    reading: ReadOptions | None = None,
    val_size: float = DEFAULT_RATIOS.val,
    seed: int = DEFAULT_SEED,
    keep_duplicates_together: bool = True,
) -> Preparation:
    """Read data that is split already; without a validation set, one is taken from train, class by class.

    Args:
        train: The training documents, as `import_documents` takes them.
        test: The test documents.
        val: The validation documents; None takes `val_size` of train.
        name: What the data set is called; None for the training file's name.
        reading: How to read them, and what to do about rows and labels.
        val_size: The share of each class in train that becomes the validation set.
        seed: The seed of that choice.
        keep_duplicates_together: Keep rows with the same text on one side of it.

    Raises:
        ProblemsError: Rows, columns or labels can't be used, or val or test has a class that train does not have.
        DataError: `val_size` is not a share.
    """
    given = {"train": train, "val": val, "test": test}
    sources = {split: source_of(source) for split, source in given.items() if source is not None}
    parts, findings = read_parts(sources, reading := reading or ReadOptions())
    options = reading.as_json()
    splits = {split: rows.documents for split, rows in parts.items()}
    if val is None:
        options |= {"val_size": val_size, "seed": seed, "keep_duplicates_together": keep_duplicates_together}
        splitter = _splitter(parts["train"], seed=seed, duplicates=keep_duplicates_together)
        findings += _too_small(splitter, findings, needed=splitter.needed(val_size), source="train")
        if not has_errors(findings):
            splits |= (both := _in_two(splitter, splits["train"], share=val_size))
            findings += unusual_sizes(both, {"train": 1 - val_size, "val": val_size})
    if all(map(len, parts.values())):
        findings += split_problems(splits) + _shared_groups(parts)
    report(findings)
    dataset = Dataset(
        name=readable_name(name or _name_of(sources["train"])),
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        label_names=tuple(sorted(set(splits["train"].labels))),
    )
    return _prepared(dataset, {split: (sources[split], rows) for split, rows in parts.items()}, options, findings)


# Where these are found, the sizes of classes mean nothing.
_ABOUT_LABELS = {"text-as-label", "swapped-columns", "numbers", "one-class"}


def _splitter(rows: LabelledRows, *, seed: int, duplicates: bool) -> Splitter:
    return Splitter(rows.labels, rows.together(duplicates=duplicates), groups=rows.groups, seed=seed)


def _in_two(splitter: Splitter, documents: Documents, *, share: float) -> dict[str, Documents]:
    train, val = (pick(documents, rows) for rows in splitter.two(share=share))
    return {"train": train, "val": val}


def _too_small(splitter: Splitter, findings: list[Finding], *, needed: int, source: str) -> list[Finding]:
    """Classes that are too small to be split, unless the labels are wrong as a whole."""
    if not splitter.labels or any(finding.kind in _ABOUT_LABELS for finding in findings):
        return []
    return [replace(problem, source=source) for problem in splitter.problems(needed=needed)]


def _name_of(source: Source) -> str:
    if source.path is None:
        return "documents"
    return source.path.resolve().name if source.path.is_dir() else source.path.stem


def _shared_groups(parts: Mapping[str, LabelledRows]) -> list[Finding]:
    """A warning of groups that are in train and in another split."""
    train = {group for group in parts["train"].groups if group is not None}
    found = []
    for split in ("val", "test"):
        shared = sorted(train & set(parts[split].groups)) if split in parts else []
        if shared:
            message = (
                f"has groups that train has too: {listed(shared)}. The figures on {split} look better than they are."
            )
            found.append(Finding("shared-groups", message, "warning", split))
    return found


def _prepared(
    dataset: Dataset,
    sources: Mapping[str, tuple[Source, LabelledRows]],
    options: dict[str, Any],
    findings: list[Finding],
) -> Preparation:
    prefixes = {split: f"{split}: " if len(sources) > 1 else "" for split in sources}
    return Preparation(
        dataset=dataset,
        source={split: _described(source) for split, (source, _) in sources.items()},
        options=options,
        dropped={
            f"{prefixes[split]}{reason}": count
            for split, (_, rows) in sources.items()
            for reason, count in rows.dropped.items()
        },
        changed={split: rows.changed for split, (_, rows) in sources.items()},
        renamed={label: name for _, rows in sources.values() for label, name in rows.renamed.items()},
        notes=tuple(finding.message for finding in findings if finding.severity == "note"),
    )


_SPLIT_NAMES = {"train": ("train",), "val": ("val", "valid", "validation", "dev"), "test": ("test",)}


def files_of_splits(source: Any, reading: ReadOptions) -> dict[str, Path] | None:
    """The files of a source that is a folder with data that is split already; None if it is something else.

    Raises:
        DataError: See `split_files`.
    """
    path = source_of(source).path
    return split_files(path) if path and path.is_dir() and reading.format != "folder" else None


def split_files(folder: Path) -> dict[str, Path] | None:
    """The files of a folder that is split already, such as train.csv, dev.csv and test.csv; None where it is not.

    A folder of folders, one a class, is not split already where a file of train or test is missing.

    Raises:
        DataError: There are two files for a split, or one of train and test is missing and there is no other folder.
    """
    found = {
        split: [path for name in names for path in sorted(folder.glob(f"{name}.*")) if is_table(path)]
        for split, names in _SPLIT_NAMES.items()
    }
    whole = bool(found["train"] and found["test"])
    if not whole and (not (found["train"] or found["test"]) or any(path.is_dir() for path in folder.iterdir())):
        return None
    for split, paths in found.items():
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise DataError(f"{folder}: holds {names} for {split}. Name the right one with --{split}.")
        if not paths and split != "val":
            there = next(path.name for others in found.values() for path in others)
            raise DataError(f"{folder}: holds {there} and no {split} file. Add it, or name the file itself as SOURCE.")
    return {split: paths[0] for split, paths in found.items() if paths}


def _described(source: Source) -> dict[str, str]:
    if source.path is None:
        return {"given": source.name} | ({} if source.data is None else {"sha256": sha256(source.data).hexdigest()})
    name = readable_name(source.path.name)
    return {"folder": name} if source.path.is_dir() else {"file": name, "sha256": sha256_of_file(source.path)}
