"""Documents with labels, and the three splits that a study reads."""

import hashlib
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Documents:
    """Labelled documents, column by column; row i is `texts[i]` with `labels[i]`."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Dataset:
    """The three splits of a task. `label_names` is in alphabetical order; a label's index in it is its class."""

    name: str
    train: Documents
    val: Documents
    test: Documents
    label_names: tuple[str, ...]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every text and label of the splits, in order: equal data, equal fingerprint."""
        digest = hashlib.sha256()
        for split in (self.train, self.val, self.test):
            digest.update(len(split).to_bytes(8, "little"))
            for field in (*split.texts, *split.labels):
                encoded = field.encode("utf-8")
                digest.update(len(encoded).to_bytes(8, "little"))
                digest.update(encoded)
        return digest.hexdigest()
