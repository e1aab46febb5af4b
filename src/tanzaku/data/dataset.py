"""Documents with labels, and the three splits that a study reads."""

import hashlib
import struct
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

SAMPLE = "sample"


@dataclass(frozen=True)
class Documents:
    """Labelled documents, column by column; row i is `texts[i]` with `labels[i]`.

    `weights[i]` says how much the row counts in training: a row of weight 2 as much as two rows of weight 1. None where
    all count alike. Measures and intervals always count rows.

    `groups[i]` names the row's group, such as a customer: rows of a group are not independent of each other. None is a
    row without one, or a table without groups.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    weights: tuple[float, ...] | None = None
    groups: tuple[str | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Dataset:
    """The three splits of a task. `label_names` is in alphabetical order; a label's index in it is its class.

    `source` is where `load_dataset` finds it from every folder: a folder's absolute path, or "sample"; None for data
    that was made in Python. `published`: the texts are defined to the character by whoever published them or their
    results, such as Livedoor's by the thesis's script, and are used as they are; others are read as
    `tanzaku.data.characters` says.
    """

    name: str
    train: Documents
    val: Documents
    test: Documents
    label_names: tuple[str, ...]
    source: str | None = field(default=None, compare=False)
    published: bool = False

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every text, label, weight and group of the splits, in order: equal data, equal fingerprint."""
        digest = hashlib.sha256()
        for split in (self.train, self.val, self.test):
            digest.update(len(split).to_bytes(8, "little"))
            for value in (*split.texts, *split.labels, *(group or "" for group in split.groups or ())):
                encoded = value.encode("utf-8")
                digest.update(len(encoded).to_bytes(8, "little"))
                digest.update(encoded)
            if split.weights is not None:
                digest.update(struct.pack(f"<{len(split)}d", *split.weights))
        return digest.hexdigest()


def absolute_source(source: str) -> str:
    """A source that `load_dataset` finds from every folder: a local folder's absolute path, or "sample" as it is."""
    folder = Path(source)
    return str(folder.resolve()) if source != SAMPLE and folder.is_dir() else source
