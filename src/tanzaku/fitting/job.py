"""What a fit was asked for, and where its files are."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tanzaku.data.dataset import Dataset
from tanzaku.data.loading import load_dataset
from tanzaku.data.prepared import MANIFEST, Preparation, read_manifest, write_prepared
from tanzaku.errors import DataError
from tanzaku.fitting.budgets import Budgets
from tanzaku.fitting.race import FitEvent, Making
from tanzaku.measure.metrics import ChooseBy
from tanzaku.study.listing import RUNS_FOLDER
from tanzaku.words import Language

STUDY_FILE = "study.toml"
DATA_FOLDER = "data"
RUNS = "runs"
_BUNDLE = "bundle"


@dataclass(frozen=True)
class Job:
    """What was asked for; see `tanzaku.fitting.run.fit`."""

    name: str
    """The study's."""
    title: str
    """The documents' name, for people."""
    tidied: tuple[str, ...]
    """What was left out of the documents, and done about their labels, in sentences."""
    folder: Path
    """The study's."""
    out: Path
    """The bundle's."""
    whole: Dataset
    """With the test documents."""
    folds: tuple[Dataset, ...]
    only_trained: int
    """How many of the documents are trained on in every fold; see `tanzaku.fitting.splits.Splits`."""
    without_test: tuple[str, ...]
    """The classes that the test set has no documents of."""
    budgets: Budgets
    margin: float
    minutes: float
    seed: int
    choose_by: ChooseBy
    shared_encoder: bool
    shared_dictionary: bool
    language: Language
    """Of the report and the bundle's model card."""
    listener: Callable[[FitEvent], None]
    making: Making
    """What trains the candidates."""
    retry_failed: bool
    """Make runs again that failed before."""
    force: bool
    """Replace a bundle that lies in `out`."""


def study_name(name: str) -> str:
    """A study's name from that of the documents, which may have any characters."""
    return _plain(name, "A-Za-z0-9")


def folders(study: str | Path | None, out: str | Path | None, *, name: str) -> tuple[Path, Path]:
    """The study's folder and the bundle's, by the name of the documents where none is given."""
    if study is not None:
        folder = Path(study)
    else:
        own = RUNS_FOLDER / ("fit-" + _plain(name, r"\w"))
        folder = own if out is None else Path(f"{Path(out)}-study")
    return folder, folder / _BUNDLE if out is None else Path(out)


def _plain(name: str, characters: str) -> str:
    """A name with only these characters, dots, underscores and hyphens."""
    return re.sub(rf"[^{characters}._-]+", "-", name).strip("-._") or "fit"


def prepare(whole: Dataset, folder: Path) -> Dataset:
    """Write the documents with their test split into the study's folder, where its study file finds them.

    Raises:
        DataError: The folder holds a fit of other documents.
    """
    data, name = folder / DATA_FOLDER, whole.name
    if (data / MANIFEST).exists():
        before = read_manifest(data)
        if before.get("fingerprint") != whole.fingerprint:
            raise DataError(
                f"{folder} holds a fit of other documents, or with another seed; name another folder for the study "
                "(--study), or remove it"
            )
        whole = replace(whole, name=before.get("name", whole.name))  # the same documents in a file that was renamed
    write_prepared(Preparation(whole, source={}, options={}), data)
    return replace(load_dataset(data), name=name)
