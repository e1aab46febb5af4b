"""The soft labels of a fine-tuned classifier: scored once for a study, and found ever after.

    <the study's folder>/teachers/<key>/scores.npy

The key is a hash of the bundle's checksums, the training texts and the further texts.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from filelock import FileLock

from tanzaku.data.characters import check_characters, clean_text
from tanzaku.data.dataset import Dataset
from tanzaku.data.streaming import Remedies, stream_rows
from tanzaku.errors import SpecError
from tanzaku.files import sha256_of_file, write_atomically
from tanzaku.study.record import DistillationFacts
from tanzaku.study.spec import DistillSpec

TEACHERS_FOLDER = "teachers"
_SCORES = "scores.npy"
_KEY_CHARACTERS = 16
_REMEDIES = Remedies(
    text="Name the one with the texts text.",
    quotes="double those within a text, or give the texts as JSON lines",
)
# Bundles are made of runs, so the package that reads them builds on this one; it is looked up by name, as methods of
# other packages are.
_OPENER = EntryPoint("bundle", "tanzaku.ship.teaching:open_teacher", "tanzaku.teachers")


class Teacher(Protocol):
    """A classifier that gives soft labels."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over its files."""
        ...

    @property
    def method(self) -> str:
        """The name of its method."""
        ...

    @property
    def label_names(self) -> tuple[str, ...]:
        """In the order of the scores' columns."""
        ...

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Calibrated logits (texts, labels) float32."""
        ...


@dataclass(frozen=True)
class SoftLabels:
    """A teacher's calibrated logits (training documents and then `texts`, labels) float32, in the order of the data's
    labels."""

    texts: tuple[str, ...]
    scores: np.ndarray
    facts: DistillationFacts

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the teacher and the further texts; each run of a study asks for it."""
        return hashlib.sha256(json.dumps([self.facts.teacher_fingerprint, self.texts]).encode()).hexdigest()


def soft_labels(spec: DistillSpec, *, dataset: Dataset, out: Path) -> SoftLabels:
    """The soft labels of the training texts and of further ones.

    Args:
        spec: Names the teacher and the further texts.
        dataset: Its training texts are scored; no others are.
        out: The study's folder.

    Raises:
        SpecError: The teacher has other labels, or there are no further texts in their file.
        BundleError: The teacher's bundle can't be used.
        DataError: The further texts can't be read.
        OSError: The soft labels can't be written; the error names their file.
    """
    teacher = cast(Teacher, _OPENER.load()(Path(spec.teacher)))
    order = _columns(teacher, dataset, where=spec.teacher)
    texts = _read(Path(spec.texts)) if spec.texts is not None else ()
    sha256 = None if spec.texts is None else sha256_of_file(Path(spec.texts))
    everything = [*dataset.train.texts, *texts]
    key = hashlib.sha256(json.dumps([teacher.fingerprint, dataset.label_names, everything]).encode()).hexdigest()
    folder = out / TEACHERS_FOLDER / key[:_KEY_CHARACTERS]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):  # of several processes, one scores and the others wait
        if not (folder / _SCORES).is_file():
            scores = teacher.scores(everything)[:, order]  # (documents, labels)
            content = io.BytesIO()
            np.save(content, scores, allow_pickle=False)
            write_atomically(folder / _SCORES, content.getvalue())
    facts = DistillationFacts(
        teacher=Path(spec.teacher).name,
        teacher_fingerprint=teacher.fingerprint,
        teacher_method=teacher.method,
        documents=len(texts),
        texts_sha256=sha256,
    )
    return SoftLabels(texts, np.load(folder / _SCORES, allow_pickle=False), facts)


def _columns(teacher: Teacher, dataset: Dataset, *, where: str) -> list[int]:
    """The teacher's columns in the order of the data's labels."""
    ours, theirs = dataset.label_names, teacher.label_names
    if set(ours) != set(theirs):
        missing, other = (sorted(set(a) - set(b)) for a, b in ((ours, theirs), (theirs, ours)))
        differences = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"also has {', '.join(other)}"] * bool(other)
        raise SpecError(
            f"distill: the teacher {where} has other labels than the data {dataset.name}: it "
            f"{' and '.join(differences)}; give a bundle that was trained on the same labels"
        )
    return [theirs.index(label) for label in ours]


def _read(file: Path) -> tuple[str, ...]:
    texts = []
    for number, row in enumerate(stream_rows(file, remedies=_REMEDIES), start=1):
        text = row.text
        check_characters(text, place=f"{file}, text {number}")
        if cleaned := clean_text(text).strip():
            texts.append(cleaned)
    if not texts:
        raise SpecError(f"distill: {file} has no text; give a file with texts, or leave texts out")
    return tuple(texts)
