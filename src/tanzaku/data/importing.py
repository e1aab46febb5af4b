"""The user's own documents, split already or to be split, into prepared data."""

import warnings
from dataclasses import replace
from pathlib import Path

from tanzaku.data.characters import clean_text, describe_changes
from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.decoding import readable_name
from tanzaku.data.prepared import SPLITS, Preparation
from tanzaku.data.raw import RawDocuments, listed
from tanzaku.data.readers import ReadOptions, is_table, read_documents
from tanzaku.data.split import Ratios, hold_out, pick, split_documents
from tanzaku.data.validate import (
    check_classes,
    check_rows,
    check_splits,
    empty_rows,
    unlabelled_rows,
    warn_of_shared_texts,
    warn_of_similar_labels,
)
from tanzaku.display import counted
from tanzaku.errors import DataError, TanzakuWarning
from tanzaku.files import sha256_of_file

DEFAULT_RATIOS = Ratios(train=0.8, val=0.1)
DEFAULT_SEED = 42


def import_documents(
    source: Path,
    *,
    name: str | None = None,
    reading: ReadOptions | None = None,
    ratios: Ratios = DEFAULT_RATIOS,
    seed: int = DEFAULT_SEED,
    keep_duplicates_together: bool = True,
    drop_empty: bool = False,
    drop_unlabelled: bool = False,
) -> Preparation:
    """Read one file, or a folder per class, and split it class by class.

    Args:
        source: The file or folder.
        name: What the data set is called; None for the source's name.
        reading: How to read it.
        ratios: The shares of train and val; test gets the rest.
        seed: The seed of the split.
        keep_duplicates_together: Keep rows with the same text on one side of the split.
        drop_empty: Leave rows with an empty text out instead of refusing them.
        drop_unlabelled: Leave rows without a label out instead of refusing them.

    Raises:
        DataError: A row can't be used, or a class has too few rows.
    """
    reading = reading or ReadOptions()
    documents, dropped, changed = _read_checked(source, reading, drop_empty=drop_empty, drop_unlabelled=drop_unlabelled)
    check_classes(documents.labels, texts=documents.texts)
    warn_of_similar_labels(documents.labels)
    dataset = split_documents(
        documents,
        name=readable_name(name or source.stem),
        ratios=ratios,
        seed=seed,
        groups=documents.texts if keep_duplicates_together else None,
    )
    return Preparation(
        dataset=dataset,
        source={"documents": _described(source)},
        options={
            **_reading_options(reading),
            "train_size": ratios.train,
            "val_size": ratios.val,
            "seed": seed,
            "keep_duplicates_together": keep_duplicates_together,
        },
        dropped=dropped,
        changed={"documents": changed},
    )


def import_splits(
    *,
    train: Path,
    test: Path,
    val: Path | None = None,
    name: str | None = None,
    reading: ReadOptions | None = None,
    val_size: float = DEFAULT_RATIOS.val,
    seed: int = DEFAULT_SEED,
    keep_duplicates_together: bool = True,
    drop_empty: bool = False,
    drop_unlabelled: bool = False,
) -> Preparation:
    """Read data that is split already; without a validation set, one is taken from train, class by class.

    Args:
        train: The training documents: a file or a folder per class.
        test: The test documents.
        val: The validation documents; None takes `val_size` of train's rows for it.
        name: What the data set is called; None for the training file's name.
        reading: How to read them, all three the same way.
        val_size: The share of train's rows that a missing `val` gets.
        seed: The seed of that split.
        keep_duplicates_together: Keep rows with the same text on one side of that split.
        drop_empty: Leave rows with an empty text out instead of refusing them.
        drop_unlabelled: Leave rows without a label out instead of refusing them.

    Raises:
        DataError: A row can't be used, or val or test has a class that train does not have.
    """
    reading = reading or ReadOptions()
    sources = {"train": train, "test": test} | ({} if val is None else {"val": val})
    splits: dict[str, Documents] = {}
    dropped: dict[str, int] = {}
    changed: dict[str, int] = {}
    for split, path in sources.items():
        splits[split], left_out, changed[split] = _read_checked(
            path, reading, drop_empty=drop_empty, drop_unlabelled=drop_unlabelled
        )
        dropped |= {f"{split}: {reason}": count for reason, count in left_out.items()}
    options = _reading_options(reading)
    if val is None:
        whole = splits["train"]
        groups = whole.texts if keep_duplicates_together else None
        kept, taken = hold_out(whole.labels, share=val_size, seed=seed, groups=groups)
        splits["train"], splits["val"] = pick(whole, kept), pick(whole, taken)
        options |= {"val_size": val_size, "seed": seed, "keep_duplicates_together": keep_duplicates_together}
    dataset = _checked_dataset(splits, name=readable_name(name or train.stem))
    described = {split: _described(path) for split, path in sources.items()}
    return Preparation(dataset=dataset, source=described, options=options, dropped=dropped, changed=changed)


def _checked_dataset(splits: dict[str, Documents], *, name: str) -> Dataset:
    check_classes(splits["train"].labels, texts=splits["train"].texts)
    warn_of_similar_labels(label for split in SPLITS for label in splits[split].labels)
    dataset = Dataset(
        name=name,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        label_names=tuple(sorted(set(splits["train"].labels))),
    )
    check_splits(dataset)
    warn_of_shared_texts(dataset)
    return dataset


_SPLIT_NAMES = {"train": ("train",), "val": ("val", "valid", "validation", "dev"), "test": ("test",)}


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


def _read_checked(
    source: Path, reading: ReadOptions, *, drop_empty: bool, drop_unlabelled: bool
) -> tuple[Documents, dict[str, int], int]:
    """The documents of a source, what was dropped, and how many texts were changed."""
    raw = read_documents(source, options=reading, check=False)
    if raw.unread:
        were = f"{counted(len(raw.unread), 'file')} {'was' if len(raw.unread) == 1 else 'were'}"
        warnings.warn(
            f"{source}: {were} not read as documents: {listed(raw.unread)}. "
            "Documents are the files that end in .txt, in one folder a class.",
            TanzakuWarning,
            stacklevel=3,
        )
    raw, changed = _cleaned(raw, source)
    dropped = {"files not read as documents": len(raw.unread)} if raw.unread else {}
    if drop_empty:
        raw, dropped["rows with an empty text"] = _without(raw, empty_rows(raw))
    if drop_unlabelled:
        raw, dropped["rows without a label"] = _without(raw, unlabelled_rows(raw))
    if not len(raw) and not raw.faults:
        raise DataError(f"{source}: holds no documents once those that were to be dropped are gone ({dropped}).")
    check_rows(raw)
    return Documents(tuple(raw.texts), tuple(raw.labels)), dropped, changed


def _cleaned(raw: RawDocuments, source: Path) -> tuple[RawDocuments, int]:
    texts = list(map(clean_text, raw.texts))
    rows = [row for row, text in enumerate(raw.texts) if text != texts[row]]
    if rows:
        places = listed([raw.places[row] for row in rows])
        warnings.warn(
            f"{source}: {describe_changes(raw.texts, texts)}: {places}.",
            TanzakuWarning,
            stacklevel=4,
        )
    return replace(raw, texts=texts), len(rows)


def _without(raw: RawDocuments, rows: list[int]) -> tuple[RawDocuments, int]:
    excluded = set(rows)
    kept = [row for row in range(len(raw)) if row not in excluded]
    texts, labels, places = ([column[row] for row in kept] for column in (raw.texts, raw.labels, raw.places))
    return replace(raw, texts=texts, labels=labels, places=places), len(excluded)


def _described(source: Path) -> dict[str, str]:
    return (
        {"folder": readable_name(source.name)}
        if source.is_dir()
        else {"file": readable_name(source.name), "sha256": sha256_of_file(source)}
    )


def _reading_options(reading: ReadOptions) -> dict[str, object]:
    return {
        "format": reading.format,
        "text_column": reading.text_column,
        "label_column": reading.label_column,
        "encoding": reading.encoding,
        "quotes": reading.quotes,
        "skip": list(reading.skip),
    }
