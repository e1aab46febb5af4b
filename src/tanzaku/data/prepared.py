"""Prepared data on disk: `train.csv`, `val.csv`, `test.csv` and, written last, the `manifest.json` that vouches for
them. Equal data and options give equal bytes, on every machine."""

import csv
import hashlib
import io
import json
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.options import ReadOptions
from tanzaku.data.readers import read_documents
from tanzaku.errors import DataError
from tanzaku.files import write_atomically

SPLITS = ("train", "val", "test")
MANIFEST = "manifest.json"
_FORMAT = "tanzaku-data"
_HEADER = b'"text","label"'
_CLEANING = "text"  # the option that names how Livedoor's articles, and the sample's, were made into texts
_VERSION = 1
_GROUP = "group"


@dataclass(frozen=True)
class Preparation:
    """A data set with what its manifest says about how it came to be."""

    dataset: Dataset
    source: dict[str, Any]
    """Where the documents came from: names and checksums, no path of this machine."""
    options: dict[str, Any]
    """How they were read, cleaned and split."""
    dropped: dict[str, int] = field(default_factory=dict)
    """What was left out, each with its number: rows that the user asked to drop, files that are not documents."""
    changed: dict[str, int] = field(default_factory=dict)
    """The number of texts that `tanzaku.data.characters` changed, by source."""
    renamed: dict[str, str] = field(default_factory=dict)
    """{label as written: its class}, where labels were merged."""
    notes: tuple[str, ...] = ()
    """What was done, for people; not in the manifest."""


def write_prepared(preparation: Preparation, folder: Path, *, force: bool = False) -> dict[str, Any]:
    """Write the three splits and the manifest into `folder`; nothing is touched where it has them all already.

    Args:
        preparation: What to write.
        folder: Made where it is missing.
        force: Replace prepared data that differs.

    Returns:
        The manifest.

    Raises:
        DataError: `folder` holds other prepared data, and `force` is off; or it is a file.
    """
    contents = {f"{split}.csv": _csv_bytes(getattr(preparation.dataset, split)) for split in SPLITS}
    manifest = _manifest(preparation, contents)
    contents[MANIFEST] = (json.dumps(manifest, ensure_ascii=False, indent=2) + "\n").encode("utf-8")
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: is a file. Name a folder with --out.")
    present = [name for name in contents if (folder / name).exists()]
    differing = [name for name in present if (folder / name).read_bytes() != contents[name]]
    if differing and not _is_prepared(folder):
        raise DataError(
            f"{folder}: holds other files already ({', '.join(differing)}), which `tanzaku data` does not seem to have "
            "written. Name another folder with --out, or remove them."
        )
    if differing and not force:
        raise DataError(
            f"{folder}: holds other data already ({', '.join(differing)}). Name another folder with --out, or pass "
            "--force to replace it."
        )
    if differing:
        # With this in place of its manifest, a mixture of old and new is never read.
        write_atomically(folder / MANIFEST, json.dumps({"format": _FORMAT, "replaced": differing}) + "\n")
    for name, content in contents.items():
        if name in differing or name not in present or (differing and name == MANIFEST):
            write_atomically(folder / name, content)
    return manifest


def _is_prepared(folder: Path) -> bool:
    """Whether a folder has the manifest of prepared data or, where that is damaged or was not written yet, files that
    begin as its files do."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        files = [path for split in SPLITS if (path := folder / f"{split}.csv").is_file()]
        return bool(files) and all(path.read_bytes().startswith(_HEADER) for path in files)
    return isinstance(content, dict) and content.get("format") == _FORMAT


def read_prepared(folder: Path, *, test: bool = True) -> Dataset:
    """Read a folder that `write_prepared` wrote, to the character, and check every file against the manifest.

    Args:
        folder: The folder.
        test: Without it, the test split is left alone: its file may be missing, and the result has none of it.

    Raises:
        DataError: The folder has no manifest, a file is missing or was changed, or they don't belong together.
    """
    manifest = read_manifest(folder)
    documents = {split: _read_split(folder, split, manifest) for split in SPLITS if test or split != "test"}
    dataset = Dataset(
        name=str(manifest.get("name")),
        train=documents["train"],
        val=documents["val"],
        test=documents.get("test", Documents((), ())),
        label_names=tuple(sorted(set(documents["train"].labels))),
        published=_CLEANING in dict(manifest.get("options") or {}),
    )
    # The fingerprint is that of all three splits.
    fits = dataset.fingerprint == manifest.get("fingerprint") or not test
    if list(dataset.label_names) != manifest.get("label_names") or not fits:
        raise DataError(f"{folder / MANIFEST}: does not fit the data next to it. Prepare the data again.")
    return dataset


def _preparing(folder: Path) -> str:
    """The command that prepares what the name of a missing folder promises."""
    if "livedoor" not in folder.name.lower():
        return "`tanzaku data import`"
    text = " --text unsigned" if "unsigned" in folder.name else ""
    split = " --split-duplicates" if "split" in folder.name else ""
    return f"`tanzaku data livedoor{text}{split} --out {shlex.quote(str(folder))}`"


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a prepared folder.

    Raises:
        DataError: There is none, or it is of a version that this Tanzaku does not know.
    """
    path = folder / MANIFEST
    if not folder.exists():
        raise DataError(
            f"{folder}: there is no such folder. Check the path, or prepare data with {_preparing(folder)}."
        )
    if not path.is_file():
        raise DataError(
            f"{folder}: not prepared data (there is no {MANIFEST}). Prepare some with `tanzaku data livedoor`, "
            "`tanzaku data import` or `tanzaku data sample`."
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is damaged: {error}. Prepare the data again.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise DataError(f"{path}: is not the manifest of prepared data. Prepare the data again, in another folder.")
    if "replaced" in manifest:
        raise DataError(f"{folder}: replacing its data was interrupted. Prepare the data again.")
    if manifest.get("version") != _VERSION:
        raise DataError(
            f"{path}: has version {manifest.get('version')!r}; this Tanzaku reads version {_VERSION}. "
            "Prepare the data again, or use the Tanzaku that wrote it."
        )
    return manifest


def _read_split(folder: Path, split: str, manifest: dict[str, Any]) -> Documents:
    path = folder / f"{split}.csv"
    if not path.is_file():
        raise DataError(f"{path}: is missing. Prepare the data again.")
    files = manifest.get("files")
    expected = files.get(path.name) if isinstance(files, dict) else None
    if not isinstance(expected, dict) or hashlib.sha256(path.read_bytes()).hexdigest() != expected.get("sha256"):
        raise DataError(
            f"{path}: is not the file that {MANIFEST} vouches for (its SHA-256 differs): it was edited, or its line "
            "breaks were converted. Prepare the data again, or bring your own changes in with `tanzaku data import`."
        )
    grouped = split in dict(manifest.get("groups") or {})
    rows = read_documents(path, options=ReadOptions(delimiter=",", group_column=_GROUP if grouped else None))
    groups = tuple(group or None for group in rows.groups) if grouped else None
    return Documents(tuple(rows.texts), tuple(rows.labels), groups=groups)


def _csv_bytes(documents: Documents) -> bytes:
    """Columns `text` and `label`, and `group` if there are groups; every field in quotes: no text can be taken for
    anything else than a text."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
    columns: dict[str, Sequence[str]] = {"text": documents.texts, "label": documents.labels}
    if documents.groups is not None:
        columns[_GROUP] = [group or "" for group in documents.groups]
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return stream.getvalue().encode("utf-8")


def _manifest(preparation: Preparation, contents: dict[str, bytes]) -> dict[str, Any]:
    dataset = preparation.dataset
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "name": dataset.name,
        "source": preparation.source,
        "options": preparation.options,
        "dropped": preparation.dropped,
        "changed": preparation.changed,
        "renamed": preparation.renamed,
        "label_names": list(dataset.label_names),
        "counts": counts_of(dataset),
        **({"groups": groups} if (groups := _groups_of(dataset)) else {}),
        "files": {
            name: {"rows": len(getattr(dataset, Path(name).stem)), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        },
        "fingerprint": dataset.fingerprint,
    }


def _groups_of(dataset: Dataset) -> dict[str, int]:
    """How many groups the rows of each split are of; only splits whose rows have groups."""
    splits = documents_by_split(dataset).items()
    return {split: len(set(rows.groups) - {None}) for split, rows in splits if rows.groups is not None}


def documents_by_split(dataset: Dataset) -> dict[str, Documents]:
    """The documents of each split by its name."""
    return {split: getattr(dataset, split) for split in SPLITS}


def counts_of(dataset: Dataset) -> dict[str, dict[str, int]]:
    """The rows of each class in each split, e.g. `{"sports": {"train": 25, "val": 6, "test": 11}}`."""
    counted = {split: Counter(getattr(dataset, split).labels) for split in SPLITS}
    return {label: {split: counted[split][label] for split in SPLITS} for label in dataset.label_names}
