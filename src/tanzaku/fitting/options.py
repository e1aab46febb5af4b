"""What can be asked of a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import inf
from numbers import Integral, Real
from pathlib import Path
from typing import Any, get_args

from tanzaku.analysis.recommendation import DEFAULT_MARGIN
from tanzaku.data.options import ReadOptions
from tanzaku.encoders.source import EMBEDDED_NAME
from tanzaku.errors import SpecError
from tanzaku.fitting.budgets import Budgets
from tanzaku.fitting.splits import FOLDS
from tanzaku.measure.metrics import DEFAULT_CHOOSE_BY, ChooseBy
from tanzaku.study.engines.options import RayOptions
from tanzaku.words import LANGUAGES, Language


@dataclass(frozen=True)
class FitOptions:
    """The keyword arguments of `tanzaku.fit`.

    Attributes:
        text: The column of the texts.
        label: The column of the labels.
        group: The column of the groups, if there is one; the documents of a group are never on both sides of a split.
        reading: How to read the source, and what to do about rows and labels, instead of these three.
        max_mb: The most megabytes of all files that the classifier needs, with its encoder's and MeCab's dictionary;
            None for no limit.
        max_ms: The most milliseconds for one document, the median on this machine with one thread.
        max_memory_mb: The most megabytes of memory of a process that classifies, with one thread.
        shared_encoder: The encoder is there anyway where the classifier is going to work, and does not count.
        shared_dictionary: MeCab's dictionary is there anyway, and does not count.
        margin: How much worse than the best candidate the recommended one may be, a share; see
            `tanzaku.analysis.selection`.
        minutes: The time budget, of all calls that ask the same together. The final training is not cut off, so that a
            fit may take somewhat longer.
        out: The bundle's folder, new or empty; None takes `bundle` in the study's folder.
        study: The study's folder; None takes `out` with "-study" at the end, or a folder in `runs`.
        encoder: The encoder that methods adapt; None tries only methods that need none.
        candidates: Arms as in a study file, instead of the usual ladder.
        choose_by: What candidates are compared by, "accuracy" or "macro_f1".
        folds: Of the cross-validation, 2 or more; a single one decides where it has 1,000 documents.
        seed: Of the splits and the runs.
        language: Of the report, "en" or "ja".
        jobs: How many candidates are trained at the same time; they share the threads. None takes `usual_jobs`, and
            with Ray as many as there is room for.
        ray: Train them with Ray.
        retry_failed: Train candidates again that failed in an earlier call.
        force: Replace a bundle that lies in `out`.
    """

    text: str = "text"
    label: str = "label"
    group: str | None = None
    reading: ReadOptions | None = None
    max_mb: float | None = None
    max_ms: float | None = None
    max_memory_mb: float | None = None
    shared_encoder: bool = False
    shared_dictionary: bool = False
    margin: float = DEFAULT_MARGIN
    minutes: float = 20.0
    out: str | Path | None = None
    study: str | Path | None = None
    encoder: str | None = EMBEDDED_NAME
    candidates: Sequence[Mapping[str, Any]] | None = None
    choose_by: ChooseBy = DEFAULT_CHOOSE_BY
    folds: int = FOLDS
    seed: int = 42
    language: Language = "en"
    jobs: int | None = None
    ray: RayOptions | None = None
    retry_failed: bool = False
    force: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> FitOptions:
        """Options by their names.

        Raises:
            SpecError: There is none of a name, or a value is out of range.
        """
        names = [one.name for one in fields(cls)]
        if unknown := sorted(set(options) - set(names)):
            raise SpecError(f"fit has no option {unknown[0]!r}; choose among {', '.join(names)}")
        made = cls(**options)
        made._check_types()
        usual = cls()
        if made.reading is not None and (made.text, made.label, made.group) != (usual.text, usual.label, usual.group):
            raise SpecError(
                "reading was given together with text, label or group, which it replaces; give text_column, "
                "label_column and group_column to its ReadOptions"
            )
        if not 0 < made.minutes < inf:
            raise SpecError(f"minutes = {made.minutes:g}; give a number above 0, such as 20, or 100000 for no limit")
        if made.folds < 2:
            raise SpecError(f"folds = {made.folds}; give 2 or more")
        if not made.margin >= 0:
            raise SpecError(f"margin = {made.margin:g}; give a share of 0 or more, such as 0.01 for one point")
        if made.language not in LANGUAGES:
            raise SpecError(f"language = {made.language!r}; choose among {', '.join(LANGUAGES)}")
        if made.choose_by not in (measures := get_args(ChooseBy)):
            raise SpecError(f"choose_by = {made.choose_by!r}; choose among {', '.join(measures)}")
        if made.jobs is not None and made.jobs < 1:
            raise SpecError(f"jobs = {made.jobs}; give 1 or more")
        if not 0 <= made.seed < 2**32:
            raise SpecError(f"seed = {made.seed}; give a number from 0 to {2**32 - 1}")
        return made

    def _check_types(self) -> None:
        for name, kind, wanted in (
            *((name, Real, "a number") for name in ("minutes", "margin", "max_mb", "max_ms", "max_memory_mb")),
            *((name, Integral, "a whole number") for name in ("folds", "seed", "jobs")),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kind | None):
                raise SpecError(f"{name} = {value!r}; give {wanted}")
        for name, others, wanted in (
            *((name, str | Path | None, "a path") for name in ("out", "study")),
            ("encoder", str | None, "the name of an encoder, or None"),
            ("reading", ReadOptions | None, "tanzaku.ReadOptions"),
            *((one.name, bool, "True or False") for one in fields(self) if isinstance(one.default, bool)),
        ):
            if not isinstance(value := getattr(self, name), others):
                raise SpecError(f"{name} = {value!r}; give {wanted}")
        if isinstance(self.candidates, str) or not all(isinstance(one, Mapping) for one in self.candidates or ()):
            raise SpecError(
                f"candidates = {self.candidates!r}; give a list of arms as in a study file, such as "
                "[{'method': 'tfidf-svm'}]"
            )
        if without := next((dict(one) for one in self.candidates or () if "method" not in one), None):
            raise SpecError(f"candidates: {without} lacks its method; add one, such as 'method': 'lora'")

    @property
    def budgets(self) -> Budgets:
        """The limits.

        Raises:
            SpecError: One is not above 0.
        """
        return Budgets(self.max_mb, self.max_ms, self.max_memory_mb)

    @property
    def read_options(self) -> ReadOptions:
        """How the source is read."""
        if self.reading is not None:
            return self.reading
        return ReadOptions(text_column=self.text, label_column=self.label, group_column=self.group)
